package clock

import (
	"time"

	"ntp-daemon/internal/ntp"
)

// ReadOnly is the kernel's clock, measured and never touched (--no-clock-control). Whatever steers it counts
// as part of its oscillator, so its frequency is always zero and its ledger empty.
type ReadOnly struct {
	read func() sample
	epochs
	seen    sample // at the last look
	entered sample // at the last ledger entry
}

// OpenReadOnly needs no privilege.
func OpenReadOnly() *ReadOnly { return newReadOnly(sampler()) }

func newReadOnly(read func() sample) *ReadOnly {
	s := narrowest(read)
	return &ReadOnly{read: read, seen: s, entered: s}
}

// Now implements Clock.
func (r *ReadOnly) Now() ntp.Timestamp { return realtime() }

// Map implements Clock: the kernel's stamps are this clock's readings.
func (r *ReadOnly) Map(kernel ntp.Timestamp) ntp.Timestamp { return kernel }

// Frequency implements Clock.
func (r *ReadOnly) Frequency() float64 { return 0 }

// SetFrequency implements Clock; it refuses.
func (r *ReadOnly) SetFrequency(float64) (ntp.LedgerEntry, error) {
	return ntp.LedgerEntry{}, ntp.ErrClockReadOnly
}

// SetBase implements Clock; there is nothing to remember.
func (r *ReadOnly) SetBase(float64) error { return nil }

// Step implements Clock; it refuses.
func (r *ReadOnly) Step(time.Duration) (ntp.LedgerEntry, error) {
	return ntp.LedgerEntry{}, ntp.ErrClockReadOnly
}

// SetStatus implements Clock; the kernel is told nothing, which is no error of the caller's.
func (r *ReadOnly) SetStatus(ntp.ClockStatus) error { return nil }

// CheckForeign implements Clock: steps and suspends count, another program's slewing is what we observe.
func (r *ReadOnly) CheckForeign() (ntp.ForeignChange, bool) {
	s := narrowest(r.read)
	step, suspend := moved(r.seen, s)
	if step == 0 && suspend == 0 {
		r.seen = s
		return ntp.ForeignChange{}, false
	}
	f := ntp.ForeignChange{Jump: step, Sleep: suspend}
	f.Elapsed = s.real.Sub(r.entered.real) - f.Jump - f.Sleep
	f.Entry = ntp.LedgerEntry{Time: s.real, Step: f.Jump, Foreign: true}
	r.seen, r.entered = s, s
	r.advance(s.real, step)
	return f, true
}

// Rest implements Clock; there is nothing to put back.
func (r *ReadOnly) Rest() error { return nil }
