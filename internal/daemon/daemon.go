package daemon

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/assoc"
	"ntp-daemon/internal/clock"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/netwatch"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/timekeeper"
	"ntp-daemon/internal/udp"
	"ntp-daemon/internal/version"
)

// Daemon is one running ntp-daemon. Build it with New, which opens everything that can fail at start; Run runs it.
type Daemon struct {
	cfg     *config.Config
	deps    Deps
	log     zerolog.Logger
	started time.Time

	logPart *program.Part // the log file that could not be opened at the start; nil: it could

	// By the command line: a reload leaves the log level, or the clock's control, alone.
	levelFixed, observeOnly bool
	logFile                 *logging.File // opened anew by a reload; nil without log-path

	steers      bool
	tk          *keeper
	state       *stateKeeper
	keys        *keyring // nil without a server
	servers     []*listener
	interleaves *server.Interleaves // of all listen addresses that interleave; nil: none does
	waits       udp.BriefWaits      // of all listen addresses
	ke          []*keListener
	paths       sync.Mutex    // while a Unix socket is made, for which the process has another umask for a moment
	observe     *program.Part // the observation socket; nil without observation-path
	fastPath    *fastPath     // the socket for ntp-xdp; nil without xdp
	group       *group        // while Run runs
	unlock      func()
	claims      *assoc.Claims
	statuses    *assoc.Statuses
	network     *assoc.Network
	boot        *assoc.Bootstrap
	notify      *notifier
	truth       func() *observe.VirtualTruth // only with a virtual clock

	view    atomic.Pointer[ntp.View]
	report  atomic.Pointer[system.Report]
	keySet  atomic.Pointer[nts.KeySet]
	rotated atomic.Int64
	fast    atomic.Pointer[fastReport] // what ntp-xdp says; nil inside without xdp
	nextID  atomic.Uint64
}

// New opens the clock, the state directory, the sockets, certificates and keys of cfg. On error nothing stays open
// and the clock is as it was.
func New(cfg *config.Config, deps Deps) (*Daemon, error) {
	d := &Daemon{cfg: cfg, deps: deps, log: deps.Log, started: time.Now(), claims: assoc.NewClaims(), statuses: assoc.NewStatuses(), network: assoc.NewNetwork()}
	d.notify = newNotifier(&d.deps)
	// What can fail without touching anything comes first, the clock last.
	for _, open := range []func() error{d.openState, d.openServers, d.openObserver, d.openFastPath, d.openTimekeeper} {
		if err := open(); err != nil {
			d.close()
			return nil, err
		}
	}
	return d, nil
}

// Run runs every goroutine of the daemon until ctx ends or one of them fails, and waits for all of them. hup asks
// for a reload. The error is the first failure's; nil after an orderly end.
func (d *Daemon) Run(ctx context.Context, hup <-chan os.Signal) error {
	defer d.close()
	g := newGroup(ctx, *target(d.log, logtarget.System))
	d.group = g
	// The state keeper outlives the others, so that the timekeeper's last offer is written.
	stateCtx, endState := context.WithCancel(context.WithoutCancel(ctx))
	stateDone := make(chan struct{})
	go func() { defer close(stateDone); g.guard(stateCtx, "state keeper", d.state.run) }()
	defer func() { endState(); <-stateDone }()

	jumped, stood := make(chan struct{}, 1), make(chan time.Duration, 1)
	d.tk.jumped, d.tk.stood = jumped, stood
	if d.fastPath != nil {
		d.tk.viewed = d.fastPath.changed
	}
	g.start("timekeeper", d.tk.run)
	if d.keys != nil {
		g.start("keyring", d.keys.run)
	}
	d.waits.Allow(provision(len(d.servers)*runtime.NumCPU(), d.keyExchangeThreads()))
	for _, p := range d.parts() {
		g.start(p.Name, p.Run)
	}
	d.startWatchers(g, jumped)
	look := d.watchNetwork(g)
	if clock.CanStandStill() {
		d.watchStandstills(g, look, stood)
	}
	sources := &sources{d: d}
	sources.set(d.cfg.Sources)
	g.start("reload", func(ctx context.Context) error { return newReloader(d, sources).run(ctx, hup) })
	d.notify.ready() // before whatever else the service manager hears
	g.start("service manager", d.notify.run)
	return g.wait()
}

// openTimekeeper takes the clock. With sources and clock control that needs CAP_SYS_TIME; the error says what to do
// without it.
func (d *Daemon) openTimekeeper() error {
	c, steers, err := d.deps.OpenClock(d.cfg, d.log)
	if err != nil {
		return err
	}
	d.steers = steers
	stored, haveDrift := drift{}, false
	if steers && d.cfg.Synchronization.Clock == config.ClockSystem {
		stored, haveDrift = d.state.load(time.Now())
	}
	d.boot = d.bootstrap(&stored)
	params := systemParams(d.cfg, &stored)
	if now := time.Now(); steers && d.cfg.Synchronization.Clock == config.ClockSystem && limitLostClock(&params, now) {
		target(d.log, logtarget.System).Warn().Time("clock", now).Time("built", version.Built()).
			Msg("the clock is more than 68 years from the build date, where NTP cannot tell the century: set it by hand")
	}
	if haveDrift && stored.worthwhile() {
		if err := restoreFrequency(c, stored.Frequency); err != nil {
			return err
		}
		params.Algorithm.KnownFrequencyUncertainty = stored.uncertaintyNow(d.state.boot, time.Now())
	}
	if haveDrift {
		if err := d.moveForward(c, &stored, &params); err != nil {
			return err
		}
	}
	params.Precision = clock.Precision(c.Now)
	params.Observe = !steers
	if steers && d.cfg.Synchronization.Clock == config.ClockSystem {
		params.Leaps = leapTable(leapList, target(d.log, logtarget.System))
	}
	drifts := make(chan drift, 1)
	d.state.drifts = drifts
	d.tk = &keeper{
		Keeper: timekeeper.New(c, c.Frequency(), params), clock: c, log: d.log, quiet: logging.NewLimiter(repeatedInterval),
		inbox: make(chan assoc.Message, inboxDepth), advice: map[ntp.SourceID]chan<- ntp.Advice{},
		view: &d.view, report: &d.report, notify: d.notify, boot: d.boot,
	}
	if steers && d.cfg.Synchronization.Clock == config.ClockSystem {
		d.tk.saved = drifts
	}
	if d.cfg.Synchronization.Clock == config.ClockVirtual {
		d.truth = d.virtualTruth
	}
	d.view.Store(&ntp.View{Leap: ntp.LeapUnknown, Stratum: ntp.MaxStratum, Precision: params.Precision})
	return nil
}

// moveForward sets a clock that nobody has set since the machine was switched on to the last time that was known to be right
// (docs/rules/clock.md#unset-clock).
func (d *Daemon) moveForward(c clock.Clock, stored *drift, p *system.Params) error {
	now := time.Now()
	by := forward(stored, now, d.state.boot, clock.HasBattery())
	if by <= 0 {
		return nil
	}
	if _, err := c.Step(by); err != nil {
		return fmt.Errorf("set the clock forward to the last known time: %w", err)
	}
	p.Guessed = by
	target(d.log, logtarget.System).Warn().Time("clock", now).Time("saved", stored.Saved).
		Msg("nobody has set the clock since the machine was switched on: set forward to the last known time, not served until sources are heard")
	return nil
}

// restoreFrequency puts the stored frequency in force before the first measurement.
func restoreFrequency(c clock.Clock, f float64) error {
	if _, err := c.SetFrequency(f); err != nil {
		return fmt.Errorf("restore the stored frequency: %w", err)
	}
	if err := c.SetBase(f); err != nil {
		return fmt.Errorf("restore the stored frequency: %w", err)
	}
	return nil
}

// close releases what New opened; it may be called twice and on a half-built daemon.
func (d *Daemon) close() {
	for _, p := range d.parts() {
		p.Close()
	}
	if d.unlock != nil {
		d.unlock()
		d.unlock = nil
	}
}

// startWatchers starts what tells the timekeeper of steps by others and resumes, and the listeners of changes of addresses
// and certificates.
func (d *Daemon) startWatchers(g *group, jumped chan<- struct{}) {
	g.start("step watcher", func(ctx context.Context) error {
		err := clock.WatchSteps(ctx, func() {
			select {
			case jumped <- struct{}{}:
			default:
			}
		})
		if err != nil && ctx.Err() == nil {
			// Without the watcher steps are still noticed at the next turn, only later.
			target(d.log, logtarget.System).Warn().Err(err).Msg("steps by other programs are noticed late")
		}
		return nil
	})
	if len(d.cfg.Servers) > 0 {
		g.start("address watcher", d.watchAddresses)
	}
	if len(d.ke) > 0 {
		g.start("certificate watcher", d.watchCertificates)
	}
}

// watchNetwork tells the supervisors of changes of the network. What it returns hears of them, too: a machine that was moved
// or restored gets its network anew.
func (d *Daemon) watchNetwork(g *group) (changed <-chan struct{}) {
	also := make(chan struct{}, 1)
	g.start("network watcher", func(ctx context.Context) error {
		err := netwatch.Watch(ctx, func() {
			offer(also, struct{}{})
			d.network.Changed()
		})
		if err != nil && ctx.Err() == nil {
			// Without the watcher sources that are silent are polled every minute or so.
			target(d.log, logtarget.System).Debug().Err(err).Msg("changes of the network are noticed late")
		}
		return nil
	})
	return also
}

// watchStandstills tells the timekeeper when the machine was paused, or restored from a saved state.
func (d *Daemon) watchStandstills(g *group, look <-chan struct{}, stood chan<- time.Duration) {
	g.start("standstill watcher", func(ctx context.Context) error {
		err := clock.WatchStandstills(ctx, look, func(by time.Duration) { offer(stood, by) })
		if err != nil && ctx.Err() == nil {
			// Without the watcher a pause shows at the next measurement, see system.doubted.
			target(d.log, logtarget.System).Debug().Err(err).Msg("pauses of this virtual machine are noticed late")
		}
		return nil
	})
}

// virtualTruth compares the virtual clock with the machine's, for trials: nobody else can know.
func (d *Daemon) virtualTruth() *observe.VirtualTruth {
	kernel := ntp.FromTime(time.Now())
	t := &observe.VirtualTruth{Offset: kernel.Sub(d.tk.clock.Map(kernel)).Seconds()}
	if rep := d.report.Load(); rep != nil {
		t.Frequency = (1+d.cfg.Synchronization.VirtualFrequency)*(1+rep.Applied) - 1
	}
	return t
}
