package algorithm

import (
	"math"
	"time"
)

const (
	// waysKnown is the number of round trips from which on the two ways are learnt…
	waysKnown = 16
	// waysUsed is how many samples they must have been learnt from to be of use.
	waysUsed = 48
	// deepBlocks blocks of deepBlock round trips each is how far back the least one is looked for: ways that wait long and seldom not at all
	// show their least delay rarely.
	deepBlocks = 16
	deepBlock  = 128
	// deepApart is by how many times what is expected two least round trips may differ on one route.
	deepApart = 3
	// peakShare is 1.25, and a fifth for the peaks that densities are given too much of.
	peakShare = 1.5
	// peakDoubt is the number of samples that peaks must have been learnt from to be known to half.
	peakDoubt = 200
	// gapDoubt is by how much each end of the interval may be off because the least round trip that there can be is not known, in units of
	// by how much it is below the least one seen: the half of that number's deviation.
	gapDoubt = 0.5
	// plausibleMemory is what a sample leaves of the opinion on whether the ways are as densities say; it counts for 200 samples.
	plausibleMemory = 0.995
	// plausibleMost is the most that one sample says about that, and plausibleBest how good the opinion can get, in logarithms of probability.
	plausibleMost = 2
	plausibleBest = 5
	// implausible is how much a law loses at each sample, for each of its 200 by which it foresaw round trips worse than a normal distribution.
	implausible = 0.05
)

// ways is what is known of how long packets wait on the way to a source and back, beyond the least round trip that there can be.
type ways struct {
	out, back oneWay
	deep      deepFloor
	// plausible is the logarithm of how much better the two densities have foreseen the last 200 round trips than a normal distribution would
	// have. Below 0 something is wrong with them: a path whose delays have no sharp lower end tells nothing of which way made them.
	plausible float64
	ready     bool // the densities have a start
	learnt    int  // samples that they have been learnt from
	lesson    bool // the present sample is one to learn from
	now       likelihood
	excess    float64 // s, of the sample that now is about
}

// observe finds what a sample with the round trip delay says of its offset, and returns it when that is of use. To be asked after delayNoise.add. The stamps
// and the source's own clock add noise of the variance blur.
func (w *ways) observe(d *delayNoise, delay time.Duration, blur float64) *likelihood {
	w.deep.add(delay, d)
	w.lesson = false
	if d.live < waysKnown {
		return nil
	}
	median := d.excess.Seconds()
	if blur > float64(median*median) { // noise hides what the ways could tell
		return nil
	}
	if !w.ready {
		w.out.expect(median)
		w.back.expect(median)
		w.ready = true
	}
	gap := w.gap(median)
	w.excess = max((delay-w.deep.floor).Seconds()+gap, stampNoise)
	w.now.set(w.excess, median, blur+float64(gapDoubt*gapDoubt*gap*gap), &w.out, &w.back)
	w.judge(d, delay)
	w.lesson = true
	if w.learnt < waysUsed {
		return nil
	}
	return &w.now
}

// gap is by how much the least round trip seen is above the least that there can be, s: as if both ways were alike, or less when the densities
// say so. Of n round trips the least is 1.25/√(n f(0) g(0)), on average (equation 6e).
func (w *ways) gap(median float64) float64 {
	f, g := w.out.heights(), w.back.heights()
	var f0, g0 float64
	for k := range f {
		f0 += f[k]
		g0 += g[k]
	}
	peak := peakShare * (1 + peakDoubt/float64(w.learnt+1)) / math.Sqrt(float64(f0*g0))
	return min(float64(floorShare*median), peak) / math.Sqrt(float64(w.deep.n))
}

// judge compares how probable the round trip was with what a normal distribution of the same quartiles would have said (equation 6d).
func (w *ways) judge(d *delayNoise, delay time.Duration) {
	sigma := max(d.spread.Seconds()/quartiles, stampNoise)
	u := (delay - d.floor - d.excess).Seconds() / sigma
	density, _ := normal(u)
	density = (density + wideShare/(1+float64(u*u))) / sigma
	gain := ln(w.now.volume) - ln(density)
	w.plausible = min(float64(w.plausible*plausibleMemory)+clamp(gain, plausibleMost), plausibleBest)
	w.now.doubt = float64(min(w.plausible, 0) * implausible)
}

// wideShare is the share, about, of round trips that are beyond a normal distribution.
const wideShare = 1e-3

// learn takes in what the sample that was observed last was off by, v with the given variance, now that it has been taken into account: each of
// five points of that distribution counts by its weight (Gauss and Hermite). Where one way would have been shorter than it can be, that is
// not what happened.
func (w *ways) learn(v, variance float64) {
	if !w.lesson {
		return
	}
	sigma := math.Sqrt(variance)
	half := float64(w.excess / 2)
	var out, back [scales]float64
	var total float64
	outHeights, backHeights := w.out.heights(), w.back.heights()
	for i, x := range hermitePoints {
		at := v + float64(sigma*x)
		if math.Abs(at) > half {
			continue
		}
		total += hermiteWeights[i]
		blame(&outHeights, half+at, hermiteWeights[i], &out)
		blame(&backHeights, half-at, hermiteWeights[i], &back)
	}
	if total > 0 {
		w.learnt++
		w.out.learn(&out, total)
		w.back.learn(&back, total)
	}
}

var (
	hermitePoints  = [...]float64{-2.856970013872806, -1.355626179974266, 0, 1.355626179974266, 2.856970013872806}
	hermiteWeights = [...]float64{0.011257411327720691, 0.2220759220056126, 0.5333333333333333, 0.2220759220056126, 0.011257411327720691}
)

// deepFloor is the least of many round trips.
type deepFloor struct {
	floor time.Duration
	n     int // round trips that it is the least of

	least [deepBlocks]time.Duration // of the blocks, in a ring
	next  int                       // place of the present one
	in    int                       // round trips in it
}

// add takes in a round trip. The least one of the last few hundred, which d has, tells when the route has changed.
func (f *deepFloor) add(delay time.Duration, d *delayNoise) {
	if f.n > 0 {
		apart := deepApart * floorShare * d.excess.Seconds() / math.Sqrt(float64(min(d.live, f.n)))
		if math.Abs((d.floor - f.floor).Seconds()) > apart+float64(d.grain.Seconds()) {
			*f = deepFloor{}
		}
	}
	if f.n == 0 {
		*f = deepFloor{floor: d.floor, n: d.live}
		for i := range f.least {
			f.least[i] = maxRoundTrip
		}
		f.least[0], f.in = d.floor, 1
		return
	}
	f.n = min(f.n+1, deepBlocks*deepBlock)
	if f.in == deepBlock {
		f.next, f.in = (f.next+1)%deepBlocks, 0
		f.least[f.next] = delay
		f.floor = delay
		for _, least := range f.least {
			f.floor = min(f.floor, least)
		}
	}
	f.in++
	f.least[f.next] = min(f.least[f.next], delay)
	f.floor = min(f.floor, delay)
}
