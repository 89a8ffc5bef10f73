package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync"
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
	address netip.AddrPort
	part    *program.Part
	ln      net.Listener // from opening to serving
	server  *ke.Server
	log     zerolog.Logger

	mu     sync.Mutex                      // held by whoever changes what follows: the part that opens, and the reloader
	cfg    atomic.Pointer[config.KEServer] // as of the latest reload
	cert   atomic.Pointer[tls.Certificate] // nil while there is none that can be used
	leaves atomic.Pointer[[][]byte]
	tokens atomic.Pointer[[]secret.Bytes]
}

// newKE makes the part of one [[nts-ke-server]], down as yet.
func (d *Daemon) newKE(c config.KEServer) *keListener {
	k := &keListener{address: c.Listen, log: logging.Target(d.log, logtarget.KeyExchange)}
	k.cfg.Store(&c)
	k.server = ke.NewServer(ke.ServerConfig{
		Certificate: k.cert.Load,
		PoolLeaves:  func() [][]byte { return *k.leaves.Load() },
		Tokens:      func() []secret.Bytes { return *k.tokens.Load() },
		NTPServer:   c.NTPServer, NTPPort: c.NTPPort, Timeout: c.Timeout,
		MaxConnections: c.MaxConnections, LongLived: longLived(c.LongLived), HandshakeCPU: c.HandshakeCPU, Nice: niceness(c.Niceness),
		KeySet: func() *nts.KeySet { return d.keySet.Load() },
		Rand:   d.deps.Rand, Log: k.log, Now: time.Now,
	})
	k.part = program.NewPart("the NTS key exchange on "+c.Listen.String(), k.log, func() error { return k.open(d.believed()) }, k.serve)
	k.part.Ends = func(err error) bool { return !missing(err) }
	return k
}

// keyExchangeThreads is how many threads the key exchange has for itself.
func (d *Daemon) keyExchangeThreads() (n int) {
	for _, c := range d.cfg.KEServers {
		n += ke.Threads(c.HandshakeCPU)
	}
	return n
}

// open reads the certificate and listens. It begins anew when a reload has put another table into use meanwhile.
func (k *keListener) open(now time.Time) error {
	for {
		c := k.cfg.Load()
		cert, err := k.load(c, now)
		if err != nil {
			return err
		}
		ln, err := accept.Listen(context.Background(), k.address.String())
		if err != nil {
			return fmt.Errorf("NTS key exchange: %w", program.Bound(err, "listen of [[nts-ke-server]]"))
		}
		if k.use(c, c, cert) {
			k.ln = ln
			return nil
		}
		_ = ln.Close()
	}
}

// longLived translates the number of the configuration, where 0 is none and the default is filled in, for ke, where 0
// is the default.
func longLived(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// niceness translates the number of the configuration, as longLived does.
func niceness(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// load reads the certificate of c.
func (k *keListener) load(c *config.KEServer, now time.Time) (*tls.Certificate, error) {
	cert, err := program.LoadCertificate(c.CertificateChainPath, c.PrivateKeyPath, now)
	if err != nil {
		return nil, fmt.Errorf("nts-ke-server %s: %w", c.Listen, err)
	}
	return cert, nil
}

// use puts a certificate, and who may ask, into use; false if the table in use is not was any more. A nil was is any.
func (k *keListener) use(was, c *config.KEServer, cert *tls.Certificate) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if was != nil && k.cfg.Load() != was {
		return false
	}
	k.cfg.Store(c)
	k.cert.Store(cert)
	k.leaves.Store(&c.PoolCertificates)
	k.tokens.Store(&c.PoolTokens)
	return true
}

// want makes c the table for the next try of a listener that is down, of which nothing can be used yet.
func (k *keListener) want(c *config.KEServer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cfg.Store(c)
}

// renew reads what a reload takes over and returns what puts it into use, and what of it differs; on error everything stays
// as it was (row KS19). A listener that is down without a certificate has nothing that could stay: it gets the new
// table and tries again, whatever is wrong.
func (k *keListener) renew(c config.KEServer, now time.Time) (swap func(), changed []string, err error) {
	was, had := k.cfg.Load(), k.cert.Load()
	cert, err := k.load(&c, now)
	switch {
	case err != nil && had == nil:
		return func() { k.want(&c) }, nil, nil
	case err != nil:
		return nil, nil, err
	}
	if had == nil || !slices.EqualFunc(had.Certificate, cert.Certificate, bytes.Equal) {
		changed = append(changed, "certificate of nts-ke-server "+c.Listen.String())
	}
	if !reflect.DeepEqual(was.PoolTokens, c.PoolTokens) || !reflect.DeepEqual(was.PoolCertificates, c.PoolCertificates) {
		changed = append(changed, "pools of nts-ke-server "+c.Listen.String())
	}
	return func() { k.use(nil, &c, cert) }, changed, nil
}

func (k *keListener) serve(ctx context.Context) error {
	k.log.Info().Str("addr", k.address.String()).Msg("NTS key exchange listening")
	err := k.server.Serve(ctx, k.ln)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// connections is what the snapshot tells of this listener.
func (k *keListener) connections() observe.KeyExchangeServer {
	c := k.server.Counters()
	row := observe.KeyExchangeServer{
		Address: k.address.String(), Connections: observe.Connections(c.Accept), Kept: c.Kept, KeyExports: c.Exports,
		CPU: c.Spent.Seconds(), OverBudget: c.Held,
	}
	if cert := k.cert.Load(); cert != nil {
		row.CertificateNotAfter = cert.Leaf.NotAfter.Unix()
	}
	return row
}

// addCounters adds the outcomes of this listener to the sum over all.
func (k *keListener) addCounters(sum map[string]uint64) {
	c := k.server.Counters()
	for _, o := range ke.AllOutcomes() {
		sum[o.String()] += c.Of(o)
	}
}
