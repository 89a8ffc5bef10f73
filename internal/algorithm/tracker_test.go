package algorithm

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// TestTracker_Burst: eight samples a second apart tell offset and frequency, and the filter knows how well.
func TestTracker_Burst(t *testing.T) {
	var offset, freq, n float64
	for seed := range 200 {
		p := newPath(ntp.SourceID(seed+1), 100*us, 30*us)
		p.lie, p.freq = 250*ms, 50e-6
		tn := newTuning(loose())
		first := p.at(0)
		tr := newTracker(&first, 0, &tn)
		tr.absorb(&first, &tn)
		at := ntp.Local(0)
		for range 7 {
			at = at.Add(sec)
			m := p.at(at)
			tr.absorb(&m, &tn)
		}
		dx := tr.s.above(p.lie) - 7*p.freq
		dy := tr.s.y - p.freq
		if math.Abs(dx) > 150e-6 || math.Abs(dy) > 60e-6 {
			t.Errorf("path %d: off by %v s and %v s/s after a burst", p.id, dx, dy)
		}
		offset += dx * dx / tr.s.pxx
		freq += dy * dy / tr.s.pyy
		n++
	}
	for name, ratio := range map[string]float64{"offset": offset / n, "frequency": freq / n} {
		if ratio < 0.1 || ratio > 2 {
			t.Errorf("%s: squared error is %.2f times what the filter believes", name, ratio)
		}
	}
}

// TestTracker_KnownFrequency: after a restart two noisy samples do not spoil the stored frequency; one that was stored
// on another oscillator is corrected all the same.
func TestTracker_KnownFrequency(t *testing.T) {
	params := loose()
	params.KnownFrequencyUncertainty = 2e-6
	tn := newTuning(params)
	p := newPath(1, ms, 300*us)
	p.freq = 40e-6
	first := p.at(0)
	tr := newTracker(&first, 40e-6, &tn)
	at := ntp.Local(0)
	for range 5 {
		m := p.at(at)
		tr.absorb(&m, &tn)
		if d := math.Abs(tr.s.y - p.freq); d > 2e-6 {
			t.Errorf("off by %v s/s at %v", d, at)
		}
		at = at.Add(sec)
	}

	p = newPath(2, ms, 100*us)
	p.freq = -60e-6 // fifty sigma away
	first = p.at(0)
	tr = newTracker(&first, 40e-6, &tn)
	at = 0
	for range 60 {
		m := p.at(at)
		tr.absorb(&m, &tn)
		at = at.Add(16 * sec)
	}
	if d := math.Abs(tr.s.y - p.freq); d > 1e-6 {
		t.Errorf("another oscillator: still off by %v s/s after 16 min", d)
	}
}

// TestTracker_FirstSample is sound: the offset lies within half the round trip, whatever the path.
func TestTracker_FirstSample(t *testing.T) {
	for _, rtt := range []time.Duration{-ms, 0, 200 * us, 20 * ms, 3 * sec} {
		tn := newTuning(loose())
		m := ntp.Measurement{Source: 1, At: 5, TrueGap: sec, RTT: rtt, Precision: 100}
		tr := newTracker(&m, 0, &tn)
		tr.absorb(&m, &tn)
		half := max(rtt, 0).Seconds() / 2
		if sd := math.Sqrt(tr.s.pxx); sd < half/2 || sd > half+5e-6 {
			t.Errorf("round trip %v: sigma %v s", rtt, sd)
		}
	}
}

// TestTracker_Excess: a sample that was delayed by much counts little.
func TestTracker_Excess(t *testing.T) {
	tn := newTuning(loose())
	p := newPath(1, ms, 10*us)
	first := p.at(0)
	tr := newTracker(&first, 0, &tn)
	at := ntp.Local(0)
	for range 40 {
		at = at.Add(sec)
		m := p.at(at)
		tr.absorb(&m, &tn)
	}
	before := tr.s.above(0)
	m := p.at(at.Add(sec))
	m.RTT, m.TrueGap = m.RTT+20*ms, 10*ms // 20 ms of queueing on the way out
	tr.absorb(&m, &tn)
	if moved := math.Abs(tr.s.above(0) - before); moved > 20e-6 {
		t.Errorf("one delayed sample moved the estimate by %v s", moved)
	}
}

// TestTracker_Reseeds when the source's own time changes, after four samples, and keeps the frequency.
func TestTracker_Reseeds(t *testing.T) {
	tn := newTuning(loose())
	p := newPath(1, ms, 10*us)
	p.freq = 30e-6
	first := p.at(0)
	tr := newTracker(&first, 0, &tn)
	at := ntp.Local(0)
	for range 100 {
		at = at.Add(sec)
		m := p.at(at)
		tr.absorb(&m, &tn)
	}
	p.lie = 50 * ms
	for i := range misfitLimit {
		at = at.Add(sec)
		m := p.at(at)
		tr.absorb(&m, &tn)
		if i < misfitLimit-1 && tr.fresh == 1 {
			t.Fatalf("reseeded after %d samples", i+1)
		}
	}
	want := p.lie.Seconds() + float64(at)*1e-9*p.freq
	if got := tr.s.above(0); math.Abs(got-want) > 200e-6 {
		t.Errorf("offset %v, want %v", got, want)
	}
	if math.Abs(tr.s.y-p.freq) > 10e-6 {
		t.Errorf("frequency %v was lost", tr.s.y)
	}
}

func TestTracker_IgnoresOldSamples(t *testing.T) {
	tn := newTuning(loose())
	p := newPath(1, ms, 10*us)
	m := p.at(ntp.Local(sec))
	tr := newTracker(&m, 0, &tn)
	tr.absorb(&m, &tn)
	again := tr.s
	tr.absorb(&m, &tn)
	if tr.samples != 1 || tr.s != again {
		t.Error("the same sample counted twice")
	}
}

// TestTracker_WanderAdapts in both directions.
func TestTracker_WanderAdapts(t *testing.T) {
	for _, row := range []struct {
		name   string
		wander float64
		lo, hi float64
	}{{"quiet", 0, minWander, 1e-9}, {"wandering", 3e-7, 1e-7, 2e-6}} {
		t.Run(row.name, func(t *testing.T) {
			tn := newTuning(loose())
			p := newPath(1, 100*us, 5*us)
			first := p.at(0)
			tr := newTracker(&first, 0, &tn)
			at, gap, y := ntp.Local(0), 0., 0.
			for range 1000 {
				for range 64 {
					y += row.wander * p.rng.NormFloat64()
					gap += y
				}
				at = at.Add(64 * sec)
				m := p.at(at)
				m.TrueGap += time.Duration(gap * 1e9)
				m.Poll = 6
				tr.absorb(&m, &tn)
			}
			if w := math.Sqrt(tr.intensity); w < row.lo || w > row.hi {
				t.Errorf("wander %g, want %g to %g", w, row.lo, row.hi)
			}
		})
	}
}

// TestTracker_NoiseIsNotWander: errors without order are the source's noise, those that stay are the oscillator's. The one
// raises what is assumed of the source, the other what is assumed of the oscillator, and the first can be forgotten again.
func TestTracker_NoiseIsNotWander(t *testing.T) {
	const noise = ms
	run := func(n int, gap func(i int) time.Duration) *tracker {
		tn := newTuning(loose())
		p := newPath(1, ms, us)
		first := p.at(0)
		tr := newTracker(&first, 0, &tn)
		for i := range n {
			m := p.at(ntp.Local(time.Duration(i) * 16 * sec))
			m.TrueGap += gap(i)
			tr.absorb(&m, &tn)
		}
		return tr
	}
	rng := rand.New(rand.NewPCG(8, 8))
	noisy := func(int) time.Duration { return toDuration(noise.Seconds() * rng.NormFloat64()) }
	tr := run(200, noisy)
	if own := math.Sqrt(tr.own); own < 0.5e-3 || own > 2e-3 {
		t.Errorf("noise of 1 ms taken for %v s", own)
	}
	if w := math.Sqrt(tr.intensity); w > 5e-8 {
		t.Errorf("wander %v after noise", w)
	}
	if at := tr.s.above(0); math.Abs(at) > 200e-6 {
		t.Errorf("the estimate follows the noise: %v s", at)
	}
	tr = run(400, func(i int) time.Duration {
		if i < 200 {
			return noisy(i)
		}
		return 0
	})
	if own := math.Sqrt(tr.own); own > 20e-6 {
		t.Errorf("noise that is over is still taken for %v s", own)
	}
	tr = run(100, func(i int) time.Duration { return toDuration(16 * 1e-6 * float64(i*i) / 2) }) // 1 ppm in 16 s
	if w := math.Sqrt(tr.intensity); w < 2e-8 {
		t.Errorf("wander %v after an oscillator that wandered", w)
	}
}

// TestTracker_OneOutlier: a single wrong sample does not blind us to the ones after it.
func TestTracker_OneOutlier(t *testing.T) {
	tn := newTuning(loose())
	p := newPath(1, ms, 10*us)
	first := p.at(0)
	tr := newTracker(&first, 0, &tn)
	at := ntp.Local(0)
	for i := range 80 {
		at = at.Add(16 * sec)
		m := p.at(at)
		if i == 40 || i == 41 {
			m.TrueGap += 500 * ms * time.Duration(81-2*i)
		}
		tr.absorb(&m, &tn)
	}
	if own := math.Sqrt(tr.own); own > 50e-6 {
		t.Errorf("40 samples after two outliers the noise is taken for %v s", own)
	}
	if x := tr.s.above(0); math.Abs(x) > 50e-6 {
		t.Errorf("off by %v s", x)
	}
}

// TestTracker_FrequencyJump: an oscillator whose rate changes is followed; nothing is taken for a step of the source.
func TestTracker_FrequencyJump(t *testing.T) {
	for _, jump := range []float64{1e-6, -20e-6} {
		tn := newTuning(loose())
		p := newPath(1, 100*us, 10*us)
		first := p.at(0)
		tr := newTracker(&first, 0, &tn)
		const interval = 64 * sec
		for i := range 150 {
			m := p.at(ntp.Local(time.Duration(i) * interval))
			if i > 100 {
				m.TrueGap += toDuration(float64(i-100) * interval.Seconds() * jump)
			}
			tr.absorb(&m, &tn)
			if i > 1 && tr.fresh == 1 {
				t.Fatalf("%g: taken for a step at sample %d", jump, i)
			}
		}
		want := 49 * interval.Seconds() * jump
		if x := tr.s.above(0); math.Abs(x-want) > 30e-6 || math.Abs(tr.s.y-jump) > 0.3e-6 {
			t.Errorf("%g: offset %v, frequency %v", jump, x-want, tr.s.y-jump)
		}
	}
}

// TestTracker_NoiseBegins: a server's clock that was quiet becomes noisy. What was known before is what is known afterwards.
func TestTracker_NoiseBegins(t *testing.T) {
	var worst float64
	for seed := range 20 {
		tn := newTuning(loose())
		p := newPath(ntp.SourceID(seed+1), ms, 50*us)
		first := p.at(0)
		tr := newTracker(&first, 0, &tn)
		for i := range 400 {
			m := p.at(ntp.Local(time.Duration(i) * 16 * sec))
			if i > 200 {
				m.TrueGap += toDuration(5e-3 * p.rng.NormFloat64())
			}
			tr.absorb(&m, &tn)
			if i == 250 {
				worst = max(worst, math.Abs(tr.s.above(0)))
			}
		}
	}
	if worst > 2e-3 {
		t.Errorf("off by %v s after 50 samples with 5 ms of noise", worst)
	}
}

// TestTracker_Leap: a second that true time and the clock make together is nothing new, a surprise under way included.
func TestTracker_Leap(t *testing.T) {
	tn := newTuning(loose())
	p := newPath(1, ms, 10*us)
	first := p.at(0)
	tr := newTracker(&first, 0, &tn)
	for i := range 100 {
		m := p.at(ntp.Local(time.Duration(i) * sec))
		switch {
		case i == 50:
			tr.leap(sec)
			m.TrueGap += sec
		case i > 50:
			m.TrueGap += sec
		}
		if i == 49 {
			m.TrueGap += 20 * ms // what comes next is compared with what was believed before
		}
		tr.absorb(&m, &tn)
	}
	if x := tr.s.above(sec); math.Abs(x) > 20e-6 || tr.fresh != 100 {
		t.Errorf("off by %v s, %d samples since the start", x, tr.fresh)
	}
}
