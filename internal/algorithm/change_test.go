package algorithm

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestStep_StaysTaken: noise in the clock of a source soon after a step of its time does not bring back the time before.
func TestStep_StaysTaken(t *testing.T) {
	for _, noise := range []time.Duration{300 * us, ms, 3 * ms} {
		for seed := range uint64(3) {
			w := newWalker(1)
			rng := rand.New(rand.NewPCG(seed, 2))
			w.walk(300)
			for i := range 80 {
				w.p.lie = 50 * ms
				if i >= 4 {
					w.p.lie += time.Duration(rng.NormFloat64() * float64(noise))
				}
				w.walk(1)
				if off := math.Abs(w.s.above(50 * ms)); i > 5 && off > 10e-3 {
					t.Fatalf("noise %v, seed %d: off by %v s after %d samples", noise, seed, off, i)
				}
			}
		}
	}
}

// TestSurprise_EndsInCongestion: one sample that does not fit does not keep those waiting that come after it over long queues.
func TestSurprise_EndsInCongestion(t *testing.T) {
	w := newWalker(1)
	rng := rand.New(rand.NewPCG(1, 2))
	w.walk(300)
	w.p.lie = 20 * ms
	w.walk(1)
	if !w.surprise.held() {
		t.Fatal("no surprise")
	}
	w.p.lie = 0
	held := 0
	for range 100 {
		w.out, w.back = ms+time.Duration(rng.ExpFloat64()*float64(20*ms)), ms+time.Duration(rng.ExpFloat64()*float64(20*ms))
		if w.walk(1); w.surprise.held() {
			held++
		}
	}
	if held >= misfitLimit {
		t.Errorf("%d of 100 samples wait", held)
	}
}

// TestStep_Equation7 recomputes what four samples that are off by the same make of a source: their limit, and the bank of before them with
// another offset and a less certain frequency.
func TestStep_Equation7(t *testing.T) {
	for _, row := range []struct {
		name  string
		step  float64 // s
		slope float64 // s/s, after it
		bias  float64 // s, of the route
		usual int     // which of the samples shows the time of before; 0: none
		taken bool
	}{
		{"a step", 20e-3, 0, 0, 0, true},
		{"back", -20e-3, 0, 0, 0, true},
		{"a step that goes on growing", 20e-3, 3.2e-6, 0, 0, true},
		{"beyond a 32nd in four samples", 20e-3, 3.3e-6, 0, 0, false},
		{"over a route that is known to be uneven", 20e-3, -2e-6, 2e-3, 0, true},
		{"one between them that is not off", 20e-3, 0, 0, 3, false},
		{"the last is not off", 20e-3, 0, 0, 4, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWalker(1)
			w.walk(300)
			w.bank.setBias(row.bias, 1e-10)
			w.bank.shift(row.bias)
			w.settle()
			before := w.bank
			origin := w.s.origin
			var off [5]float64
			var z time.Duration
			for k := 1; k <= 4; k++ {
				w.at = w.at.Add(64 * sec)
				m := w.p.at(w.at)
				m.RTT = w.noise.floor
				if z = toDuration(row.step + row.slope*64*float64(k-1)); k == row.usual {
					z = 0
				}
				m.TrueGap = z
				var expected float64
				for i := range before.share {
					for j, share := range before.share[i] {
						l := &before.members[i][j]
						expected += share * (l.x + l.b + l.y*64*float64(k))
					}
				}
				off[k] = (z - origin).Seconds() - expected
				w.absorb(&m, &w.tune)
			}
			if taken := math.Abs(w.s.above(z)+row.bias) < 1e-12; taken != row.taken {
				t.Fatalf("off by %v s of the last sample, taken %v", w.s.above(z), taken)
			}
			if !row.taken {
				return
			}
			d := (off[4] - off[1]) / (3 * 64)
			for i := range before.members {
				wander := math.Pow(10, -11.5+0.5*float64(i))
				for j := range before.members[i] {
					was, is := &before.members[i][j], &w.bank.members[i][j]
					if want := was.yy + wander*wander*4*64 + d*d; math.Abs(is.yy/want-1) > 1e-6 || is.y != was.y {
						t.Fatalf("wander %g, law %d: frequency %g, variance %g, want %g and %g", wander, j, is.y, is.yy, was.y, want)
					}
				}
			}
		})
	}
}
