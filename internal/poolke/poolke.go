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
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/handover"
	"ntp-daemon/internal/locate"
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

	// Lookup finds the addresses of a time source's NTP server, for the monitor, and Resolve those of its references; nil: the
	// system's resolver.
	Lookup  func(ctx context.Context, name string) ([]netip.Addr, error)
	Resolve locate.Resolver

	// Listening is called once, when the listen address and the parts are open and before any user is served, with what
	// keeps one of those down that only root may be able to open later, or nil. Its error ends the pool. nil: nobody waits for that.
	Listening func(missing error) error

	// Sockets are listening sockets that other processes opened for this one, Running is the one of these that still serves
	// users, and Manager the service manager (docs/rules/pool.md#hand-over).
	Sockets []handover.Socket
	Running *handover.Running
	Manager handover.Manager

	// Reload asks for Load to be called and its result to be used for all users from then on. Both
	// nil: no reload. Again is called instead, with the configuration in use, when a file that it names has changed.
	Reload <-chan os.Signal
	Load   func() (Config, error)
	Again  func(*config.Pool) (Config, error)
}

// Pool is one front end. Make it with New.
type Pool struct {
	deps Deps
	log  zerolog.Logger

	snap     atomic.Pointer[snapshot]
	tls      *tls.Config
	gate     *ke.Gate
	turn     atomic.Uint64 // users so far, which turns the list
	tally    tally         // of users
	monitors tally         // of monitors that named a time source
	stage    atomic.Int32  // see stage
	sockets  sockets
	failures failureLimit     // for log-exchanges = "failures"
	throttle *logging.Limiter // for what strangers could fill the log with

	selection selection // what the choice of time sources came to

	sessions      durations         // how long users' exchanges took, whatever their outcome
	phases        [phases]durations // and their parts
	upstreamTimes durations         // requests for cookies
	recent        recent
	granted       granted
	monitor       *monitor // nil: time sources are not probed

	attention chan struct{} // a time source wants to be looked at (warm.go)
	begun     chan struct{} // closed behind the first user
	first     sync.Once     // closes begun

	mu      sync.Mutex   // guards aliases
	aliases pool.Aliases // learned from time sources' answers

	reloads reloads
}

// New checks the configuration as a whole. Nothing is opened.
func New(c Config, d Deps) (*Pool, error) {
	p := &Pool{deps: d, gate: ke.NewGate(0), throttle: logging.NewLimiter(time.Minute), attention: make(chan struct{}, 1), begun: make(chan struct{}), log: logging.Target(d.Log, logtarget.PoolKE)}
	if p.deps.Now == nil {
		p.deps.Now = time.Now
	}
	if p.deps.Listen == nil {
		p.deps.Listen = accept.Listen
	}
	if p.deps.Lookup == nil {
		p.deps.Lookup = systemLookup
	}
	s, err := p.snapshot(c, nil)
	if err != nil {
		return nil, err
	}
	p.monitor = newMonitor(p, s.cfg.Monitor)
	p.monitor.adopt(s)
	p.snap.Store(s)
	p.sockets.waiting = d.Sockets
	p.reloads.since = time.Now()
	p.tls = ke.ServerTLS(func() *tls.Certificate { return p.snap.Load().cfg.Certificate }, p.deps.Now)
	return p, nil
}

// Run listens and serves users until ctx ends; then it lets those under way finish (see stage). Errors in
// accepting are survived; only a listener that cannot be opened, or is lost for good, is returned.
func (p *Pool) Run(ctx context.Context) error {
	listen := p.snap.Load().cfg.Listen
	list, err := p.listen(ctx, listen)
	if err != nil {
		return err
	}
	l := newLifetime(ctx)
	defer l.over()
	loop, accepted := p.newLoop(len(list))
	address := addresses(list, listen)
	o := &observer{p: p, loop: loop, address: address, origin: list[0].Origin, started: time.Now()}
	beside, err := p.openAncillary(o, func() { l.order(errSucceeded); accepted.Wait(); l.end() })
	if err != nil {
		handover.CloseAll(list)
		return err
	}
	p.sockets.closeRest()
	logOrigin(&p.log, list)
	p.log.Info().Msgf("listening on 'Ok(%s)'", address)

	tasks := p.background(&l, beside.parts)
	p.acquaint(l.stop)
	accepting := p.accepting(l.stop)
	p.keep(list)
	p.deps.Manager.Ready()
	tasks.Go(func() { p.guard(l.order, func() { p.succession(l.live, beside.next) }) })
	err = serveUsers(accepting, loop, list)
	l.over()
	tasks.Wait()
	p.snap.Load().close()
	if err != nil {
		return fmt.Errorf("serve users: %w", err)
	}
	if cause := context.Cause(l.stop); errors.Is(cause, errBug) {
		return cause
	}
	return nil
}

// newLoop prepares the acceptance of users at so many sockets. accepted waits until all of them have been left.
func (p *Pool) newLoop(sockets int) (loop *accept.Loop, accepted *sync.WaitGroup) {
	cfg := p.snap.Load().cfg
	accepted = new(sync.WaitGroup)
	accepted.Add(sockets)
	return accept.New(accept.Config{
		Permits: cfg.MaxConnections, Waiting: maxWaiting, PerPrefix: cfg.PerPrefix, PrefixV6: prefixV6,
		Timeout: cfg.Timeout, Drain: cfg.DrainTimeout, Handle: p.handle, Left: accepted.Done, Log: p.log,
		// A balancer stands for many users; each is counted when its header has named it.
		Exempt: func(a netip.Addr) bool { return p.snap.Load().cfg.trusts(a) },
	}), accepted
}

// ancillary is what listens beside the users' sockets: for observers and operators, and for a successor.
type ancillary struct {
	parts []*program.Part
	next  *program.Part // nil without handover-path
}

// openAncillary opens it and says that everything listens. After an error, which is that of who heard it, all of it is closed again.
func (p *Pool) openAncillary(o *observer, succeeded func()) (ancillary, error) {
	parts, missing := o.parts()
	s := ancillary{parts: parts, next: p.successor(succeeded)}
	if s.next != nil {
		missing = errors.Join(missing, s.next.Try())
	}
	err := p.tellListening(missing)
	if err != nil {
		for _, part := range s.parts {
			part.Close()
		}
		if s.next != nil {
			s.next.Close()
		}
	}
	return s, err
}

// tellListening says that everything listens, and what does not yet.
func (p *Pool) tellListening(missing error) error {
	if p.deps.Listening == nil {
		return nil
	}
	return p.deps.Listening(missing)
}

// background starts the pool's own loops, each until the end that it serves.
func (p *Pool) background(l *lifetime, parts []*program.Part) *sync.WaitGroup {
	var tasks sync.WaitGroup
	start := func(run func()) { tasks.Go(func() { p.guard(l.order, run) }) }
	start(func() { p.reloadLoop(l.stop) })
	if p.monitor != nil {
		start(func() { p.monitor.run(l.stop) })
	}
	start(func() { p.warmLoop(l.live, l.order) })
	for _, part := range parts {
		start(func() {
			_ = part.Run(l.live)
			part.Close() // if live ended before it ran, or while it was opened anew
		})
	}
	start(func() { p.minuteLoop(l.served) })
	return &tasks
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
