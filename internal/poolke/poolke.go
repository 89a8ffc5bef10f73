package poolke

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/program"
)

// Deps is the outside world. The zero value of every field but Log is useful.
type Deps struct {
	Log    zerolog.Logger
	Now    func() time.Time // judges certificates; nil: the system clock
	Listen func(ctx context.Context, address string) (net.Listener, error)
	Dial   func(ctx context.Context, network, address string) (net.Conn, error) // to time sources

	// Listening is called once, when the listen address and the observation socket are open and before any user is served,
	// with what keeps the socket down, or nil. Its error ends the pool. nil: nobody waits for that.
	Listening func(missing error) error

	// Reload asks for Load to be called and its result to be used for all users from then on. Both
	// nil: no reload.
	Reload <-chan os.Signal
	Load   func() (Config, error)
}

// Pool is one front end. Make it with New.
type Pool struct {
	deps Deps
	log  zerolog.Logger

	snap     atomic.Pointer[snapshot]
	tls      *tls.Config
	gate     *ke.Gate
	turn     atomic.Uint64 // users so far, which turns the list
	tally    tally
	throttle *logging.Limiter // for what strangers could fill the log with

	mu      sync.Mutex   // guards aliases
	aliases pool.Aliases // learned from time sources' answers
}

// New checks the configuration as a whole. Nothing is opened.
func New(c Config, d Deps) (*Pool, error) {
	p := &Pool{deps: d, gate: ke.NewGate(0), throttle: logging.NewLimiter(time.Minute), log: logging.Target(d.Log, logtarget.PoolKE)}
	if p.deps.Now == nil {
		p.deps.Now = time.Now
	}
	if p.deps.Listen == nil {
		p.deps.Listen = accept.Listen
	}
	s, err := p.snapshot(c, nil)
	if err != nil {
		return nil, err
	}
	p.snap.Store(s)
	p.tls = ke.ServerTLS(func() *tls.Certificate { return p.snap.Load().cfg.Certificate }, p.deps.Now)
	return p, nil
}

// Run listens and serves users until ctx ends; then it lets those under way finish. Errors in
// accepting are survived; only a listener that cannot be opened, or is lost for good, is returned.
func (p *Pool) Run(ctx context.Context) error {
	cfg := p.snap.Load().cfg
	ln, err := p.deps.Listen(ctx, cfg.Listen.String())
	if err != nil {
		return fmt.Errorf("listen on %s: %w", cfg.Listen, err)
	}
	loop := accept.New(accept.Config{
		Permits: cfg.MaxConnections, Waiting: maxWaiting, PerPrefix: cfg.PerPrefix, PrefixV6: prefixV6,
		Timeout: cfg.Timeout, Drain: cfg.DrainTimeout, Handle: p.handle, Log: p.log,
		// A balancer stands for many users; each is counted when its header has named it.
		Exempt: func(a netip.Addr) bool { return p.snap.Load().cfg.trusts(a) },
	})
	address := bound(ln, cfg.Listen)
	socket, missing := (&observer{p: p, loop: loop, address: address, started: time.Now()}).socket(), error(nil)
	if socket != nil {
		missing = socket.Try()
	}
	if p.deps.Listening != nil {
		if err := p.deps.Listening(missing); err != nil {
			_ = ln.Close()
			if socket != nil {
				socket.Close()
			}
			return err
		}
	}
	p.log.Info().Msgf("listening on 'Ok(%s)'", address)

	stop, cancel := context.WithCancelCause(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() { p.guard(cancel, func() { p.reloadLoop(stop) }) })
	if socket != nil {
		tasks.Go(func() { p.guard(cancel, func() { _ = socket.Run(stop) }) })
	}
	err = loop.Serve(stop, ln)
	cancel(nil)
	tasks.Wait()
	p.snap.Load().close()
	if err != nil {
		return fmt.Errorf("serve users: %w", err)
	}
	if cause := context.Cause(stop); errors.Is(cause, errBug) {
		return cause
	}
	return nil
}

// errBug is the end of a pool over a mistake of ours outside of any user's exchange.
var errBug = errors.New("bug: panic")

// guard runs one of the pool's own goroutines: a panic in it ends the pool in order (row L09).
func (p *Pool) guard(end context.CancelCauseFunc, run func()) {
	defer func() {
		if v := recover(); v != nil {
			p.log.Error().Str("panic", fmt.Sprint(v)).Bytes("stack", debug.Stack()).Msg("bug: stopping after a panic")
			end(fmt.Errorf("%w: %v", errBug, v))
		}
	}()
	run()
}

// bound is the address as configured, with the port that the system chose if it was 0.
func bound(ln net.Listener, configured netip.AddrPort) netip.AddrPort {
	if addr, ok := ln.Addr().(*net.TCPAddr); ok && configured.Port() == 0 {
		return netip.AddrPortFrom(configured.Addr(), addr.AddrPort().Port())
	}
	return configured
}

// reloadLoop owns the replacement of the snapshot, and warns of a certificate that expires; it stops when ctx ends.
func (p *Pool) reloadLoop(ctx context.Context) {
	watch := program.NewExpiryWatch(p.log)
	ticker := time.NewTicker(program.ExpiryInterval)
	defer ticker.Stop()
	for {
		cfg := &p.snap.Load().cfg
		watch.Look(cfg.CertificatePath, cfg.Certificate.Leaf, time.Now(), p.deps.Now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			continue
		case <-p.deps.Reload:
		}
		old := p.snap.Load()
		if err := p.reload(); err != nil {
			p.log.Error().Str("error", err.Error()).Msg("reload refused, the old configuration stays in use")
			continue
		}
		next := p.snap.Load()
		p.log.Info().Int("servers", next.directory.Len()).Str("changed", strings.Join(next.changes(old), "; ")).Msg("configuration reloaded")
	}
}

// reload loads the configuration and puts it into use. A panic in that is a bug that costs this reload (row L09).
func (p *Pool) reload() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("bug: panic: %v", v)
			p.log.Error().Str("panic", fmt.Sprint(v)).Bytes("stack", debug.Stack()).Msg("bug: reload ended by a panic")
		}
	}()
	c, err := p.deps.Load()
	if err != nil {
		return err
	}
	return p.Swap(c)
}

// Swap replaces list, certificate, trusted load balancers and time limits for all users who come from now on, or nothing if
// the configuration is faulty. The listen address, the connection limits and the observation socket stay as they were.
func (p *Pool) Swap(c Config) error {
	old := p.snap.Load()
	s, err := p.snapshot(c, old)
	if err != nil {
		return err
	}
	p.snap.Store(s)
	s.retire(old)
	return nil
}
