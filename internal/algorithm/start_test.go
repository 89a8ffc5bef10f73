package algorithm

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// TestStart_Regression: after eight samples two seconds apart the frequency is as good as a regression over them can tell.
func TestStart_Regression(t *testing.T) {
	for _, delay := range []time.Duration{100 * us, 10 * ms} {
		var offsets, frequencies float64
		const n = 50
		for seed := range n {
			tn := newTuning(loose())
			p := newPath(ntp.SourceID(seed+1), delay, delay/50)
			p.freq = 80e-6
			first := p.at(0)
			tr := newTracker(&first, 0, &tn)
			at := ntp.Local(0)
			for range 8 {
				at = at.Add(2 * sec)
				m := p.at(at)
				tr.absorb(&m, &tn)
			}
			off := tr.s.above(0) - float64(at)*1e-9*p.freq
			offsets += off * off
			frequencies += (tr.s.y - p.freq) * (tr.s.y - p.freq)
		}
		jitter := delay.Seconds() / 50
		if rms := math.Sqrt(offsets / n); rms > 0.5*jitter {
			t.Errorf("delay %v: offset off by %v s", delay, rms)
		}
		if rms := math.Sqrt(frequencies / n); rms > 0.08*jitter {
			t.Errorf("delay %v: frequency off by %v", delay, rms)
		}
	}
}

// TestStart_Equation4c computes it again.
func TestStart_Equation4c(t *testing.T) {
	var s start
	var d delayNoise
	trips := []time.Duration{20200 * us, 20100 * us, 20900 * us, 20150 * us}
	for i, trip := range trips {
		m := ntp.Measurement{At: ntp.Local(i), Precision: us}
		d.add(m.At, trip)
		if !s.add(&m, trip) {
			t.Fatal("no place")
		}
	}
	floor, median := 20100e-6, 100e-6 // of the excesses 0, 50, 100, 800 µs
	prior := floor / 50
	v2 := prior * prior
	for _, e := range []float64{100e-6, 0, 800e-6, 50e-6} {
		v2 += min(e*e, 4*median*median+prior*prior)
	}
	usual := math.Sqrt(v2 / 4)
	if got := s.usual(&d); math.Abs(got/usual-1) > 1e-9 {
		t.Fatalf("usual excess %v, want %v", got, usual)
	}
	for i, e := range []float64{100e-6, 0, 800e-6, 50e-6} {
		want := 50e-9*50e-9 + 1e-6*1e-6/12 + 9e-10 + math.Pow(e+1.3*usual/2, 2)/12
		o := s.observe(i, usual, 9e-10, &d)
		blind := 50e-9*50e-9 + 1e-6*1e-6/12 + 9e-10 + v2/4/8
		for j := range laws {
			if law(j) == lawBlind {
				want, blind = blind, want
			}
			if math.Abs(o[j].noise/want-1) > 1e-9 {
				t.Errorf("sample %d, law %d: %v, want %v", i, j, o[j].noise, want)
			}
			if law(j) == lawBlind {
				want, blind = blind, want
			}
		}
	}
}

// TestStart_NoisyServer: noise of the server's clock is not taken for a frequency, and a frequency that is improbable not for noise.
func TestStart_NoisyServer(t *testing.T) {
	for seed := range 30 {
		tn := newTuning(loose())
		p := newPath(ntp.SourceID(seed+1), ms, 50*us)
		first := p.at(0)
		tr := newTracker(&first, 0, &tn)
		for i := range 8 {
			m := p.at(ntp.Local(time.Duration(i) * 2 * sec))
			m.TrueGap += toDuration(5e-3 * p.rng.NormFloat64())
			tr.absorb(&m, &tn)
		}
		if y := math.Abs(tr.s.y); y > 3*math.Sqrt(tr.s.pyy) || math.Sqrt(tr.own) < 1e-3 {
			t.Errorf("path %d: frequency %v ± %v, noise %v s", seed, tr.s.y, math.Sqrt(tr.s.pyy), math.Sqrt(tr.own))
		}
		p = newPath(ntp.SourceID(seed+1), ms, 20*us)
		p.freq = 450e-6
		first = p.at(0)
		tr = newTracker(&first, 0, &tn)
		for i := range 10 {
			m := p.at(ntp.Local(time.Duration(i) * 2 * sec))
			tr.absorb(&m, &tn)
		}
		if d := math.Abs(tr.s.y - p.freq); d > 10e-6 || tr.own > 30e-6*30e-6 {
			t.Errorf("path %d: frequency off by %v, noise %v s", seed, d, math.Sqrt(tr.own))
		}
	}
}

// TestStart_NearTheBest: whatever the delays are like, after the first few samples offset and frequency are about as good as a linear filter makes
// them that knows the variance of a sample, and better where delays tell it.
func TestStart_NearTheBest(t *testing.T) {
	at := []int{6, 8, 12, 16, 20, 28, 40, 64}
	for _, row := range []struct {
		name  string
		sigma float64 // of the offset of a sample, s
		one   func(*rand.Rand) float64
		limit [2]float64 // of offset and frequency, in units of what that filter is off
	}{
		{"exponential", 212e-6, func(r *rand.Rand) float64 { return 1e-3 + 3e-4*r.ExpFloat64() }, [2]float64{0.8, 0.85}},
		{"normal", 212e-6, func(r *rand.Rand) float64 { return max(3e-3+3e-4*r.NormFloat64(), 1e-3) }, [2]float64{1.4, 1.3}},
		{"uniform", 204e-6, func(r *rand.Rand) float64 { return 1e-3 + 1e-3*r.Float64() }, [2]float64{1.25, 1.2}},
		{"in steps", 345e-6, delayInSteps, [2]float64{1.46, 1.2}},
	} {
		t.Run(row.name, func(t *testing.T) {
			ours, best := make([]gauge, len(at)), make([]gauge, len(at))
			for seed := range uint64(200) {
				startBeside(rand.New(rand.NewPCG(seed, 7)), row.one, row.sigma, at, ours, best)
			}
			for i, n := range at {
				x, y := math.Sqrt(ours[i].x/best[i].x), math.Sqrt(ours[i].y/best[i].y)
				t.Logf("%2d samples: offset off by %.2f times as much, frequency by %.2f", n, x, y)
				if x > row.limit[0] || y > row.limit[1] {
					t.Errorf("%d samples: offset off by %.2f times as much as a linear filter, frequency by %.2f", n, x, y)
				}
			}
		})
	}
}

// delayInSteps is the delay of a packet that waits for the tick of a clock.
func delayInSteps(r *rand.Rand) float64 {
	d := 2.15e-3 + 6e-5*r.ExpFloat64()
	if r.Float64() < 0.18 {
		d -= 1e-3
	}
	if r.Float64() < 0.07 {
		d += 1e-3
	}
	return d
}

// gauge adds up squares of errors.
type gauge struct{ x, y float64 }

func (g *gauge) add(x, y float64) {
	g.x += x * x
	g.y += y * y
}

// startBeside lets a tracker and a Kalman filter that knows sigma follow a source that is right, once a second.
func startBeside(r *rand.Rand, one func(*rand.Rand) float64, sigma float64, at []int, ours, best []gauge) {
	tn := newTuning(loose())
	tr := newTracker(&ntp.Measurement{Source: 1}, 0, &tn)
	m := member{xx: 1, yy: 1e-8}
	for i := 1; i <= at[len(at)-1]; i++ {
		out, back := one(r), one(r)
		z := (out - back) / 2
		tr.absorb(&ntp.Measurement{
			Source: 1, At: ntp.Local(time.Duration(i) * sec), TrueGap: toDuration(z), RTT: toDuration(out + back), Precision: 100,
		}, &tn)
		m.predict(1, 1e-23)
		expected, g := m.expect(0)
		m.update(&g, z-expected, sigma*sigma)
		if k, found := slices.BinarySearch(at, i); found {
			ours[k].add(tr.s.above(0), tr.s.y)
			best[k].add(m.x, m.y)
		}
	}
}
