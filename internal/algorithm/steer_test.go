package algorithm

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

func TestSteer(t *testing.T) {
	for _, row := range []struct {
		name   string
		e      Estimate
		now    float64 // frequency in force
		params func(*Params)
		want   Steer
		wait   time.Duration
	}{
		{"on target", Estimate{Frequency: 1e-6}, 1e-6, nil, Steer{}, 0},
		{"frequency only", Estimate{Frequency: 1e-6}, 0, nil, Steer{Kind: SteerSlew, Frequency: 1e-6}, 0},
		{"small offset", Estimate{Offset: 80 * us}, 0, nil, Steer{Kind: SteerSlew, Frequency: 10e-6}, 8 * sec},
		{"negative", Estimate{Offset: -80 * us, Frequency: 1e-6}, 0, nil, Steer{Kind: SteerSlew, Frequency: -9e-6}, 8 * sec},
		{"at the slew limit", Estimate{Offset: 8 * ms}, 0, nil, Steer{Kind: SteerSlew, Frequency: 200e-6}, 40 * sec},
		{"step", Estimate{Offset: 50 * ms}, 0, nil, Steer{Kind: SteerStep, Step: 50 * ms}, stepSettle},
		{"step back", Estimate{Offset: -sec}, 0, nil, Steer{Kind: SteerStep, Step: -sec}, stepSettle},
		{"too uncertain to step", Estimate{Offset: 50 * ms, VarOffset: 9e-4, VarFreq: 1e-6}, 0, nil, Steer{Kind: SteerSlew, Frequency: 200e-6}, 250 * sec},
		{"not certain enough to step", Estimate{Offset: 50 * ms, VarOffset: 15e-3 * 15e-3}, 0, nil, Steer{Kind: SteerSlew, Frequency: 200e-6}, 250 * sec},
		{"threshold of a second", Estimate{Offset: 50 * ms, Frequency: 20e-6}, 0,
			func(p *Params) { p.StepThreshold = 1 }, Steer{Kind: SteerSlew, Frequency: 220e-6}, 250 * sec},
		{"never step", Estimate{Offset: time.Hour}, 0,
			func(p *Params) { p.StepThreshold = math.Inf(1) }, Steer{Kind: SteerSlew, Frequency: 200e-6}, maxSlewWait},
		{"kernel limit", Estimate{Offset: 8 * ms, Frequency: 400e-6}, 0, nil,
			Steer{Kind: SteerSlew, Frequency: 495e-6}, 84210526316},
		{"beyond the kernel", Estimate{Offset: 8 * ms, Frequency: 0.01}, 0, nil, Steer{Kind: SteerSlew, Frequency: 495e-6}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := loose()
			if row.params != nil {
				row.params(&p)
			}
			d := New(p)
			d.Applied(ntp.LedgerEntry{Frequency: row.now})
			dec := Decision{Estimate: row.e}
			d.steer(&dec, 0)
			s, wait := dec.Steer, dec.Wait
			if s.Kind != row.want.Kind || s.Step != row.want.Step || math.Abs(s.Frequency-row.want.Frequency) > 1e-15 {
				t.Errorf("got %+v, want %+v", s, row.want)
			}
			if (wait - row.wait).Abs() > 10 {
				t.Errorf("wait %v, want %v", wait, row.wait)
			}
		})
	}
}

// TestPace: a slew raises the variance of the clock by little and takes four intervals at most.
func TestPace(t *testing.T) {
	for _, row := range []struct {
		offset, freq float64
		interval     float64
		want         float64
	}{
		{1e-5, 0, 64, 256},
		{1e-5, 1e-8, 64, 256},
		{1e-5, 1e-6, 64, 64 * 3 * paceCost * (1e-10 + 64*64e-12/3) / 64 / 64e-12},
		{0, 1e-6, 1000, 40},
		{0, 0, 64, 256},
	} {
		e := Estimate{VarOffset: row.offset * row.offset, VarFreq: row.freq * row.freq}
		if got := e.pace(row.interval); math.Abs(got-row.want) > 1e-6 {
			t.Errorf("offset ± %g, frequency ± %g: %g of %g s, want %g", row.offset, row.freq, got, row.interval, row.want)
		}
	}
}

// TestSteer_Pace: an offset that may be noise is removed over a share of the shortest interval between samples, one that cannot be
// without delay.
func TestSteer_Pace(t *testing.T) {
	for _, row := range []struct {
		name   string
		offset time.Duration
		poll   [2]ntp.PollExp
		wait   time.Duration
		freq   float64
	}{
		{"significant", 9 * ms, [2]ntp.PollExp{10, 10}, 9 * ms * 1e6 / 200, 0},
		{"may be noise", 100 * us, [2]ntp.PollExp{10, 10}, 3600 * sec, 0},
		{"the shortest interval counts", 100 * us, [2]ntp.PollExp{10, 7}, 512 * sec, 0},
		{"at the border to noise", 149 * us, [2]ntp.PollExp{6, 6}, 256 * sec, 0},
		{"beyond it", 151 * us, [2]ntp.PollExp{6, 6}, 64 * sec / 6, 0},
		{"may be what the oscillator did meanwhile", 9 * ms, [2]ntp.PollExp{10, 10}, 45 * sec, 10e-6},
		{"as gently as noise", 149 * us, [2]ntp.PollExp{2, 2}, 149 * us * 1e6 / 4, 0},
		{"not below the minimum", 20 * us, [2]ntp.PollExp{0, 0}, 8 * sec, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			cs := []candidate{{t: &tracker{}, verdict: Selected}, {t: &tracker{}, verdict: Selected}, {t: &tracker{}, verdict: Falseticker}}
			for i, p := range row.poll {
				cs[i].t.last.Poll = p
			}
			dec := Decision{Estimate: Estimate{Offset: row.offset, VarOffset: 60e-6 * 60e-6, VarFreq: row.freq * row.freq}}
			New(loose()).steer(&dec, interval(cs))
			if (dec.Wait - row.wait).Abs() > 10*us {
				t.Errorf("takes %v, want %v", dec.Wait, row.wait)
			}
		})
	}
}

// TestSteer_SlewEnds also when the sources are lost in its midst.
func TestSteer_SlewEnds(t *testing.T) {
	d := New(loose())
	l := ntp.NewLedger(1<<60, 0)
	d.Applied(l.Last())
	p := newPath(1, 100*us, us)
	p.lie, p.freq = 4*ms, 10e-6
	at := feed(d, 0, 5, p)
	dec := d.Decide(at)
	if dec.Steer.Kind != SteerSlew || dec.Wait < sec {
		t.Fatalf("no slew: %+v", dec.Steer)
	}
	l = l.Append(ntp.LedgerEntry{Time: reading(l, at), Frequency: dec.Steer.Frequency, Steer: dec.Steer.Number}, 0)
	d.Follow(&dec)
	d.Applied(l.Last())
	d.Forget(1)
	if dec := d.Decide(at.Add(sec)); dec.Steer.Kind != SteerNone || dec.Wait <= 0 {
		t.Errorf("in the midst: %+v, wait %v", dec.Steer, dec.Wait)
	}
	dec = d.Decide(at.Add(dec.Wait))
	if dec.Steer.Kind != SteerSlew || math.Abs(dec.Steer.Frequency-p.freq) > 5e-6 || dec.Wait != 0 {
		t.Errorf("at the end: %+v, wait %v", dec.Steer, dec.Wait)
	}
	if again := d.Decide(at.Add(time.Minute)); again.Steer.Kind != SteerSlew || again.Steer.Frequency != dec.Steer.Frequency {
		t.Errorf("an end that was not confirmed is not tried again: %+v", again.Steer)
	}
	d.Follow(&dec)
	l = l.Append(ntp.LedgerEntry{Time: reading(l, at.Add(time.Minute)), Frequency: dec.Steer.Frequency, Steer: dec.Steer.Number}, 0)
	d.Applied(l.Last())
	if dec := d.Decide(at.Add(time.Hour)); dec.Steer.Kind != SteerNone {
		t.Errorf("writes to the clock without a source: %+v", dec.Steer)
	}
}

// TestSteer_ConfirmedByNumber: a slew begins with the entry that carries the number of the decision that was followed;
// neither a decision that nobody followed nor a change that merely looks like it begins one.
func TestSteer_ConfirmedByNumber(t *testing.T) {
	for _, row := range []struct {
		name             string
		followed, number bool
		slews            bool
	}{
		{"followed and confirmed", true, true, true},
		{"not followed", false, true, false},
		{"another change to the same frequency", true, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := New(loose())
			l := ntp.NewLedger(1<<60, 0)
			d.Applied(l.Last())
			p := newPath(1, 100*us, us)
			p.lie = 4 * ms
			at := feed(d, 0, 5, p)
			dec := d.Decide(at)
			if row.followed {
				d.Follow(&dec)
			}
			e := ntp.LedgerEntry{Time: reading(l, at), Frequency: dec.Steer.Frequency}
			if row.number {
				e.Steer = dec.Steer.Number
			}
			d.Applied(l.Append(e, 0).Last())
			if d.slew.on != row.slews || dec.Steer.Number == 0 {
				t.Errorf("slew %+v of %+v", d.slew, dec.Steer)
			}
		})
	}
}

// TestSteer_Equations11and12 recomputes what is done about random estimates, from the settings and the shortest poll interval.
func TestSteer_Equations11and12(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	kinds := map[SteerKind]int{}
	for round := range 5000 {
		p := loose()
		p.StepThreshold = math.Exp(-5 + 3*rng.NormFloat64())
		p.SteerOffsetThreshold = 6 * rng.Float64()
		p.SlewMinimumDuration = math.Exp(2 + rng.NormFloat64())
		p.SlewMaximumFrequencyOffset = math.Min(math.Exp(-9+rng.NormFloat64()), 400e-6)
		e := Estimate{
			Offset: toDuration(math.Exp(-9+4*rng.NormFloat64()) * math.Copysign(1, rng.NormFloat64())), Frequency: 300e-6 * rng.NormFloat64(),
			VarOffset: math.Exp(-20 + 4*rng.NormFloat64()), VarFreq: math.Exp(-29 + 4*rng.NormFloat64()), Wander: math.Exp(-20 + 3*rng.NormFloat64()),
		}
		e.Cov = rng.Float64() * math.Sqrt(e.VarOffset*e.VarFreq)
		tau := math.Exp2(float64(rng.IntN(14) - 2))
		d := New(p)
		d.Applied(ntp.LedgerEntry{})
		dec := Decision{Estimate: e}
		d.steer(&dec, tau)

		off, sigma := e.Offset.Seconds(), math.Sqrt(e.VarOffset)
		size := math.Abs(off)
		kinds[dec.Steer.Kind]++
		if size > p.StepThreshold && size > math.Max(4, p.SteerOffsetThreshold)*sigma {
			if dec.Steer.Kind != SteerStep || dec.Steer.Step != e.Offset {
				t.Fatalf("round %d: %+v for %+v, want a step", round, dec.Steer, e)
			}
			continue
		}
		variance := func(t float64) float64 {
			return e.VarOffset + 2*t*e.Cov + t*t*e.VarFreq + e.Wander*e.Wander*t*t*t/3
		}
		T := math.Max(p.SlewMinimumDuration, math.Min(tau/6, 16))
		if news := variance(tau) - e.VarOffset; size <= 2.5*math.Sqrt(variance(tau)) {
			T = math.Max(T, tau*math.Min(4, 0.12*(e.VarOffset+news/3)/news))
		}
		if size <= 2.5*sigma {
			T = math.Max(T, size/math.Max(4e-6, 2*math.Sqrt(e.VarFreq)))
		}
		within := func(x, limit float64) float64 { return math.Max(-limit, math.Min(limit, x)) }
		steer := p.MaximumFrequencySteer
		rest := within(e.Frequency, steer)
		want := within(rest+within(off/T, p.SlewMaximumFrequencyOffset), steer)
		if dec.Steer.Kind != SteerSlew || math.Abs(dec.Steer.Frequency-want) > 1e-12*math.Abs(want)+1e-18 {
			t.Fatalf("round %d: %+v for %+v, want a frequency of %v", round, dec.Steer, e, want)
		}
		if rate := want - rest; math.Abs(rate) > 1e-11 {
			if wait := off / rate; wait > 0.02 && wait < 3600 && math.Abs(dec.Wait.Seconds()/wait-1) > 1e-6 {
				t.Fatalf("round %d: the slew ends after %v, want %v s", round, dec.Wait, wait)
			}
		}
	}
	if kinds[SteerStep] < 200 || kinds[SteerSlew] < 200 {
		t.Errorf("%v", kinds)
	}
}
