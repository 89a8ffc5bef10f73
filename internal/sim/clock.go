package sim

import (
	"math"
	"time"

	"ntp-daemon/internal/ntp"
)

// frequencyUnit is the kernel's: 2^-16 ppm (adjtimex(2)).
const frequencyUnit = 1e-6 / 65536

// clock is a kernel clock over an oscillator: it can be stepped and run faster or slower.
type clock struct {
	osc   *oscillator
	epoch uint64

	freq    float64 // s/s in force
	base    ntp.Timestamp
	changed int64 // local ns at which base was read
	entered int64 // local ns of the last ledger entry
}

func newClock(osc *oscillator, at ntp.Timestamp, freq float64) *clock {
	return &clock{osc: osc, base: at, freq: quantize(freq)}
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

// change makes a new frequency and a step true at t and returns the ledger entry.
func (c *clock) change(t int64, step time.Duration, freq float64) ntp.LedgerEntry {
	now := c.read(t)
	c.base, c.changed, c.freq = now.Add(step), c.osc.read(t), quantize(freq)
	if step != 0 {
		c.epoch++
	}
	c.entered = c.changed
	return ntp.LedgerEntry{Time: c.base, Step: step, Frequency: c.freq}
}

// jump is a step by somebody else; the entry says no more than the timekeeper could find out.
func (c *clock) jump(t int64, step time.Duration) (ntp.LedgerEntry, time.Duration) {
	before := c.entered
	e := c.change(t, step, c.freq)
	e.Foreign = true
	return e, time.Duration(c.entered - before)
}
