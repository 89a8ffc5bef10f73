package algorithm

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// told is the offset that the walker's source alone makes, s, and the bound that is told, s.
func (w *walker) told() (offset, bound float64) {
	d := &Discipline{params: w.tune, trackers: []*tracker{w.tracker}}
	d.params.MaximumSourceUncertainty = 10
	dec := d.Decide(w.at)
	return dec.Estimate.Offset.Seconds(), dec.Bound.Seconds()
}

// TestTrial: long waits on one way that are alike by chance are no route for long, and leave nothing behind.
func TestTrial(t *testing.T) {
	tried := 0
	for seed := range uint64(20) {
		w := newWalker(1)
		rng := rand.New(rand.NewPCG(seed, 2))
		w.walk(200)
		worst := 0.
		for i := range 200 {
			if w.out = 0; i < 100 {
				w.out = 20*ms + time.Duration(rng.Float64()*float64(180*ms))
			}
			w.walk(1)
			if w.trial.left > 0 {
				tried++
			}
			off, bound := w.told()
			if worst = max(worst, math.Abs(off)); math.Abs(off) > bound {
				t.Fatalf("seed %d, sample %d: off by %v s with a bound of %v s", seed, i, off, bound)
			}
		}
		if off := w.s.above(0); worst > 10e-3 || math.Abs(off) > 200e-6 || w.routes.known != 0 || w.pathBias() > 0 {
			t.Errorf("seed %d: off by %v s at most, %v s at the end; %d routes, bias %v s", seed, worst, off, w.routes.known, w.pathBias())
		}
	}
	if tried == 0 {
		t.Error("no wait was taken for a route")
	}
}

// TestRoute_Ladder: a way that becomes shorter step by step was asymmetric at first. What it is off by is no more than its length allows,
// and the bound says so.
func TestRoute_Ladder(t *testing.T) {
	w := newWalker(1)
	for _, out := range []time.Duration{200, 152, 115, 87, 66, 50, 37, 27, 19, 13, 8, 4, 1, 0} {
		w.out = out * ms
		w.walk(60)
		off, bound := w.told()
		if math.Abs(off) > bound {
			t.Errorf("%v longer: off by %v s with a bound of %v s", w.out, off, bound)
		}
		if b, _ := w.bank.bias(); math.Abs(b) > w.noise.floor.Seconds()/2+1e-9 {
			t.Errorf("%v longer: bias %v s of a round trip of %v", w.out, b, w.noise.floor)
		}
	}
	if off, bound := w.told(); math.Abs(off) > 10.1e-3 || bound > 80e-3 {
		t.Errorf("off by %v s at the end, with a bound of %v s", off, bound)
	}
	w.out = 200 * ms
	w.walk(10)
	if off, _ := w.told(); math.Abs(off) > 10.5e-3 {
		t.Errorf("off by %v s on the longest way again", off)
	}
}

// TestTracker_Remnants: a share that is never seen does not become a number that a processor is slow with, a route that was left early leaves the
// wider of two widths, and a bank that is made anew starts with the frequency that the source was met with.
func TestTracker_Remnants(t *testing.T) {
	var o oneWay
	o.expect(1e-3)
	blamed := [scales]float64{3: 1}
	for range 500_000 {
		o.learn(&blamed, 1)
	}
	for k, share := range o.share {
		if share < leastShare {
			t.Errorf("share %d is %v", k, share)
		}
	}
	d := delayNoise{before: 5 * ms, excess: ms, live: 3}
	if d.restart(); d.before != 5*ms {
		t.Errorf("%v wide before", d.before)
	}
	w := newWalker(1)
	w.first.y = 20e-6
	w.walk(20)
	w.bank.members[0][0].x = math.NaN()
	w.walk(1)
	if w.s.y != 20e-6 || w.fresh != 0 {
		t.Errorf("frequency %v, %d samples", w.s.y, w.fresh)
	}
}
