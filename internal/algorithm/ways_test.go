package algorithm

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// delays makes the delays of one way, s.
type delays func(*rand.Rand) float64

func queue(mean float64) delays {
	return func(r *rand.Rand) float64 { return mean * r.ExpFloat64() }
}

// learnWays shows n samples whose error is known to ws.
func learnWays(ws *ways, d *delayNoise, n int, out, back delays, doubt float64, rng *rand.Rand) {
	for range n {
		a, b := out(rng), back(rng)
		trip := 10*ms + toDuration(a+b)
		d.add(0, trip)
		ws.observe(d, trip, 2.5e-15)
		ws.learn((a-b)/2+doubt*rng.NormFloat64(), doubt*doubt)
	}
}

// mean of the delays of one way.
func (o *oneWay) mean() (m float64) {
	for k, s := range o.share {
		m += s * delayScales[k]
	}
	return m
}

// TestWays_Learns: the two ways are told apart, by errors that are known with some doubt only.
func TestWays_Learns(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct{ out, back float64 }{{10e-6, 10e-6}, {100e-6, 1.9e-3}, {5e-3, 50e-6}} {
		var w ways
		var d delayNoise
		learnWays(&w, &d, 2000, queue(c.out), queue(c.back), min(c.out, c.back)/5, rng)
		least := max(c.out, c.back) / 50 // what is not known of the least round trip counts as delay of both; and the grid is coarse
		if out, back := w.out.mean(), w.back.mean(); math.Abs(out-c.out) > c.out*0.4+least || math.Abs(back-c.back) > c.back*0.4+least {
			t.Errorf("means %v and %v, want %v and %v", out, back, c.out, c.back)
		}
		if w.plausible < 0 {
			t.Errorf("exponential delays of %v and %v are implausible: %v", c.out, c.back, w.plausible)
		}
		var sum float64
		for _, s := range w.out.share {
			sum += s
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("shares add up to %v", sum)
		}
	}
}

// TestWays_Implausible: delays without a sharp lower end are noticed.
func TestWays_Implausible(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	normal := func(sigma float64) delays {
		return func(r *rand.Rand) float64 { return 1e-3 + sigma*r.NormFloat64() }
	}
	var w ways
	var d delayNoise
	learnWays(&w, &d, 2000, normal(20e-6), normal(200e-6), 10e-6, rng)
	if w.now.doubt > -2 {
		t.Errorf("plausible by %v, the law loses %v at each sample, want 2 or more", w.plausible, -w.now.doubt)
	}
}

// TestWays_NoiseHides: when the source's own noise is larger than the delays, the law has nothing to say.
func TestWays_NoiseHides(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var w ways
	var d delayNoise
	learnWays(&w, &d, 100, queue(10e-6), queue(10e-6), 1e-6, rng)
	if w.observe(&d, 10*ms+20*us, 1e-6) != nil {
		t.Error("1 ms of noise on a path of 10 µs is ignored")
	}
}

// TestDeepFloor: the least of 2048 round trips, until the route changes.
func TestDeepFloor(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var f deepFloor
	var d delayNoise
	var all []time.Duration
	add := func(base time.Duration) {
		delay := base + toDuration(100e-6*(rng.ExpFloat64()+rng.ExpFloat64()))
		all = append(all, delay)
		d.add(0, delay)
		f.add(delay, &d)
	}
	for i := range 6000 {
		add(10 * ms)
		back := min(i+1, (deepBlocks-1)*deepBlock)
		least := all[i]
		for _, delay := range all[i+1-back:] {
			least = min(least, delay)
		}
		if f.floor > least || f.n > deepBlocks*deepBlock {
			t.Fatalf("after %d: floor %v of %d, want %v or less", i, f.floor, f.n, least)
		}
	}
	d = delayNoise{}
	for range 20 {
		add(20 * ms)
	}
	if f.floor < 20*ms || f.n > 20 {
		t.Errorf("on a longer route: floor %v of %d", f.floor, f.n)
	}
	for range 3 {
		add(10 * ms)
	}
	if f.floor > 11*ms || f.n > 23 {
		t.Errorf("back on the shorter one: floor %v of %d", f.floor, f.n)
	}
}

// TestWays_Asymmetric: one way that is busy and one that is not: the bank finds out, and the error is far below what a law knows that takes
// half the delay for noise.
func TestWays_Asymmetric(t *testing.T) {
	tn := newTuning(loose())
	rng := rand.New(rand.NewPCG(1, 2))
	p := newPath(1, ms, 0)
	first := p.at(0)
	tr := newTracker(&first, 0, &tn)
	var square, ways float64
	const n, warm = 3000, 1000
	for i := range n {
		m := p.at(tr.last.At.Add(64 * sec))
		out, back := 100e-6*rng.ExpFloat64(), 1.9e-3*rng.ExpFloat64()
		m.TrueGap += toDuration((out - back) / 2)
		m.RTT += toDuration(out + back)
		tr.absorb(&m, &tn)
		if i >= warm {
			square += tr.s.above(0) * tr.s.above(0) / (n - warm)
		}
	}
	for i := range tr.bank.share {
		ways += tr.bank.share[i][lawWays]
	}
	if rms := math.Sqrt(square); rms > 12e-6 || ways < 0.9 {
		t.Errorf("error %v s, share of the law %v", rms, ways)
	}
}

// someWays are two ways that were learnt from n samples, with shares of every scale.
func someWays(rng *rand.Rand, n int) (w ways) {
	for _, o := range []*oneWay{&w.out, &w.back} {
		var total float64
		for k := range o.share {
			o.share[k] = math.Exp(3 * rng.NormFloat64())
			total += o.share[k]
		}
		for k := range o.share {
			o.share[k] /= total
		}
		o.samples = math.Min(8+float64(n), 700)
	}
	w.ready, w.learnt = true, n
	return w
}

// tau is the mean of an exponential, as docs/algorithm.md has it.
func tau(k int) float64 { return 0.25e-6 * math.Pow(4, float64(k)) }

// TestWays_Equation6b recomputes what one sample teaches of both ways: one step of expectation and maximisation, over five points of the
// distribution of its error.
func TestWays_Equation6b(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		w := someWays(rng, rng.IntN(1500))
		e := math.Exp(-10 + 2*rng.NormFloat64())
		v, sigma := e*(rng.Float64()-0.5), e*rng.Float64()
		was := w
		w.lesson, w.excess = true, e
		w.learn(v, sigma*sigma)

		var out, back [scales]float64
		var weights float64
		for _, x := range []float64{0, math.Sqrt(5 - math.Sqrt(10)), math.Sqrt(5 + math.Sqrt(10)), -math.Sqrt(5 - math.Sqrt(10)), -math.Sqrt(5 + math.Sqrt(10))} {
			he4 := x*x*x*x - 6*x*x + 3
			weight, at := 120/(25*he4*he4), v+sigma*x
			if math.Abs(at) > e/2 {
				continue
			}
			weights += weight
			for k := range scales {
				out[k] += weight * was.out.share[k] / tau(k) * math.Exp(-(e/2+at)/tau(k)) / was.out.at(e/2+at)
				back[k] += weight * was.back.share[k] / tau(k) * math.Exp(-(e/2-at)/tau(k)) / was.back.at(e/2-at)
			}
		}
		for i, way := range []struct {
			got, was *oneWay
			r        *[scales]float64
		}{{&w.out, &was.out, &out}, {&w.back, &was.back, &back}} {
			n := min(way.was.samples+1, 700)
			for k := range scales {
				if want := way.was.share[k] + (way.r[k]/weights-way.was.share[k])/n; math.Abs(way.got.share[k]-want) > 1e-12 {
					t.Fatalf("way %d: share of %v s is %v, want %v (%v before)", i, tau(k), way.got.share[k], want, way.was.share[k])
				}
			}
		}
	}
}

// TestWays_Equation6e recomputes by how much the least of k round trips is above the least that there can be.
func TestWays_Equation6e(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	for range 200 {
		n, k, m := rng.IntN(1500), 1+rng.IntN(2048), math.Exp(-9+2*rng.NormFloat64())
		w := someWays(rng, n)
		w.deep.n = k
		var f0, g0 float64
		for i := range scales {
			f0 += w.out.share[i] / tau(i)
			g0 += w.back.share[i] / tau(i)
		}
		want := math.Min(0.75*m, 1.5*(1+200/float64(n+1))/math.Sqrt(f0*g0)) / math.Sqrt(float64(k))
		if got := w.gap(m); math.Abs(got/want-1) > 1e-12 {
			t.Fatalf("%d samples, %d round trips, median %v: %v, want %v", n, k, m, got, want)
		}
	}
}

// TestWays_Equation6d recomputes what a round trip says of whether the ways are what they are taken for: their density against the normal
// one of the same median and quartiles.
func TestWays_Equation6d(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 6))
	var w ways
	var d delayNoise
	learnWays(&w, &d, 300, queue(100e-6), queue(300e-6), 10e-6, rng)
	clipped := 0
	for i := range 400 {
		shape := 400e-6 * (rng.ExpFloat64() + rng.ExpFloat64())
		if i > 200 { // no sharp end
			shape = 1e-3 + 50e-6*rng.NormFloat64()
		}
		trip := 10*ms + toDuration(shape)
		d.add(0, trip)
		was := w.plausible
		w.observe(&d, trip, 2.5e-15)

		e := (trip - w.deep.floor).Seconds() + w.gap(d.excess.Seconds())
		var p float64 // ∫ f(a) g(e - a) da
		for j, f := range w.out.share {
			for k, g := range w.back.share {
				if a, b := tau(j), tau(k); j == k {
					p += f * g * e * math.Exp(-e/a) / (a * a)
				} else {
					p += f * g * (math.Exp(-e/a) - math.Exp(-e/b)) / (a - b)
				}
			}
		}
		sigma := d.spread.Seconds() / 1.349
		u := (trip - d.floor - d.excess).Seconds() / sigma
		q := (math.Exp(-u*u/2)/math.Sqrt(2*math.Pi) + 1e-3/(1+u*u)) / sigma
		gain := math.Log(p / q)
		if math.Abs(gain) > 2 {
			gain = math.Copysign(2, gain)
			clipped++
		}
		want := math.Min(0.995*was+gain, 5)
		if math.Abs(w.plausible-want) > 0.03 { // the density is held at 33 points
			t.Fatalf("round trip %d of %v: %v after %v, want %v", i, trip, w.plausible, was, want)
		}
		if doubt := math.Min(w.plausible, 0) / 20; math.Abs(w.now.doubt-doubt) > 1e-12 {
			t.Fatalf("the law loses %v, want %v", w.now.doubt, doubt)
		}
	}
	if w.plausible > -5 || clipped == 0 {
		t.Errorf("plausible by %v in the end, %d samples clipped", w.plausible, clipped)
	}
}
