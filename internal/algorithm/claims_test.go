package algorithm

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// TestDistance_Equation8: each contribution of RFC 5905 §11.1 widens the interval that a source vouches for by its own amount.
func TestDistance_Equation8(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(tr *tracker, s *state, p *Params)
		want   time.Duration
	}{
		{"nothing", func(*tracker, *state, *Params) {}, 0},
		{"half the round trip", func(tr *tracker, _ *state, _ *Params) { tr.noise.floor = 20 * ms }, 10 * ms},
		{"half the root delay", func(tr *tracker, _ *state, _ *Params) { tr.last.RootDelay = 30 * ms }, 15 * ms},
		{"no less than half, whatever is configured", func(tr *tracker, _ *state, p *Params) {
			p.RangeDelayWeight, tr.noise.floor = 0.1, 20*ms
		}, 10 * ms},
		{"more than half, if configured", func(tr *tracker, _ *state, p *Params) {
			p.RangeDelayWeight, tr.noise.floor = 2, 20*ms
		}, 40 * ms},
		{"half of what queues", func(tr *tracker, _ *state, _ *Params) { tr.noise.excess = 4 * ms }, 2 * ms},
		{"the root dispersion", func(tr *tracker, _ *state, _ *Params) { tr.last.RootDispersion = 5 * ms }, 5 * ms},
		{"none if it is ignored", func(tr *tracker, _ *state, p *Params) {
			p.IgnoreServerDispersion, tr.last.RootDispersion = true, 5*ms
		}, 0},
		{"the precision", func(tr *tracker, _ *state, _ *Params) { tr.last.Precision = 16 * ms }, 16 * ms},
		{"a second of it at most", func(tr *tracker, _ *state, _ *Params) { tr.last.Precision = time.Hour }, sec},
		{"sigmas", func(_ *tracker, s *state, _ *Params) { s.pxx = 1e-6 }, 3 * ms},
		{"the age", func(_ *tracker, s *state, _ *Params) { s.at = ntp.Local(1000 * sec) }, ms},
	} {
		t.Run(row.name, func(t *testing.T) {
			tr, s, p := &tracker{}, &state{}, loose()
			row.change(tr, s, &p)
			tn := newTuning(p)
			if got := toDuration(tr.distance(s, 3, &tn)); (got - row.want).Abs() > 2 {
				t.Errorf("%v, want %v", got, row.want)
			}
		})
	}
}

// TestPrune: who knows far less than the others is left out, the widest first, as long as enough stay.
func TestPrune(t *testing.T) {
	for _, row := range []struct {
		name  string
		radii []float64
		min   int
		want  string // S selected, x left out
	}{
		{"alike", []float64{1, 2, 3, 16}, 1, "SSSS"},
		{"one far wider", []float64{1, 1, 1, 17}, 1, "SSSx"},
		{"the limit itself stays", []float64{1, 1, 1, 16}, 1, "SSSS"},
		{"as many as may", []float64{1, 90, 1, 80, 1}, 1, "SxSxS"},
		{"a majority stays", []float64{1, 90, 80, 1}, 1, "SxSS"},
		{"the minimum stays", []float64{1, 1, 1, 50}, 4, "SSSS"},
		{"equals go together or not at all", []float64{1, 50, 50, 1}, 1, "SSSS"},
		{"both go", []float64{1, 50, 50, 1, 1}, 1, "SxxSS"},
		{"two", []float64{1, 50}, 1, "SS"},
		{"none", nil, 1, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			var cs []candidate
			for i, r := range row.radii {
				d := toDuration(r)
				cs = append(cs, candidate{t: &tracker{id: ntp.SourceID(i + 1)}, radius: r, says: Interval{-d, d}, verdict: Candidate})
			}
			n, voters := agree(cs, row.min)
			got, selected := "", 0
			for _, c := range cs {
				switch {
				case c.verdict == Selected:
					got += "S"
					selected++
				case c.verdict == Excluded && c.reason == ReasonWide:
					got += "x"
				default:
					got += "?"
				}
			}
			if got != row.want || n != selected || voters != len(row.radii) {
				t.Errorf("%q, %d selected of %d, want %q", got, n, voters, row.want)
			}
		})
	}
}

// TestTold: the bound is the lower median of what each selected source says that the estimate is off by at most.
func TestTold(t *testing.T) {
	d := New(loose())
	at := func(off, radius, delay time.Duration, v Verdict) candidate {
		tr := &tracker{last: ntp.Measurement{RootDispersion: radius - delay/2}}
		tr.noise.floor = delay
		return candidate{t: tr, s: state{origin: off}, verdict: v}
	}
	for _, row := range []struct {
		name         string
		cs           []candidate
		bound, delay time.Duration
	}{
		{"one", []candidate{at(ms, 5*ms, 2*ms, Selected)}, 6 * ms, 2 * ms},
		{"the lower of two", []candidate{at(0, 9*ms, 4*ms, Selected), at(0, 5*ms, 2*ms, Selected)}, 5 * ms, 2 * ms},
		{"the middle of three", []candidate{at(0, 9*ms, 6*ms, Selected), at(0, 0, 0, Selected), at(0, 90*ms, 90*ms, Selected)}, 9 * ms, 6 * ms},
		{"the distance from the estimate counts", []candidate{
			at(-4*ms, 9*ms, 6*ms, Selected), at(0, 0, 0, Selected), at(6*ms, 9*ms, 6*ms, Selected),
		}, 13 * ms, 6 * ms},
		{"others do not", []candidate{
			at(0, 9*ms, 6*ms, Selected), at(0, ms, ms, Falseticker), at(0, ms, ms, Excluded), at(0, ms, ms, Candidate),
		}, 9 * ms, 6 * ms},
	} {
		t.Run(row.name, func(t *testing.T) {
			js := make([]Judgement, len(row.cs))
			bound, delay := d.told(row.cs, &state{}, js)
			if (bound-row.bound).Abs() > 2 || delay != row.delay {
				t.Errorf("bound %v, delay %v, want %v and %v", bound, delay, row.bound, row.delay)
			}
			for i, j := range js {
				if row.cs[i].verdict != Selected && j.Bound != 0 {
					t.Errorf("source %d says %v", i, j.Bound)
				}
			}
		})
	}
}

// TestTold_Holds: whatever the rest say, and wherever the estimate is, the bound is true while more than half of the selected are
// honest; and of three or more no single one moves it below or above what the others say.
func TestTold_Holds(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	d := New(loose())
	span := func(d time.Duration) time.Duration { return time.Duration(rng.Int64N(2*int64(d)+1)) - d }
	for range 5000 {
		n := 1 + rng.IntN(9)
		truth, estimate := span(sec), state{origin: span(sec)}
		cs := make([]candidate, n)
		for i := range cs {
			radius := span(300 * ms).Abs()
			tr := &tracker{last: ntp.Measurement{RootDispersion: radius}}
			cs[i] = candidate{t: tr, s: state{origin: truth + span(radius)}, verdict: Selected}
			if i < (n-1)/2 { // less than half lie
				cs[i].s.origin = truth + span(10*sec)
			}
		}
		bound, _ := d.told(cs, &estimate, make([]Judgement, n))
		if off := (truth - estimate.origin).Abs(); off > bound+2 {
			t.Fatalf("%d sources: off by %v, told %v", n, off, bound)
		}
		if n < 3 {
			continue
		}
		others := make([]Judgement, n-1)
		d.told(cs[1:], &estimate, others)
		lo, hi := time.Duration(math.MaxInt64), time.Duration(0)
		for _, j := range others {
			lo, hi = min(lo, j.Bound), max(hi, j.Bound)
		}
		if bound < lo || bound > hi {
			t.Fatalf("%d sources: one moves the bound to %v, the others say %v to %v", n, bound, lo, hi)
		}
	}
}

// TestAbsorb_Impossible: what no path can have made is not taken in, and what stamps and rates explain is.
func TestAbsorb_Impossible(t *testing.T) {
	for _, row := range []struct {
		rtt, held, precision time.Duration
		taken                bool
	}{
		{-3 * sec, 0, 1, false}, {-ms, 0, 1, false}, {-50 * us, 0, 1, true}, {-ms, 0, 2 * ms, true}, {-ms, 2 * sec, 1, true},
		{-3 * ms, 2 * sec, 1, false}, {ms, 2 * sec, 1, true},
	} {
		d := New(loose())
		m := ntp.Measurement{Source: 1, At: 1, RTT: row.rtt, Precision: row.precision, Poll: 4, Stratum: 1}
		m.T3.Time = m.T2.Time.Add(row.held)
		d.Absorb(m)
		if taken := d.Source(1).Known; taken != row.taken {
			t.Errorf("round trip %v, held for %v, precise to %v: taken %v", row.rtt, row.held, row.precision, taken)
		}
	}
}

// TestEstimate_Beyond: what maximum-frequency-steer leaves of the oscillator's error.
func TestEstimate_Beyond(t *testing.T) {
	d := New(loose())
	for y, want := range map[float64]float64{0: 0, 400e-6: 0, 495e-6: 0, 600e-6: 105e-6, -1e-3: 505e-6} {
		if e := d.estimate(state{y: y}, 0, 0); math.Abs(e.Beyond-want) > 1e-12 {
			t.Errorf("%g: %g beyond, want %g", y, e.Beyond, want)
		}
	}
}
