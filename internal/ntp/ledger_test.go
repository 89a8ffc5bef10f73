package ntp

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// oscillator is a bare oscillator with a steered clock over it, in exact arithmetic: what the Ledger has to
// reproduce from the rounded readings that a kernel gives.
type oscillator struct {
	base    Timestamp
	at      int64    // ns of the oscillator at the last change
	clock   *big.Rat // ns on the clock since base, right after the last change
	freq    *big.Rat
	changes int
}

func newOscillator(base Timestamp, freq float64) *oscillator {
	return &oscillator{base: base, clock: new(big.Rat), freq: exactly(freq)}
}

func exactly(f float64) *big.Rat { return new(big.Rat).SetFloat64(f) }

// gap is the exact clock reading at oscillator time l, in ns since base.
func (o *oscillator) reading(l int64) *big.Rat {
	dl := new(big.Rat).SetInt64(l - o.at)
	r := new(big.Rat).Mul(dl, o.freq)
	return r.Add(r, dl).Add(r, o.clock)
}

// stamp is that reading as the clock shows it, rounded to 2^-32 s.
func (o *oscillator) stamp(l int64) Timestamp {
	r := o.reading(l)
	r.Mul(r, new(big.Rat).SetFrac64(1<<32, 1e9))
	return o.base + Timestamp(round(r))
}

func round(r *big.Rat) int64 {
	n := new(big.Int).Lsh(r.Num(), 1)
	n.Add(n, r.Denom()).Div(n, new(big.Int).Lsh(r.Denom(), 1)) // floor(r + 1/2)
	return n.Int64()
}

// change applies a step and a frequency at oscillator time l and returns the entry of the ledger.
func (o *oscillator) change(l int64, step time.Duration, freq float64) LedgerEntry {
	o.clock = o.reading(l)
	o.clock.Add(o.clock, new(big.Rat).SetInt64(int64(step)))
	o.at, o.freq = l, exactly(freq)
	o.changes++
	return LedgerEntry{Time: o.stamp(l), Step: step, Frequency: freq}
}

func drawFrequency(t *rapid.T, label string) float64 {
	return rapid.Float64Range(-500e-6, 500e-6).Draw(t, label)
}

func within(t *rapid.T, what string, got, want, tolerance time.Duration) {
	t.Helper()
	if d := got - want; d < -tolerance || d > tolerance {
		t.Fatalf("%s: %d ns, want %d ns", what, got, want)
	}
}

// TestLedger_Place: an exchange across any number of frequency changes is measured as the bare oscillator
// saw it, within 2 ns, whatever steps came before it.
func TestLedger_Place(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := newOscillator(drawTimestamp(t, "base"), drawFrequency(t, "first frequency"))
		l := NewLedger(o.base, drawSame(o))
		now := int64(0)
		for range rapid.IntRange(0, 5).Draw(t, "changes before") {
			now += rapid.Int64Range(0, int64(1000*time.Second)).Draw(t, "pause")
			step := time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(t, "step"))
			l = l.Append(o.change(now, step, drawFrequency(t, "frequency")), 0)
		}
		now += rapid.Int64Range(0, int64(100*time.Second)).Draw(t, "pause before T1")
		t1 := now
		m := Measurement{T1: Stamp{Time: o.stamp(t1)}}
		for range rapid.IntRange(0, 3).Draw(t, "changes inside") {
			now += rapid.Int64Range(1, int64(2*time.Second)).Draw(t, "pause inside")
			l = l.Append(o.change(now, 0, drawFrequency(t, "frequency inside")), 0)
		}
		now += rapid.Int64Range(1, int64(2*time.Second)).Draw(t, "pause before T4")
		t4 := now
		m.T4.Time = o.stamp(t4)
		// The server's clock runs with the oscillator and is off by a constant.
		off := drawDuration(t, "server") / 4
		s2, s3 := t1+(t4-t1)/4, t1+(t4-t1)/2
		m.T2.Time, m.T3.Time = o.base.Add(off+time.Duration(s2)), o.base.Add(off+time.Duration(s3))

		if !l.Place(&m) {
			t.Fatal("refused")
		}
		within(t, "RTT", m.RTT, time.Duration(t4-t1-(s3-s2)), 2)
		slack := time.Duration(o.changes+2) / 2 // every change rounds the oscillator's time to a nanosecond
		within(t, "At", time.Duration(m.At), time.Duration(t1+(t4-t1)/2), 2+slack)
		within(t, "At+TrueGap", time.Duration(m.At)+m.TrueGap, off+time.Duration(s2+(s3-s2)/2), 1)
	})
}

// drawSame gives the frequency that the oscillator was made with.
func drawSame(o *oscillator) float64 { f, _ := o.freq.Float64(); return f }

// TestLedger_LocalClock: Local and ClockGapAt undo each other, and agree with the gap of the newest entry.
func TestLedger_LocalClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := newOscillator(drawTimestamp(t, "base"), drawFrequency(t, "frequency"))
		l := NewLedger(o.base, drawSame(o))
		at := rapid.Int64Range(0, int64(time.Hour)).Draw(t, "change")
		l = l.Append(o.change(at, time.Duration(rapid.Int64Range(-1e12, 1e12).Draw(t, "step")), drawFrequency(t, "second frequency")), 0)
		later := at + rapid.Int64Range(0, int64(24*time.Hour)).Draw(t, "later")
		within(t, "Local", time.Duration(l.Local(o.stamp(later))), time.Duration(later), 2)
		last := l.Last()
		within(t, "base, Local and ClockGap", l.base.Add(time.Duration(later)+last.ClockGapAt(Local(later))).Sub(o.stamp(later)), 0, 2)
		within(t, "ClockGap", last.ClockGapAt(Local(later)), time.Duration(round(o.reading(later)))-time.Duration(later), 2)
	})
}

// TestLedger_RoundingDoesNotPile: a day of changes every second must not look like a frequency error.
func TestLedger_RoundingDoesNotPile(t *testing.T) {
	base := FromTime(buildDate)
	o := newOscillator(base, 0)
	l := NewLedger(base, 0)
	now := int64(0)
	for i := range 10000 {
		now += int64(time.Second) + int64(i%7)
		l = l.Append(o.change(now, 0, 3.33333e-6+1.1e-9*float64(i%13)), 0)
	}
	if d := l.Last().Local.Sub(Local(now)); d < -500 || d > 500 {
		t.Errorf("10000 changes moved the oscillator's time by %d ns", d)
	}
}

func exchange(t1, t4 Timestamp) *Measurement {
	return &Measurement{T1: Stamp{Time: t1}, T4: Stamp{Time: t4}, T2: Stamp{Time: t1}, T3: Stamp{Time: t1}}
}

// TestLedger_Refused: exchanges that a step or a foreign change lies in, and those before the ledger.
func TestLedger_Refused(t *testing.T) {
	base := FromTime(buildDate)
	at := func(s float64) Timestamp { return base.Add(time.Duration(s * 1e9)) }
	stepped := NewLedger(base, 0).Append(LedgerEntry{Time: at(110), Step: 10 * time.Second}, 0)
	back := NewLedger(base, 0).Append(LedgerEntry{Time: at(90), Step: -10 * time.Second}, 0)
	foreign := NewLedger(base, 0).Append(LedgerEntry{Time: at(5000), Foreign: true}, 100*time.Second)
	slewed := NewLedger(base, 0).Append(LedgerEntry{Time: at(100), Frequency: 1e-4}, 0)
	tiny := NewLedger(base, 0).Append(LedgerEntry{Time: at(100), Step: 1}, 0)
	for _, c := range []struct {
		name   string
		l      Ledger
		t1, t4 float64
		want   bool
	}{
		{"before the step", stepped, 98, 99, true},
		{"across the step", stepped, 99.9, 110.1, false},
		{"after the step", stepped, 110, 110.1, true},
		{"across a step of a nanosecond", tiny, 99, 101, false},
		{"across a step back: the reply seems older than the request", back, 99.9, 90.1, false},
		{"after the step back", back, 90, 91, true},
		{"across a foreign change", foreign, 99, 5001, false},
		{"after a foreign change", foreign, 5000, 5001, true},
		{"across a frequency change", slewed, 99, 101, true},
		{"before the ledger", slewed, -1, 1, false},
		{"altogether before the ledger", slewed, -2, -1, false},
		{"at the start of the ledger", slewed, 0, 1, true},
		{"a reply older than its request", slewed, 50, 49, false},
		{"a reply at the time of its request", slewed, 50, 50, true},
	} {
		m := exchange(at(c.t1), at(c.t4))
		if got := c.l.Place(m); got != c.want {
			t.Errorf("%s: placed %v, want %v", c.name, got, c.want)
		} else if !got && (m.At != 0 || m.TrueGap != 0 || m.RTT != 0) {
			t.Errorf("%s: refused and filled in", c.name)
		}
	}
}

// TestLedger_Foreign: the oscillator runs on by the monotonic clock, whatever happened to the readings.
func TestLedger_Foreign(t *testing.T) {
	base := FromTime(buildDate)
	l := NewLedger(base, 50e-6).Append(LedgerEntry{Time: base.Add(-time.Hour), Frequency: 50e-6, Foreign: true}, 100*time.Second)
	last := l.Last()
	if last.Local != Local(100*time.Second) || last.ClockGap != -time.Hour-100*time.Second {
		t.Errorf("%+v", last)
	}
	if got := l.Local(base.Add(-time.Hour + 1*time.Second)); got.Sub(Local(101*time.Second)) < -50001 || got.Sub(Local(101*time.Second)) > -49990 {
		t.Errorf("a second later it is %d", got)
	}
}

// TestLedger_Depth: the history is bounded, older values stay as they were, and Append never edits in place.
func TestLedger_Depth(t *testing.T) {
	base := FromTime(buildDate)
	l := NewLedger(base, 0)
	first := l
	for i := range 3 * ledgerDepth {
		before, n := l.Last(), len(l.entries)
		next := l.Append(LedgerEntry{Time: base.Add(time.Duration(i+1) * time.Second), Frequency: float64(i) * 1e-9}, 0)
		other := l.Append(LedgerEntry{Time: base.Add(time.Duration(i+1) * time.Second), Frequency: 1}, 0)
		if l.Last() != before || len(l.entries) != n || next.Last() == other.Last() {
			t.Fatal("Append changed its receiver")
		}
		l = next
	}
	if len(l.entries) != ledgerDepth || len(first.entries) != 1 || l.base != base {
		t.Errorf("%d entries, base %v", len(l.entries), l.base)
	}
	if l.Place(exchange(base.Add(time.Second), base.Add(1000*time.Second))) {
		t.Error("placed an exchange older than the ledger")
	}
}

// TestLedger_Branches: what follows from one ledger in two ways shares memory and nothing else.
func TestLedger_Branches(t *testing.T) {
	l := NewLedger(0, 0)
	for i := range 3 * ledgerDepth {
		at := Timestamp(0).Add(time.Duration(i+1) * time.Second)
		a := l.Append(LedgerEntry{Time: at, Frequency: 1e-6}, 0)
		b := l.Append(LedgerEntry{Time: at, Frequency: 2e-6}, 0)
		next := a.Append(LedgerEntry{Time: at.Add(time.Second), Frequency: 3e-6}, 0)
		if a.Last().Frequency != 1e-6 || b.Last().Frequency != 2e-6 || next.Last().Frequency != 3e-6 || next.entries[len(next.entries)-2] != a.Last() {
			t.Fatalf("entry %d: %g, %g, %g", i, a.Last().Frequency, b.Last().Frequency, next.Last().Frequency)
		}
		if i%2 == 0 {
			l = a
		} else {
			l = b
		}
	}
}

// TestLedger_AppendIsCheap: memory is taken once for many entries.
func TestLedger_AppendIsCheap(t *testing.T) {
	l := NewLedger(0, 0)
	at := Timestamp(0)
	if n := testing.AllocsPerRun(10*ledgerDepth, func() {
		at = at.Add(time.Second)
		l = l.Append(LedgerEntry{Time: at}, 0)
	}); n > 0.1 {
		t.Errorf("%g allocations for each entry", n)
	}
}
