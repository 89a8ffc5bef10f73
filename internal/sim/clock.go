package sim

import (
	"math"
	"time"

	"ntp-daemon/internal/ntp"
)

// frequencyUnit is the kernel's: 2^-16 ppm (adjtimex(2)).
const frequencyUnit = 1e-6 / 65536

// clock is a kernel clock over an oscillator, as clock.Kernel presents one: it can be stepped and run faster or
// slower by the client and by others, it can be asked what others did, and it can refuse.
type clock struct {
	osc   *oscillator
	time  func() int64 // true ns now
	epoch uint64

	// How it runs.
	freq    float64 // s/s in force
	base    ntp.Timestamp
	changed int64         // local ns at which base was read
	slept   time.Duration // local time of all suspends, which the monotonic clocks do not count

	// What the client knows of it, as clock.Kernel keeps it.
	last    ntp.LedgerEntry
	entered time.Duration // monotonic time of last
	armed   ntp.LeapIndicator
	rest    float64 // the frequency that Rest leaves behind
	foreign ntp.ForeignChange

	asked    *Commands
	refusal  error  // of every write
	meddling func() // what somebody else does just before a correction is written
}

// Commands is what a client made of its clock.
type Commands struct {
	Steps   []time.Duration // made
	Sets    int             // frequencies made
	MaxFreq float64         // largest commanded frequency, absolute, s/s
}

func newClock(osc *oscillator, now func() int64, at ntp.Timestamp, asked *Commands) *clock {
	c := &clock{osc: osc, time: now, base: at, changed: osc.local, asked: asked}
	c.enter(ntp.LedgerEntry{Time: at})
	return c
}

func quantize(f float64) float64 {
	f = min(max(f, -500e-6), 500e-6)
	return math.Round(f/frequencyUnit) * frequencyUnit
}

// read returns the reading at true time t.
func (c *clock) read(t int64) ntp.Timestamp {
	d := c.osc.read(t) - c.changed
	return c.base.Add(time.Duration(d) + time.Duration(math.Floor(float64(d)*c.freq)))
}

// monotonic is the time that passed since the start while the machine ran, by the bare oscillator.
func (c *clock) monotonic() time.Duration { return time.Duration(c.osc.read(c.time())) - c.slept }

// set makes a step and a frequency true now, whoever wants them.
func (c *clock) set(step time.Duration, freq float64) {
	c.base = c.read(c.time()).Add(step)
	c.changed, c.freq = c.osc.read(c.time()), quantize(freq)
}

// jump is a step by somebody else; sleep is how long the machine was suspended just before it.
func (c *clock) jump(step, sleep time.Duration) {
	c.slept += sleep
	c.set(step, c.freq)
	c.foreign.Jump += step
	c.foreign.Sleep += sleep
}

// leap is what a kernel does at the end of the day, by its own clock, if it was told of a leap second.
func (c *clock) leap(size time.Duration) bool {
	if size < 0 && c.armed != ntp.LeapInsert || size > 0 && c.armed != ntp.LeapDelete {
		return false
	}
	c.jump(size, 0)
	c.foreign.Leap = true
	return true
}

// enter remembers a change that the client knows of.
func (c *clock) enter(e ntp.LedgerEntry) { c.last, c.entered = e, c.monotonic() }

// excess is how much the clock gained beyond what the known frequency makes of the elapsed time.
func (c *clock) excess(passed time.Duration) time.Duration {
	elapsed := c.monotonic() - c.entered
	return passed - elapsed - time.Duration(math.Round(float64(elapsed)*c.last.Frequency))
}

func (c *clock) stepped() bool { return c.foreign.Jump != 0 || c.foreign.Sleep != 0 }

// change writes one correction of the client's.
func (c *clock) change(step time.Duration, freq float64) (ntp.LedgerEntry, error) {
	if c.meddling != nil {
		c.meddling()
	}
	if c.stepped() {
		return ntp.LedgerEntry{}, ntp.ErrForeignChange
	}
	if c.refusal != nil {
		return ntp.LedgerEntry{}, c.refusal
	}
	tampered := c.freq != c.last.Frequency
	c.set(step, freq)
	if step != 0 {
		c.epoch++
	}
	e := ntp.LedgerEntry{Time: c.base, Step: step, Frequency: c.freq}
	if tampered {
		e.Step += c.excess(e.Time.Sub(c.last.Time) - step)
	}
	c.enter(e)
	return e, nil
}

// Now, Epoch, SetBase, SetFrequency, Step, SetStatus, CheckForeign and Rest implement timekeeper.Clock.
func (c *clock) Now() ntp.Timestamp { return c.read(c.time()) }

func (c *clock) Epoch() uint64 { return c.epoch }

func (c *clock) SetBase(f float64) error { c.rest = f; return nil }

func (c *clock) SetFrequency(f float64) (ntp.LedgerEntry, error) {
	e, err := c.change(0, f)
	if err == nil {
		c.asked.Sets++
		c.asked.MaxFreq = max(c.asked.MaxFreq, math.Abs(f))
	}
	return e, err
}

func (c *clock) Step(d time.Duration) (ntp.LedgerEntry, error) {
	e, err := c.change(d, c.last.Frequency)
	if err == nil {
		c.asked.Steps = append(c.asked.Steps, d)
	}
	return e, err
}

func (c *clock) SetStatus(s ntp.ClockStatus) error {
	switch {
	case c.stepped() || c.freq != c.last.Frequency:
		return ntp.ErrForeignChange
	case c.refusal != nil:
		return c.refusal
	}
	c.armed = s.Leap
	return nil
}

func (c *clock) CheckForeign() (ntp.ForeignChange, bool) {
	f := c.foreign
	f.Tampered, f.Was, f.Is = c.freq != c.last.Frequency, c.last.Frequency, c.freq
	stepped := c.stepped()
	if !stepped && !f.Tampered {
		return ntp.ForeignChange{}, false
	}
	f.Elapsed = c.monotonic() - c.entered
	f.Entry = ntp.LedgerEntry{Time: c.Now(), Step: f.Jump, Frequency: c.freq, Foreign: stepped && !f.Leap, Leap: f.Leap}
	if !f.Entry.Foreign && f.Tampered {
		f.Entry.Step = c.excess(f.Entry.Time.Sub(c.last.Time))
	}
	if stepped {
		c.epoch++
	}
	c.foreign = ntp.ForeignChange{}
	c.enter(f.Entry)
	return f, true
}

func (c *clock) Rest() error {
	_, err := c.SetFrequency(c.rest)
	return err
}
