package system

import (
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
)

const (
	// minHoldOver is the root distance at which most clients would refuse us anyway: half a second above MAXDIST of RFC
	// 5905 §7.2, as ntpd has it, so that a source at that limit leaves room for our own part.
	minHoldOver = 1500 * time.Millisecond
	// holdOverRoom is how much larger than that of a source ours may be, where a larger one was allowed to sources.
	holdOverRoom = 1.5
	// maxHoldOver is MAXDISP of RFC 5905 §7.2.
	maxHoldOver = 16 * time.Second
	// localAfter is how long a selection may be missing before the local stratum is served
	// (docs/rules/server.md#local-stratum).
	localAfter = 10 * time.Second
	// startupLimit is how long a new consensus waits for sources that have not answered yet: long enough
	// for a burst, short enough for a first update within 8 s.
	startupLimit = 6 * time.Second
	// startupOverdue is when a missing first consensus is told: a burst of lost replies may delay it this long.
	startupOverdue = 20 * time.Second
	// lateAfter tells a stopped process (row K11) from a busy machine.
	lateAfter = 10 * time.Second
	// burstInterval keeps a consensus that is lost again and again from making every source poll all the time.
	burstInterval = 64 * time.Second
	// foreignBursts foreign changes at once, and one more, make every source poll at once; then one does in each burstInterval.
	foreignBursts = 3
	// minWait and idleWait bound how soon and how late the next Tick comes.
	minWait  = time.Millisecond
	idleWait = 16 * time.Second
)

// defaultPivot decides eras when no build date is given.
var defaultPivot = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Unlimited is a step limit that allows everything.
const Unlimited time.Duration = 1<<63 - 1

// StepLimit bounds one step; a step is allowed when it is smaller than Forward and -Backward is smaller than
// it, both strictly, so that 0 forbids (docs/rules/clock.md#step-limits).
type StepLimit struct{ Forward, Backward time.Duration }

// Params are the settings of the system process.
type Params struct {
	Algorithm algorithm.Params

	SingleStep       StepLimit     // single-step-panic-threshold: every step after the first update
	StartupStep      StepLimit     // startup-step-panic-threshold: the first update
	AccumulatedSteps time.Duration // accumulated-step-panic-threshold; 0 or Unlimited: none
	PanicAction      PanicAction   // panic-action: what follows from a step beyond a limit
	// UnauthenticatedSteps is unauthenticated-steps-per-day: the sum of the sizes of all steps of a day, after the first
	// update, that were asked for by a consensus of which not more than half is authenticated. 0 forbids them,
	// Unlimited is no limit.
	UnauthenticatedSteps time.Duration
	Spent                Spent // of a day's allowance by earlier runs since boot, see Report.Spent
	StartupSpent         bool  // the start-up allowance was already used since boot, see Report.StartupAllowance
	QuietSteps           bool  // warn-on-jump = false

	LocalStratum   ntp.Stratum // 1…15: serve our own clock when nothing is selected; 0 or 16: off
	Orphan         bool        // local-orphan: servers at the local stratum that ask each other follow one of them
	LocalReference ntp.RefID   // reference-id, used with LocalStratum 1
	Expected       int         // number of sources that the configuration promises; until they are known they count as not heard
	NoSources      bool        // nothing is configured to measure: the local stratum applies at once

	Serves    bool           // we answer clients, so that loops are possible
	Observe   bool           // clock-control = false: never steer
	Precision int8           // log2 s, of our clock
	HoldOver  time.Duration  // maximum-root-distance: where hold-over ends; 0: the default, see defaultHoldOver
	Pivot     time.Time      // build date: decides the era of the calendar for leap seconds
	Built     time.Time      // what a clock shows that is not unset, at least; zero: not known
	LastRight time.Time      // when this host's clock was last known to be right; zero: not known
	Leaps     *ntp.LeapTable // for TAI - UTC; nil: not known
	Guessed   time.Duration  // by how much the clock was set forward to LastRight at the start, because nobody had set it; 0: it was not
}

// Defaults returns the defaults of the reference suite (docs/rules/configuration.md#synchronization).
func Defaults() Params {
	return Params{
		Algorithm:            algorithm.Defaults(),
		SingleStep:           StepLimit{Forward: 1000 * time.Second, Backward: 1000 * time.Second},
		StartupStep:          StepLimit{Forward: Unlimited, Backward: 86400 * time.Second},
		UnauthenticatedSteps: 1000 * time.Second,
		LocalStratum:         ntp.MaxStratum, LocalReference: ntp.RefIDFromString("XNON"), Precision: -20,
	}
}

// System is the system process of RFC 5905 §4: it decides from everything that is known of the sources whether there
// is a consensus on the time, what the clock shall do about it, and what clients are told. One event goes through
// Handle in this order: enter it in the table of sources → let the discipline decide → compare with the step limits
// → Effects. Whether a decision is followed depends on the phase (see there for the state order); without a consensus
// the last estimate holds over while its bound is small, then the local stratum or nothing is served (State).
//
// A steer that is asked for carries the number of its decision. The caller makes it, and the ledger entry that comes
// back through Applied carries the same number; only then does the step count against the limits. An entry without
// that number is somebody else's change. Not safe for concurrent use; owned by the timekeeper.
type System struct {
	params  Params
	disc    *algorithm.Discipline
	limits  limits
	sources []*source // by SourceID

	phase     phase
	at        deadlines
	fallback  State // what stands in for a consensus: Unsynchronized, HoldOver or LocalClock
	decision  algorithm.Decision
	estimate  algorithm.Estimate // the last one that was followed
	estimated ntp.Timestamp      // clock reading that estimate is of
	holds     bool               // estimate describes the clock: nobody else has stepped it since
	peer      *source            // selected; its address and stratum are told to clients. nil: none was yet
	leader    *source            // whom we follow for want of a source, see electLeader; nil: nobody
	unserved  unserved
	refusal   Refusal // why phase is refused
	refusals  [limitCount]uint64
	followed  bool // a consensus was followed since the start
	set       bool // the same, and nobody else has changed the clock since
	unsetNow  bool // the clock shows a time that is past
	view      ntp.View
	clock     ntp.LedgerEntry // newest change of the clock

	leap            leap
	lines           offsetLines
	reach           outOfReach
	gained, missing logThrottle // lines about a consensus
	refusing        logThrottle // lines about refused steps
	complained      bool        // the missing consensus was told of
	lost, loops     uint64
	wrongEpoch      uint64
	inLeapWindow    uint64
}

// New returns a system process without sources; its View is unsynchronised. Call Applied with the ledger's
// first entry before the first event.
func New(p Params) *System {
	if p.HoldOver <= 0 {
		p.HoldOver = defaultHoldOver(p.Algorithm.MaximumSourceUncertainty)
	}
	if p.Pivot.IsZero() {
		p.Pivot = defaultPivot
	}
	if p.Guessed > 0 { // the guess may be taken back
		p.StartupSpent, p.StartupStep.Backward = false, max(p.StartupStep.Backward, p.Guessed)
	}
	s := &System{params: p, disc: algorithm.New(p.Algorithm), limits: newLimits(&p)}
	s.view = s.unsynchronizedView()
	return s
}

// defaultHoldOver is the root distance at which we call ourselves not synchronised unless configured otherwise: what is
// taken from sources that may be off by source, s, can be served.
func defaultHoldOver(source float64) time.Duration {
	return time.Duration(min(max(holdOverRoom*source, minHoldOver.Seconds()), maxHoldOver.Seconds()) * float64(time.Second))
}

// Handle takes in one event and returns what follows from it. The order of work for the caller: steer the
// clock and report each ledger entry through Applied, publish the View, send the Advice, log the Notices, and
// send Tick after Wait.
func (s *System) Handle(now Now, ev Event) Effects {
	fx := Effects{}
	if s.at.tick.IsZero() {
		s.start(now, &fx)
	} else if now.Mono.Sub(s.at.tick) > lateAfter {
		s.pollNow(&fx)
	}
	fresh := s.take(now, ev, &fx)
	if fresh || s.changes(now, ev) {
		s.decide(now, fresh, &fx)
		s.tell(now, &fx)
	} else {
		fx.Wait = s.at.tick.Sub(now.Mono)
	}
	fx.Wait = min(max(fx.Wait, minWait), idleWait)
	s.at.tick = now.Mono.Add(fx.Wait)
	return fx
}

// changes reports whether an event without a sample may change a decision. Most reports of associations do not,
// and a slew that is under way needs no renewal.
func (s *System) changes(now Now, ev Event) bool {
	switch ev.(type) {
	case Tick, Removed, ForeignStep, Expected:
		return true
	}
	return !now.Mono.Before(s.at.tick)
}

// take enters an event in the tables and reports whether it brought a sample that counts.
func (s *System) take(now Now, ev Event, fx *Effects) bool {
	switch e := ev.(type) {
	case Added:
		s.add(e)
	case Removed:
		s.remove(e.ID)
	case Status:
		if src := s.find(e.ID); src != nil {
			if e.Fault != src.status.Fault && e.Fault != "" && !e.Reachable {
				fx.note(src.faults.level(now.Mono, Warn), logtarget.System, "source %v (%s) cannot be followed: %s", src.ID, src.Name, e.Fault)
			}
			src.status, src.reported = e, true
		}
	case Voided:
		if src := s.find(e.ID); src != nil {
			s.askAgain(src, fx)
		}
	case Measured:
		return s.measure(now, &e.Measurement, fx)
	case ForeignStep:
		return s.foreign(now, e, fx)
	case Expected:
		s.params.Expected, s.params.NoSources = e.Sources, e.Sources == 0
	}
	return false
}

// measure gives a sample to the discipline unless something about it forbids that.
func (s *System) measure(now Now, m *ntp.Measurement, fx *Effects) bool {
	src := s.find(m.Source)
	if src == nil {
		return false
	}
	if m.Epoch != now.Epoch {
		s.wrongEpoch++
		s.askAgain(src, fx)
		return false
	}
	if s.leap.near(now.Clock, s.params.Pivot) {
		s.inLeapWindow++
		return false
	}
	if s.phase.kind == searching {
		s.phase = phase{kind: waiting, deadline: now.Mono.Add(startupLimit)}
	}
	s.wake(src, m.At, fx)
	src.last, src.known, src.updated = *m, true, now.Clock
	if bar := s.barred(src); bar != src.bar {
		src.bar = bar
		if bar == barLoop || bar == barSelf {
			s.loops++
			fx.note(src.agreeing.level(now.Mono, Warn), logtarget.System, "source %v (%s): %s, not used", src.ID, src.Name, bar)
		}
	}
	if src.bar != barNone {
		if src == s.leader {
			s.leader = nil // it follows another now
		}
		s.disc.Forget(m.Source)
		return false
	}
	if src != s.leader {
		s.dethrone() // there is a real source again
	}
	if s.doubted(now, src, m, fx) {
		return false
	}
	s.disc.Absorb(*m)
	if s.disc.Hurry(m.Source) {
		fx.advise(ntp.Advice{Source: m.Source, Poll: src.wanted(), PollNow: true})
	}
	return true
}

// askAgain asks a source whose reply was void for another, as soon as the rate rules allow.
func (s *System) askAgain(src *source, fx *Effects) {
	fx.advise(ntp.Advice{Source: src.ID, Poll: src.wanted(), PollNow: true})
}

// foreign is what follows from a change of the clock that was not ours: nothing is known of its offset now. The
// caller, who knows what it was, tells the operator. It reports whether samples that were kept aside count now.
func (s *System) foreign(now Now, e ForeignStep, fx *Effects) bool {
	fx.note(Debug, logtarget.System, "clock changed underneath us: all offsets are measured anew")
	s.limits.moved(-e.Stood)
	s.at.local = now.Mono.Add(localAfter)
	s.at.complaint = now.Mono.Add(startupOverdue)
	if !now.Mono.Before(s.at.foreign.Add(-foreignBursts * burstInterval)) {
		s.at.burst = time.Time{}
		s.at.foreign = later(s.at.foreign, now.Mono).Add(burstInterval)
	}
	s.burst(now, fx)
	for i := range fx.Advice {
		fx.Advice[i].Stood, fx.Advice[i].Urgent = e.Stood, true
	}
	return s.settleDoubts(now, e)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// burst asks for measurements at once, unless it did so lately.
func (s *System) burst(now Now, fx *Effects) {
	if now.Mono.Before(s.at.burst) {
		return
	}
	s.at.burst = now.Mono.Add(burstInterval)
	s.pollNow(fx)
}

// pollNow asks every association for a measurement as soon as the rate rules allow.
func (s *System) pollNow(fx *Effects) {
	for _, src := range s.sources {
		if src.known || src.reported {
			fx.advise(ntp.Advice{Source: src.ID, Poll: src.wanted(), PollNow: true})
		}
	}
}

// Applied tells of a change of the clock that the kernel confirmed: the ledger's newest entry. It must be
// called once with the first entry at start, and before the next Handle after every change.
func (s *System) Applied(e ntp.LedgerEntry) {
	s.clock = e
	s.disc.Applied(e)
	switch {
	case e.Foreign:
		if s.phase.kind == refused {
			s.limits.forgive()
		}
		s.limits.moved(e.Step)
		s.lose()
		s.holds, s.set, s.params.Guessed = false, false, 0
	case !e.Leap:
		s.estimate.Offset -= e.Step
		s.estimated = s.estimated.Add(e.Step)
		if w := &s.decision.Steer; w.Kind == algorithm.SteerStep && e.Steer == w.Number { // not what others did to the clock
			s.limits.stepped(e.Step)
		}
	}
}
