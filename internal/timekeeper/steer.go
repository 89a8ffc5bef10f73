package timekeeper

import (
	"errors"
	"fmt"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
)

const (
	// MaxKeptSigma is the uncertainty, s/s, above which a frequency is the noise of the first samples: it is neither
	// left in the kernel at the end nor put in force at the next start.
	MaxKeptSigma = 20e-6
	// statusInterval is how often the kernel is told the error bounds at most; it adds 500 ppm to them itself.
	statusInterval = 10 * time.Second
	// unknownError is the bound of a clock of which nothing is known: MAXDISP of RFC 5905 §7.2, and where the kernel's ends.
	unknownError = 16 * time.Second
	// maxSteerTries bounds the retries of one steer while somebody else keeps changing the clock.
	maxSteerTries = 3
	// staleWait is the pause after a steer that was given up: short, because what is served was true before the change,
	// and long enough for a program that changes the clock without end to cost little.
	staleWait = 10 * time.Millisecond
)

// steer changes the clock and enters in the ledger what the kernel confirmed. Filters never hear of a steer that
// was refused. ntp.ErrForeignChange: it was given up, because others changed the clock meanwhile.
func (k *Keeper) steer(s algorithm.Steer, fx *Effects) error {
	if s.Kind == algorithm.SteerNone || !k.steers {
		return nil
	}
	for range maxSteerTries {
		entry, err := k.change(s)
		switch {
		case err == nil:
			entry.Steer = s.Number
			k.enter(entry, 0)
			return nil
		case errors.Is(err, ntp.ErrForeignChange):
			if k.adoptForeign(fx) {
				return err // the offset that the steer was made for no longer exists
			}
		default:
			return fmt.Errorf("steer clock: %w", err)
		}
	}
	return ntp.ErrForeignChange // somebody changes the clock faster than we do
}

// change asks the clock for one steer. The base frequency follows the estimate once that is more than noise.
func (k *Keeper) change(s algorithm.Steer) (ntp.LedgerEntry, error) {
	if s.Kind == algorithm.SteerStep {
		k.told = time.Time{} // the kernel says "not synchronised" until it is told otherwise
		return k.clock.Step(s.Step)
	}
	rep := k.sys.Report()
	if rep.EstimateKnown && rep.FreqSigma <= MaxKeptSigma {
		if err := k.clock.SetBase(rep.Frequency); err != nil {
			return ntp.LedgerEntry{}, err
		}
		k.base = rep.Frequency
	}
	return k.clock.SetFrequency(s.Frequency)
}

// enter writes a confirmed change into the ledger and tells the system process of it.
func (k *Keeper) enter(e ntp.LedgerEntry, elapsedIfForeign time.Duration) {
	k.ledger = k.ledger.Append(e, elapsedIfForeign)
	k.sys.Applied(k.ledger.Last())
}

// tellKernel passes the error bounds on, at a gentle rate, a changed leap warning at once, and only while synchronised:
// a program without a selected source never writes to the clock, and the kernel's own growth of the bound then tells
// the truth, unless the bound itself does not hold any more (disclaim).
func (k *Keeper) tellKernel(now time.Time, v *ntp.View, fx *Effects) {
	if !k.steers || !v.Synchronized || k.sys.State() != system.Synchronized || now.Sub(k.told) < statusInterval && v.Leap == k.toldLeap {
		return
	}
	dispersion := v.RootDispersion(k.clock.Now()) // an overdue update renews a view without a new reference
	k.setStatus(ntp.ClockStatus{
		Leap: v.Leap, Synchronized: true,
		MaxError: v.RootDelay/2 + dispersion, EstError: dispersion,
		TAI: k.leaps.TAI(k.clock.Now().Time(k.pivot)),
	}, fx)
	k.told, k.toldLeap = now, v.Leap
}

// setStatus tells the kernel. Nothing depends on its answer.
func (k *Keeper) setStatus(s ntp.ClockStatus, fx *Effects) {
	if err := k.clock.SetStatus(s); err != nil {
		fx.note(system.Notice{
			Level: system.Warn, Subject: "status", Fields: []any{"error", err},
			Text: "could not tell the kernel how good the clock is",
		})
	}
}

// note adds a line of our own.
func (fx *Effects) note(n system.Notice) {
	n.Target = logtarget.System
	fx.Notices = append(fx.Notices, n)
}
