package algorithm

import (
	"math"
	"reflect"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// TestApplied_Ours: a steer moves the offset against the clock and touches no filter.
func TestApplied_Ours(t *testing.T) {
	d := New(loose())
	l := ntp.NewLedger(1<<60, 0)
	d.Applied(l.Last())
	p := newPath(1, 100*us, us)
	p.lie = 50 * ms
	at := feed(d, 0, 10, p)
	before := *d.trackers[0]
	o := d.Decide(at).Estimate.Offset
	l = l.Append(ntp.LedgerEntry{Time: reading(l, at).Add(o), Step: o}, 0)
	d.Applied(l.Last())
	if !reflect.DeepEqual(before, *d.trackers[0]) {
		t.Error("a step of ours changed a tracker")
	}
	if after := d.Decide(at).Estimate.Offset; after.Abs() > 10 {
		t.Errorf("%v left after the step", after)
	}
	if r := d.Source(1); !r.Known || r.Offset.Abs() > 50*us || d.trackers[0].samples != 10 {
		t.Errorf("report %+v", r)
	}
}

// TestApplied_Foreign: offsets are found anew, the frequency stays.
func TestApplied_Foreign(t *testing.T) {
	d := New(loose())
	l := ntp.NewLedger(1<<60, 0)
	d.Applied(l.Last())
	p := newPath(1, 100*us, us)
	p.freq = 40e-6
	at := feed(d, 0, 60, p)
	l = l.Append(ntp.LedgerEntry{Time: reading(l, at).Add(time.Hour), Step: time.Hour, Foreign: true}, time.Duration(at))
	d.Applied(l.Last())
	if dec := d.Decide(at); dec.Selected != 0 || dec.Estimate.Known || dec.Judgements[0].Reason != ReasonNoSample {
		t.Errorf("still selected: %+v", dec)
	}
	if r := d.Source(1); r.Known || math.Abs(r.Frequency-p.freq) > 1e-6 {
		t.Errorf("report %+v", r)
	}
	d.Absorb(p.at(at.Add(sec)))
	dec := d.Decide(at.Add(sec))
	if dec.Selected != 1 || dec.Steer.Kind != SteerStep || (dec.Steer.Step+time.Hour).Abs() > 3*ms { // 61 s at 40 ppm are in it
		t.Errorf("after one sample: %+v", dec.Steer)
	}
}

// TestK08_NothingAbsurdLeaves: whatever is fed in, every command is finite and inside the limits.
func TestK08_NothingAbsurdLeaves(t *testing.T) {
	extremes := []time.Duration{math.MinInt64, math.MinInt64 + 1, -maxGap, -1, 0, 1, maxGap, math.MaxInt64}
	d := New(loose())
	at := ntp.Local(0)
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300, -1e300, 0.5} {
		d.Applied(ntp.LedgerEntry{Frequency: f})
	}
	if d.clock.Frequency != 0 {
		t.Errorf("frequency %v was believed", d.clock.Frequency)
	}
	for _, gap := range extremes {
		for _, rtt := range extremes {
			for i := range 5 {
				at = at.Add(time.Duration(1 + i*i*i))
				d.Absorb(ntp.Measurement{
					Source: ntp.SourceID(1 + i%2), At: at, TrueGap: gap, RTT: rtt, Poll: ntp.PollExp(gap), Stratum: 1,
					RootDelay: max(rtt, 0), RootDispersion: max(gap, 0), Precision: rtt,
				})
				checkFinite(t, d.Decide(at))
				checkFinite(t, d.Decide(at.Add(1<<40)))
			}
		}
	}
	d.Absorb(ntp.Measurement{Source: 1, At: math.MaxInt64, TrueGap: 5, RTT: 5})
	checkFinite(t, d.Decide(math.MaxInt64))
	checkFinite(t, d.Decide(math.MinInt64))
}

func checkFinite(t *testing.T, dec Decision) {
	t.Helper()
	e, s := dec.Estimate, dec.Steer
	for _, v := range []float64{e.Frequency, e.VarOffset, e.Cov, e.VarFreq, e.Wander, s.Frequency} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			t.Fatalf("not finite: %+v", dec)
		}
	}
	if math.Abs(s.Frequency) > 495e-6 || e.VarOffset < 0 || e.VarFreq < 0 || dec.Wait < 0 || dec.Wait > maxSlewWait {
		t.Fatalf("out of range: %+v", dec)
	}
}

// TestSymmetry: with every offset negated every command is, and a shift of Local changes nothing.
func TestSymmetry(t *testing.T) {
	run := func(sign time.Duration, shift time.Duration) (offsets []time.Duration, freqs []float64) {
		d := New(loose())
		d.Applied(ntp.LedgerEntry{Local: ntp.Local(shift)})
		p := newPath(1, ms, 50*us)
		for i := range 60 {
			m := p.at(0)
			m.At = ntp.Local(shift).Add(time.Duration(i) * 16 * sec)
			m.TrueGap = sign * (m.TrueGap + time.Duration(i)*800*us)
			d.Absorb(m)
			e := d.Decide(m.At).Estimate
			offsets, freqs = append(offsets, sign*e.Offset), append(freqs, float64(sign)*e.Frequency)
		}
		return offsets, freqs
	}
	o1, f1 := run(1, 0)
	o2, f2 := run(-1, 0)
	o3, f3 := run(1, 1<<50)
	for i := range o1 {
		if (o1[i]-o2[i]).Abs() > 1 || math.Abs(f1[i]-f2[i]) > 1e-12 {
			t.Fatalf("sample %d: %v and %v, %v and %v", i, o1[i], o2[i], f1[i], f2[i])
		}
		if o1[i] != o3[i] || f1[i] != f3[i] {
			t.Fatalf("sample %d shifted: %v and %v", i, o1[i], o3[i])
		}
	}
}

// TestNewSourceStartsWithKnownFrequency: a source that joins later needs no burst to know the oscillator.
func TestNewSourceStartsWithKnownFrequency(t *testing.T) {
	d := New(loose())
	a, b := newPath(1, 100*us, us), newPath(2, ms, 10*us)
	a.freq, b.freq = 80e-6, 80e-6
	at := feed(d, 0, 60, a)
	dec := d.Decide(at)
	d.Follow(&dec)
	d.Absorb(b.at(at.Add(sec)))
	if y := d.trackers[1].s.y; math.Abs(y-80e-6) > 1e-6 {
		t.Errorf("starts at %v", y)
	}
}

// TestApplied_OthersFrequencyIsNotLearned: what another program sets while we have no source is no knowledge of ours.
func TestApplied_OthersFrequencyIsNotLearned(t *testing.T) {
	d := New(loose())
	l := ntp.NewLedger(1<<60, 5e-6)
	d.Applied(l.Last())
	p := newPath(1, 100*us, us)
	p.freq = 40e-6
	at := feed(d, 0, 60, p)
	dec := d.Decide(at)
	d.Follow(&dec)
	d.Forget(1)
	for _, foreign := range []bool{false, true} {
		l = l.Append(ntp.LedgerEntry{Time: reading(l, at), Frequency: -300e-6, Foreign: foreign}, time.Duration(at-l.Last().Local))
		d.Applied(l.Last())
	}
	d.Absorb(newPath(2, 100*us, us).at(at))
	if y := d.Source(2).Frequency; math.Abs(y-p.freq) > 1e-6 {
		t.Errorf("a new source starts at %v s/s", y)
	}
}
