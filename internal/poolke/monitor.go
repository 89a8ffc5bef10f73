package poolke

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/durable"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/poolmonitor"
	"ntp-daemon/internal/resolve"
)

// MonitorConfig is what the part of the pool that probes its time sources is told. Zero times mean the defaults.
type MonitorConfig struct {
	Enabled   bool
	StatePath string          // where scores outlive a restart; empty: nowhere
	Sources   []config.Source // references for the clocks; none: the time sources are compared with each other
	Params    poolmonitor.Params

	ProbeTimeout time.Duration // one probe, keys and time; 8 s
	NTPTimeout   time.Duration // one exchange of time; 1 s
	Save         time.Duration // between two writings of the scores; 5 min
}

// withDefaults fills in what is zero.
func (c MonitorConfig) withDefaults() MonitorConfig {
	fill(&c.ProbeTimeout, 8*time.Second)
	fill(&c.NTPTimeout, time.Second)
	fill(&c.Save, 5*time.Minute)
	return c
}

// monitor is the shell of package poolmonitor: it makes the probes, hands verdicts to the upstreams, writes scores and log. Users read
// a verdict and never wait for it; probes have connections of their own.
type monitor struct {
	p     *Pool
	cfg   MonitorConfig
	scale scale
	refs  *references

	mu    sync.Mutex // guards what follows
	core  *poolmonitor.Monitor
	pools map[string]poolFinding
	snap  *snapshot // whose list core has

	listed      chan struct{} // the list has changed
	allOut      atomic.Uint64 // users for whom nobody was usable
	storeErrors atomic.Uint64
}

// newMonitor prepares a monitor; nil if none is wanted.
func newMonitor(p *Pool, c MonitorConfig) *monitor {
	if !c.Enabled {
		return nil
	}
	now := time.Now()
	m := &monitor{p: p, cfg: c.withDefaults(), scale: scale{start: now}, pools: map[string]poolFinding{}, listed: make(chan struct{}, 1)}
	m.core = poolmonitor.New(c.Params, rand.Float64, now)
	m.refs = &references{scale: m.scale, sources: c.Sources, resolve: p.deps.Resolve, known: map[ntp.SourceID]*referenceState{}}
	if m.refs.resolve == nil {
		m.refs.resolve = resolve.New(resolve.Config{})
	}
	return m
}

// adopt tells the monitor of a list that is about to be used, and that list of the verdicts. A nil monitor has none.
func (m *monitor) adopt(s *snapshot) {
	if m == nil {
		return
	}
	targets := make([]poolmonitor.Target, 0, len(s.upstreams))
	for i := range s.directory.Len() {
		b := s.directory.At(i)
		targets = append(targets, poolmonitor.Target{
			ID: b.Name(), Wanted: [poolmonitor.Families]bool{poolmonitor.IPv4: !b.NoIPv4, poolmonitor.IPv6: !b.NoIPv6},
		})
	}
	m.mu.Lock()
	m.core.SetMembers(time.Now(), targets)
	m.snap = s
	maps.DeleteFunc(m.pools, func(id string, _ poolFinding) bool { return s.backend(id) == nil })
	m.publish(s)
	m.mu.Unlock()
	select {
	case m.listed <- struct{}{}:
	default:
	}
}

// publish hands the verdicts to those who send users to time sources. The caller holds the lock.
func (m *monitor) publish(s *snapshot) {
	for i, u := range s.upstreams {
		u.verdict.Store(m.core.Verdict(s.directory.At(i).Name()))
	}
}

// run owns the rounds of probes until ctx ends; the probes tell it what they came to.
func (m *monitor) run(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer m.store()
	ends := make(chan poolmonitor.Attempt)
	m.restore()
	tasks.Go(func() { m.refs.run(ctx, m) })
	saved := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := m.start(ctx, &tasks, ends)
		if m.conclude(time.Now()) {
			continue // the next round may be due
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-m.listed:
		case <-timer.C:
		case a := <-ends:
			m.mu.Lock()
			m.core.Absorb(time.Now(), a)
			m.mu.Unlock()
		}
		if time.Since(saved) >= m.cfg.Save {
			m.store()
			saved = time.Now()
		}
	}
}

// start begins the probes that are due, and returns how long until the next ones are.
func (m *monitor) start(ctx context.Context, tasks *sync.WaitGroup, ends chan<- poolmonitor.Attempt) time.Duration {
	now := time.Now()
	m.mu.Lock()
	snap, due := m.snap, m.core.Due(now)
	next := m.core.Next(now)
	m.mu.Unlock()
	for _, task := range due {
		b := snap.backend(task.Member)
		tasks.Go(func() {
			a := poolmonitor.Attempt{Member: task.Member, Cause: "removed"}
			if b != nil {
				a = m.probeSafely(ctx, snap, b, task)
			}
			select {
			case ends <- a:
			case <-ctx.Done():
			}
		})
	}
	return time.Until(next)
}

// backend is the time source of that id, or nil.
func (s *snapshot) backend(id string) *pool.Backend {
	for i := range s.directory.Len() {
		if b := s.directory.At(i); b.Name() == id {
			return b
		}
	}
	return nil
}

// probeSafely is probe; a panic in it is a bug that costs this probe (row L09).
func (m *monitor) probeSafely(ctx context.Context, snap *snapshot, b *pool.Backend, task poolmonitor.Task) (a poolmonitor.Attempt) {
	defer m.contain(func() { a = poolmonitor.Attempt{Member: task.Member, Cause: "bug"} })
	return m.probe(ctx, snap, b, task)
}

// contain is deferred where a panic must not end the pool; instead is what it does.
func (m *monitor) contain(instead func()) {
	if v := recover(); v != nil {
		m.p.throttle.Event(&m.p.log, zerolog.ErrorLevel, time.Now(), "monitor panic").Str("panic", fmt.Sprint(v)).
			Bytes("stack", debug.Stack()).Msg("bug: panic while a time source was probed")
		instead()
	}
}

// conclude ends the round if all of its probes have ended, and says whether it was so.
func (m *monitor) conclude(now time.Time) bool {
	m.mu.Lock()
	if !m.core.RoundOver() {
		m.mu.Unlock()
		return false
	}
	before := m.core.Status().Implausible
	r := m.core.Judge(now, m.refs.conditions(now))
	implausible := m.core.Status().Implausible
	m.publish(m.snap)
	m.mu.Unlock()
	m.report(&r)
	if implausible && !before {
		m.p.log.Error().Time("clock", m.p.deps.Now()).Msg("the certificates of most time sources are not valid by this host's clock: set it")
	}
	return true
}

// report writes what a round changed.
func (m *monitor) report(r *poolmonitor.Report) {
	log := &m.p.log
	for _, c := range r.Changes {
		ev, what := log.Info(), "time source is used again"
		switch c.State {
		case poolmonitor.Out:
			ev, what = log.Warn(), "time source is not used"
		case poolmonitor.Unknown:
			what = "time source has not been probed for long, the verdict is forgotten"
		}
		if c.Reason != "" {
			ev.Str("reason", c.Reason)
		}
		ev.Str("server", c.Member).Stringer("family", c.Family).Msg(what)
	}
	for _, a := range r.Algorithms {
		if a.Usable {
			log.Info().Str("server", a.Member).Stringer("aead", a.Algorithm).Msg("algorithm of a time source works again")
		} else {
			log.Warn().Str("server", a.Member).Stringer("aead", a.Algorithm).Str("reason", a.Reason).Msg("algorithm of a time source does not work, users get others")
		}
	}
	switch {
	case r.VoidBegan:
		var why []string
		for f := range poolmonitor.Families {
			if r.Void[f] != "" {
				why = append(why, f.String()+": "+r.Void[f])
			}
		}
		log.Warn().Str("reason", strings.Join(why, "; ")).Msg("failures of time sources are not held against them, the fault may be here")
	case r.VoidEnded:
		log.Info().Msg("time sources are judged again")
	}
}

// restore reads the scores of an earlier run.
func (m *monitor) restore() {
	if m.cfg.StatePath == "" {
		return
	}
	data, warnings, err := durable.ReadFile(m.cfg.StatePath, poolmonitor.MaxStored)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	for _, w := range warnings {
		m.p.log.Warn().Msg("state-path: " + w)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		err = m.core.Restore(time.Now(), data)
	}
	if err != nil {
		m.p.log.Warn().Str("error", err.Error()).Str("path", m.cfg.StatePath).Msg("scores of time sources are not taken over, they begin anew")
		return
	}
	m.publish(m.snap)
}

// store writes the scores, if something is known. Only the first of a row of failures is logged.
func (m *monitor) store() {
	if m.cfg.StatePath == "" {
		return
	}
	m.mu.Lock()
	rounds := m.core.Status().Rounds
	data, err := m.core.Store(time.Now())
	m.mu.Unlock()
	if rounds == 0 {
		return
	}
	if err == nil {
		err = durable.WriteFile(m.cfg.StatePath, data)
	}
	if err == nil {
		return
	}
	m.storeErrors.Add(1)
	m.p.throttle.Event(&m.p.log, zerolog.WarnLevel, time.Now(), "state-path").Str("error", err.Error()).Str("path", m.cfg.StatePath).
		Msg("scores of time sources cannot be written, see state-path")
}
