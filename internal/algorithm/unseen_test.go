package algorithm

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

func TestIntervalOf(t *testing.T) {
	for _, row := range []struct {
		since time.Duration
		want  ntp.PollExp
	}{{-sec, 0}, {0, 0}, {sec, 0}, {45 * sec, 5}, {46 * sec, 6}, {64 * sec, 6}, {1070 * sec, 10}, {1 << 62, ntp.MaxPollExp}} {
		if got := intervalOf(row.since); got != row.want {
			t.Errorf("%v: %d, want %d", row.since, got, row.want)
		}
	}
}

// TestUnseen_Equation6f: what samples show beside what was expected of them is found for each interval by itself, and chance is nothing.
func TestUnseen_Equation6f(t *testing.T) {
	const v = 4e-10
	var u unseen
	rng := rand.New(rand.NewPCG(3, 4))
	var far, near float64
	var last []float64
	for i := range 400 {
		z := rng.NormFloat64() * math.Sqrt(2.5*v)
		far = u.add(1024*sec, z, v)
		near = u.add(64*sec, rng.NormFloat64()*math.Sqrt(0.9*v), v)
		if i < unseenKnown-1 && far != 0 {
			t.Fatalf("after %d samples", i+1)
		}
		last = append(last, min(z*z, 16*v))
	}
	w := last[0]
	for i, s := range last[1:] {
		w += (s - w) / float64(min(i+2, unseenDepth))
	}
	if math.Abs(far-(w-v)) > 1e-6*v {
		t.Errorf("%v, want %v", far, w-v)
	}
	if near != 0 {
		t.Errorf("%v at an interval that is foreseen", near)
	}
	if got := u.add(1024*sec, 1, v); got > far+float64(unseenClip+1)*v/unseenDepth {
		t.Errorf("one blunder makes %v of %v", got, far)
	}
}

// TestUnseen_Told: an oscillator that swings faster than it is asked about is part of the uncertainty, of the bound and of the radius, and of no steer.
func TestUnseen_Told(t *testing.T) {
	d, _, at := settledDiscipline(2)
	for _, tr := range d.trackers {
		tr.hidden = 0
	}
	was := d.Decide(at)
	radius := was.Judgements[0].Radius
	d.trackers[0].hidden, d.trackers[1].hidden = 4e-6, 1e-6
	got := d.Decide(at)
	if v := got.Estimate.VarOffset - was.Estimate.VarOffset; math.Abs(v-1e-6) > 1e-12 || got.Estimate.Unseen != 1e-6 {
		t.Errorf("variance grows by %v, the least of both is 1e-6", v)
	}
	if got.Bound < was.Bound+2900*us || got.Judgements[0].Radius < radius+3900*us {
		t.Errorf("bound %v, before %v; radius %v, before %v", got.Bound, was.Bound, got.Judgements[0].Radius, radius)
	}
	if was.Steer.Number = got.Steer.Number; got.Steer != was.Steer || got.Wait != was.Wait {
		t.Errorf("steers %+v, before %+v", got.Steer, was.Steer)
	}
	if u := d.Source(1).Uncertainty; u < 2*ms {
		t.Errorf("uncertainty of the source %v", u)
	}
}
