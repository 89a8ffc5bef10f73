package timekeeper

import (
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
)

// heldClock is a clock over an oscillator that is right and moves only when told to. It does as it is told, remembers
// what the kernel would have been told, and can be changed underneath, or refuse.
type heldClock struct {
	local time.Duration // of the oscillator
	last  ntp.LedgerEntry
	at    time.Duration // local, at the last entry
	epoch uint64

	foreign  []ntp.ForeignChange // made, not yet looked at
	refusal  error               // of corrections
	statuses int
	status   ntp.ClockStatus // the latest
	bases    []float64
	steps    []time.Duration
	writes   int
}

func (c *heldClock) Now() ntp.Timestamp {
	d := c.local - c.at
	return c.last.Time.Add(d + time.Duration(float64(d)*c.last.Frequency))
}

func (c *heldClock) Epoch() uint64 { return c.epoch }

func (c *heldClock) SetBase(f float64) error { c.bases = append(c.bases, f); return nil }

func (c *heldClock) SetFrequency(f float64) (ntp.LedgerEntry, error) { return c.change(0, f) }

func (c *heldClock) Step(d time.Duration) (ntp.LedgerEntry, error) {
	e, err := c.change(d, c.last.Frequency)
	if err == nil {
		c.epoch++
		c.steps = append(c.steps, d)
	}
	return e, err
}

func (c *heldClock) change(d time.Duration, f float64) (ntp.LedgerEntry, error) {
	if len(c.foreign) > 0 {
		return ntp.LedgerEntry{}, ntp.ErrForeignChange
	}
	if c.refusal != nil {
		return ntp.LedgerEntry{}, c.refusal
	}
	c.writes++
	c.last = ntp.LedgerEntry{Time: c.Now().Add(d), Step: d, Frequency: f}
	c.at = c.local
	return c.last, nil
}

// meddle is a step by somebody else.
func (c *heldClock) meddle(d time.Duration) {
	e := ntp.LedgerEntry{Time: c.Now().Add(d), Step: d, Frequency: c.last.Frequency, Foreign: true}
	c.foreign = append(c.foreign, ntp.ForeignChange{Entry: e, Elapsed: c.local - c.at, Jump: d})
	c.last, c.at = e, c.local
}

func (c *heldClock) SetStatus(s ntp.ClockStatus) error { c.statuses++; c.status = s; return nil }

func (c *heldClock) CheckForeign() (ntp.ForeignChange, bool) {
	if len(c.foreign) == 0 {
		return ntp.ForeignChange{}, false
	}
	f := c.foreign[0]
	c.foreign = c.foreign[1:]
	if f.Entry.Foreign {
		c.epoch++
	}
	return f, true
}

func (c *heldClock) Rest() error { return nil }

// bench is a Keeper with one source, whose samples the test makes.
type bench struct {
	*Keeper
	c *heldClock

	effects Effects // of the latest turn
	view    ntp.View
	report  system.Report
	kept    *Frequency // newest
	notices []system.Notice
}

func newBench(t *testing.T, params system.Params, frequency float64) *bench {
	t.Helper()
	params.Algorithm.MinimumAgreeing = 1
	c := &heldClock{last: ntp.LedgerEntry{Time: ntp.FromTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), Frequency: frequency}}
	b := &bench{Keeper: New(c, frequency, params), c: c}
	b.handle(t, system.Added{ID: 1, Name: "test"})
	return b
}

func (b *bench) now() time.Time { return time.Unix(1_000_000, 0).Add(b.c.local) }

// turn takes in one event and remembers what followed.
func (b *bench) turn(ev system.Event) Effects {
	fx := b.Turn(b.now(), ev)
	b.effects = fx
	if fx.View != nil {
		b.view = *fx.View
	}
	if fx.Report != nil {
		b.report = *fx.Report
	}
	if fx.Frequency != nil {
		b.kept = fx.Frequency
	}
	b.notices = append(b.notices, fx.Notices...)
	return fx
}

func (b *bench) handle(t *testing.T, ev system.Event) {
	t.Helper()
	if fx := b.turn(ev); fx.Err != nil {
		t.Fatal(fx.Err)
	}
}

// sample is a reply of a server that is ahead by offset, over a short round trip, and 2 ms of time for the next.
func (b *bench) sample(t *testing.T, offset time.Duration) {
	t.Helper()
	b.handle(t, b.reply(offset))
	b.c.local += 2 * time.Millisecond
}

func (b *bench) reply(offset time.Duration) system.Measured {
	const rtt = 200 * time.Microsecond
	t4 := b.c.Now()
	server := t4.Add(offset - rtt/2)
	return system.Measured{Measurement: ntp.Measurement{
		Source: 1, Kind: ntp.TwoWay, Stratum: 1, Precision: time.Microsecond, Epoch: b.c.epoch, Reference: server,
		T1: ntp.Stamp{Time: t4.Add(-rtt)}, T2: ntp.Stamp{Time: server}, T3: ntp.Stamp{Time: server}, T4: ntp.Stamp{Time: t4},
	}}
}
