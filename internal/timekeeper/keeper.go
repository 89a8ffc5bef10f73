package timekeeper

import (
	"errors"
	"fmt"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
)

// Keeper steers one clock. Every event passes one door, Turn, which works in this order:
//
//	foreign change? → permission lost? → place the sample in the ledger → System.Handle → steer → ledger → effects
//
// What others did to the clock is adopted first, so that no measurement meets a ledger that is wrong. A steer is
// entered in the ledger only when the clock has confirmed it, and only then is the system told; a clock that was
// changed meanwhile is adopted and the steer given up, because the offset that it was made for no longer exists. A
// correction that is refused for want of permission costs the claim to know the time until one is taken again.
//
// Turn is a function of its arguments and of what the Clock answers, nothing else: a run can be recorded and replayed
// there. Not safe for concurrent use; in the daemon one goroutine owns it.
type Keeper struct {
	clock  Clock
	steers bool    // clock control is on
	base   float64 // frequency that the clock is left at, s/s: as found, then as learnt
	ledger ntp.Ledger
	sys    *system.System
	view   ntp.View // as last given out
	leaps  *ntp.LeapTable
	pivot  time.Time // decides the era of the clock's readings

	told     time.Time         // when the kernel was last told the status; zero: it has forgotten
	toldLeap ntp.LeapIndicator // the leap warning that it was told then

	// stale: the clock was changed by others in the midst of a steer, and the system process has not heard of it yet.
	stale      bool
	permission permission
}

// Effects is what follows from one turn. The caller publishes Report and View, passes on the Advice, writes the
// Notices in their order, stores the Frequency and comes back after Wait.
type Effects struct {
	View      *ntp.View      // nil: unchanged
	Report    *system.Report // nil: unchanged
	Advice    []ntp.Advice   // in order; a source may occur more than once
	Notices   []system.Notice
	Wait      time.Duration // until the Tick that is due if no event comes before
	Frequency *Frequency    // what is worth keeping for the next start; nil: nothing new
	// Err ends the program: *RefusedError when a step limit was exceeded, otherwise what the clock said.
	Err error
}

// Frequency is what is known of the oscillator, to be kept for the next start.
type Frequency struct {
	Correction   float64       // of the bare oscillator, s/s: the one that Rest leaves behind
	Sigma        float64       // s/s
	True         ntp.Timestamp // true time of this knowledge, as the sources have it, never what a wrong clock shows
	StartupSpent bool          // the start-up step allowance of this boot is used
	Spent        system.Spent  // of what a day allows sources without authentication
}

// RefusedError says that the system process gave up because a step limit was exceeded.
type RefusedError struct{ Reason string }

// Error gives the reason as the operator shall read it.
func (e *RefusedError) Error() string { return e.Reason }

// New takes over a clock that runs at the given frequency, s/s relative to the bare oscillator. With p.Observe the
// clock is never written to.
func New(c Clock, frequency float64, p system.Params) *Keeper {
	k := &Keeper{
		clock: c, steers: !p.Observe, base: frequency, ledger: ntp.NewLedger(c.Now(), frequency), sys: system.New(p),
		view:  ntp.View{Leap: ntp.LeapUnknown, Stratum: ntp.MaxStratum, Precision: p.Precision},
		leaps: p.Leaps, pivot: p.Pivot,
	}
	k.sys.Applied(k.ledger.Last())
	return k
}

// Turn takes in one event that happened at now, by the clock of timers, and steers.
func (k *Keeper) Turn(now time.Time, ev system.Event) Effects {
	var fx Effects
	var foreign system.ForeignStep
	if s, stood := ev.(system.StoodStill); stood {
		foreign.Stood = s.For
		k.displace(&fx, "the machine stood still, offset unknown until the next measurement", "stood", s.For, k.clock.Now())
		k.stale, ev = true, system.Tick{}
	}
	if k.adoptForeign(&fx) || k.stale {
		k.stale = false
		k.handle(now, foreign, &fx)
		if fx.Err != nil {
			return fx
		}
	}
	if k.permission.lost && !k.regain(now, &fx) {
		k.watch(now, ev)
		fx.Wait = permissionRetry
		return fx
	}
	if fx.Err != nil {
		return fx
	}
	m, measured := ev.(system.Measured)
	if measured {
		if !k.ledger.Place(&m.Measurement) {
			ev, measured = system.Voided{ID: m.Source}, false // a step lies inside the exchange
		} else {
			ev = m
		}
	}
	k.handle(now, ev, &fx)
	if k.permission.lost {
		fx.Wait = permissionRetry
		return fx
	}
	if k.stale {
		fx.Wait = staleWait
	}
	rep := k.sys.Report()
	fx.Report = &rep
	if measured {
		fx.Frequency = k.frequency(&rep)
	}
	return fx
}

// Rest is the orderly end: a running slew ends at the base frequency.
func (k *Keeper) Rest() error {
	if !k.steers {
		return nil
	}
	if err := k.clock.Rest(); err != nil && !errors.Is(err, ntp.ErrClockReadOnly) {
		return fmt.Errorf("leave the clock at its base frequency: %w", err)
	}
	return nil
}

// now reads the clock once and places the reading on every scale.
func (k *Keeper) now(mono time.Time) system.Now {
	c := k.clock.Now()
	return system.Now{Mono: mono, Local: k.ledger.Local(c), Clock: c, Epoch: k.clock.Epoch()}
}

// handle gives one event to the system process and does what it asks for.
func (k *Keeper) handle(now time.Time, ev system.Event, fx *Effects) {
	k.apply(now, k.sys.Handle(k.now(now), ev), fx)
}

// apply does what the system process asked for. What it says about that is told once it is true.
func (k *Keeper) apply(now time.Time, asked system.Effects, fx *Effects) {
	fx.Wait = asked.Wait
	err := k.steer(asked.Steer, fx)
	switch {
	case errors.Is(err, ntp.ErrClockPermission):
		k.losePermission(now, err, fx)
		return
	case errors.Is(err, ntp.ErrForeignChange):
		k.stale = true // nothing of what was asked for is true any more: the next turn begins anew
		return
	}
	fx.Notices = append(fx.Notices, asked.Notices...)
	if err != nil {
		fx.Err = err
		return
	}
	if asked.View != nil {
		k.show(asked.View, fx)
		k.tellKernel(now, asked.View, fx)
	}
	fx.Advice = append(fx.Advice, asked.Advice...)
	if asked.Displaced != 0 {
		k.displace(fx, "the sources agree that the clock was displaced, as by a pause of the machine: offset measured anew", "by", asked.Displaced, asked.Since)
		k.handle(now, system.ForeignStep{Displaced: asked.Displaced}, fx)
	}
	if asked.Refusal != "" {
		fx.Err = &RefusedError{Reason: asked.Refusal} // with the view: nobody is served a refused clock meanwhile
	}
}

// show makes v the view that is served from now on.
func (k *Keeper) show(v *ntp.View, fx *Effects) { k.view, fx.View = *v, v }

// frequency is what is worth keeping, while a consensus is followed. The time that goes with it is the sources': it may be used
// later, when others have set the clock wrong, and a time in the future would make good certificates look expired at the
// next start (row KC19).
func (k *Keeper) frequency(rep *system.Report) *Frequency {
	if !rep.EstimateKnown || !rep.Following {
		return nil
	}
	return &Frequency{
		Correction: k.base, Sigma: rep.FreqSigma, True: k.clock.Now().Add(rep.Offset), StartupSpent: !rep.StartupAllowance,
		Spent: rep.Spent,
	}
}
