package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/secret"
)

// keListener is one [[nts-ke-server]]: its socket, its certificate and who may ask as a pool.
type keListener struct {
	cfg    config.KEServer
	ln     net.Listener
	server *ke.Server
	log    zerolog.Logger

	cert   atomic.Pointer[tls.Certificate]
	leaves atomic.Pointer[[][]byte]
	tokens atomic.Pointer[[]secret.Bytes]
}

func (d *Daemon) openKE(c config.KEServer) (*keListener, error) {
	k := &keListener{cfg: c, log: logging.Target(d.log, logtarget.KeyExchange)}
	swap, err := k.prepare(c, time.Now())
	if err != nil {
		return nil, err
	}
	swap()
	k.server = ke.NewServer(ke.ServerConfig{
		Certificate: k.cert.Load,
		PoolLeaves:  func() [][]byte { return *k.leaves.Load() },
		Tokens:      func() []secret.Bytes { return *k.tokens.Load() },
		NTPServer:   c.NTPServer, NTPPort: c.NTPPort, Timeout: c.Timeout,
		MaxConnections: c.MaxConnections, LongLived: longLived(c.LongLived),
		KeySet: func() *nts.KeySet { return d.keySet.Load() },
		Rand:   d.deps.Rand, Log: k.log, Now: time.Now,
	})
	ln, err := accept.Listen(context.Background(), c.Listen.String())
	if err != nil {
		return nil, fmt.Errorf("NTS key exchange: %w", err)
	}
	k.ln = ln
	return k, nil
}

// longLived translates the number of the configuration, where 0 is none and the default is filled in, for ke, where 0
// is the default.
func longLived(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// prepare reads the certificate and returns what puts it, and who may ask, into use; on error everything stays as it
// was (row KS19).
func (k *keListener) prepare(c config.KEServer, now time.Time) (swap func(), err error) {
	cert, err := program.LoadCertificate(c.CertificateChainPath, c.PrivateKeyPath, now)
	if err != nil {
		return nil, fmt.Errorf("nts-ke-server %s: %w", c.Listen, err)
	}
	return func() {
		k.cert.Store(cert)
		k.leaves.Store(&c.PoolCertificates)
		k.tokens.Store(&c.PoolTokens)
	}, nil
}

func (k *keListener) run(ctx context.Context) error {
	k.log.Info().Str("addr", k.cfg.Listen.String()).Msg("NTS key exchange listening")
	err := k.server.Serve(ctx, k.ln)
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (k *keListener) close() { _ = k.ln.Close() }

// connections is what the snapshot tells of this listener.
func (k *keListener) connections() observe.KeyExchangeServer {
	c := k.server.Counters()
	return observe.KeyExchangeServer{
		Address: k.cfg.Listen.String(), Connections: observe.Connections(c.Accept), Kept: c.Kept, KeyExports: c.Exports,
	}
}

// addCounters adds the outcomes of this listener to the sum over all.
func (k *keListener) addCounters(sum map[string]uint64) {
	c := k.server.Counters()
	for _, o := range ke.AllOutcomes() {
		sum[o.String()] += c.Of(o)
	}
}
