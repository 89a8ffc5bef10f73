package clock

import (
	"math"
	"sync"
	"time"

	"ntp-daemon/internal/ntp"
)

// Virtual is a clock that runs over the kernel's clock and is steered instead of it. Its oscillator is the
// kernel's clock times 1+error, and it starts with an offset: a clock that is wrong in a known way, for
// demonstrations and trials. It never writes to the kernel.
//
// A change holds mu from the kernel's reading at which it begins until it can be seen. Otherwise a reader whose
// kernel reading lies in between would still be mapped by the old rate, and its next reading might be an earlier one.
type Virtual struct {
	read func() sample
	rate float64 // of the oscillator against the kernel's clock, s/s; the error that is to be found
	epochs

	mu   sync.RWMutex
	line []segment // newest last

	// The timekeeper's.
	freq, base float64
	seen       sample // of the kernel's clocks at the last look
	entered    sample // at the last ledger entry
}

// segment is a stretch of constant rate.
type segment struct {
	kernel  ntp.Timestamp // from here on
	virtual ntp.Timestamp // reading at kernel
	rate    float64       // advance of virtual beyond that of kernel, s/s
}

// keptSegments is how many changes back a late time stamp of the kernel is still mapped exactly; the steers
// are seconds apart and the stamps milliseconds late.
const keptSegments = 16

// NewVirtual starts a clock that is ahead of the kernel's by offset and whose oscillator runs frequency s/s
// too fast; both may be negative. The frequency must be finite and below ±10 %, otherwise it counts as zero.
func NewVirtual(offset time.Duration, frequency float64) *Virtual {
	return newVirtual(offset, frequency, sampler())
}

func newVirtual(offset time.Duration, frequency float64, read func() sample) *Virtual {
	if checkFrequency(frequency) != nil {
		frequency = 0
	}
	s := narrowest(read)
	first := segment{kernel: s.real, virtual: s.real.Add(offset), rate: frequency}
	return &Virtual{read: read, rate: frequency, seen: s, entered: s, line: []segment{first}}
}

// at maps a kernel reading within or after the segment.
func (g *segment) at(kernel ntp.Timestamp) ntp.Timestamp {
	d := kernel.Sub(g.kernel)
	return g.virtual.Add(d + gain(d, g.rate))
}

// gain is what a rate of s/s makes of d, rounded: thousands of segments must not add up to a drift.
func gain(d time.Duration, rate float64) time.Duration {
	return time.Duration(math.Round(float64(d) * rate))
}

// Now implements Clock.
func (v *Virtual) Now() ntp.Timestamp {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.mapped(realtime())
}

// Map implements Clock.
func (v *Virtual) Map(kernel ntp.Timestamp) ntp.Timestamp {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.mapped(kernel)
}

// mapped needs mu.
func (v *Virtual) mapped(kernel ntp.Timestamp) ntp.Timestamp {
	i := len(v.line) - 1
	for i > 0 && kernel.Before(v.line[i].kernel) {
		i--
	}
	return v.line[i].at(kernel)
}

// extend starts a new segment at kernel reading k, stepped by d, and returns its first reading. It needs mu, locked
// since before k was read.
func (v *Virtual) extend(k ntp.Timestamp, d time.Duration) ntp.Timestamp {
	now := v.line[len(v.line)-1].at(k).Add(d)
	if len(v.line) == keptSegments {
		v.line = append(v.line[:0], v.line[1:]...)
	}
	v.line = append(v.line, segment{kernel: k, virtual: now, rate: (1+v.rate)*(1+v.freq) - 1})
	return now
}

// Frequency implements Clock.
func (v *Virtual) Frequency() float64 { return v.freq }

// SetFrequency implements Clock.
func (v *Virtual) SetFrequency(f float64) (ntp.LedgerEntry, error) {
	if err := checkFrequency(f); err != nil {
		return ntp.LedgerEntry{}, err
	}
	return v.change(0, clampFrequency(f))
}

// SetBase implements Clock.
func (v *Virtual) SetBase(f float64) error {
	if err := checkFrequency(f); err != nil {
		return err
	}
	v.base = clampFrequency(f)
	return nil
}

// Step implements Clock.
func (v *Virtual) Step(d time.Duration) (ntp.LedgerEntry, error) { return v.change(d, v.freq) }

// change makes a step and a frequency true at once, unless the kernel's clock has jumped underneath us.
func (v *Virtual) change(d time.Duration, f float64) (ntp.LedgerEntry, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := narrowest(v.read)
	if jumped(v.seen, s) {
		return ntp.LedgerEntry{}, ntp.ErrForeignChange
	}
	v.freq = f
	v.seen, v.entered = s, s
	e := ntp.LedgerEntry{Time: v.extend(s.real, d), Step: d, Frequency: f}
	if d != 0 {
		v.advance(e.Time, d) // after the step: who reads the epoch first and the clock then must not get the new and the old
	}
	return e, nil
}

// SetStatus implements Clock; there is no kernel to tell.
func (v *Virtual) SetStatus(ntp.ClockStatus) error { return nil }

// CheckForeign implements Clock: a step of the kernel's clock steps this one too, and a suspend leaves its
// offset as uncertain as the kernel's.
func (v *Virtual) CheckForeign() (ntp.ForeignChange, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := narrowest(v.read)
	step, suspend := moved(v.seen, s)
	if step == 0 && suspend == 0 {
		v.seen = s
		return ntp.ForeignChange{}, false
	}
	f := ntp.ForeignChange{Jump: step, Sleep: suspend}
	// The oscillator ran as the kernel's clock did without the step, times its own error.
	steady := s.real.Sub(v.entered.real) - f.Jump - f.Sleep
	f.Elapsed = steady + gain(steady, v.rate)
	v.seen, v.entered = s, s
	f.Entry = ntp.LedgerEntry{Time: v.extend(s.real, 0), Step: f.Jump, Frequency: v.freq, Foreign: true}
	v.advance(f.Entry.Time, step)
	return f, true
}

// Rest implements Clock.
func (v *Virtual) Rest() error {
	_, err := v.SetFrequency(v.base)
	return err
}
