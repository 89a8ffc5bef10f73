package algorithm

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"ntp-daemon/internal/ntp"
)

// TestOwn_Equation4b recomputes equation (4b) of docs/algorithm.md from all samples.
func TestOwn_Equation4b(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	var o ownNoise
	var times, gaps, explained []float64
	at := ntp.Local(0)
	for n := range 200 {
		at = at.Add(toDuration(10 + rng.Float64()*20))
		times = append(times, float64(at)/1e9)
		gaps = append(gaps, rng.NormFloat64()*1e-3)
		explained = append(explained, rng.ExpFloat64()*5e-4)
		rise := 0.
		if n > 0 {
			rise = gaps[n] - gaps[n-1]
		}
		o.add(at, rise, explained[n])
		var bends []float64
		for k := 1; k < n; k++ {
			w := (times[k] - times[k-1]) / (times[k+1] - times[k-1])
			b := gaps[k] - gaps[k-1]*(1-w) - gaps[k+1]*w
			sq := func(v float64) float64 { return v * v }
			rest := math.Sqrt(max(b*b-sq(explained[k])-sq(explained[k-1]*(1-w))-sq(explained[k+1]*w), 0))
			bends = append(bends, math.Copysign(rest, b))
		}
		got, known := o.variance()
		if known != (len(bends) >= 8) {
			t.Fatalf("sample %d: known %v", n, known)
		}
		if !known {
			continue
		}
		bends = bends[max(0, len(bends)-24):]
		sizes := make([]float64, len(bends))
		for i, b := range bends {
			sizes[i] = math.Abs(b)
		}
		slices.Sort(sizes)
		clip := 3 / 0.6745 * sizes[len(sizes)/2]
		var q, r float64
		for i, b := range bends {
			bends[i] = max(min(b, clip), -clip)
			q += bends[i] * bends[i] / float64(len(bends))
			if i > 0 {
				r += bends[i] * bends[i-1] / float64(len(bends)-1)
			}
		}
		if want := max((q-4*r)/5.5-0.2*q, 0) / 0.7; math.Abs(got-want) > 1e-12*q {
			t.Fatalf("sample %d: %g, want %g", n, got, want)
		}
	}
}

// TestOwn_WanderIsNone: what an oscillator does is not taken for noise, and noise is found within a factor of two.
func TestOwn_WanderIsNone(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 3))
	for _, row := range []struct{ wander, noise float64 }{{1e-6, 0}, {1e-9, 1e-3}, {1e-6, 10e-3}} {
		var sum float64
		const runs = 300
		var scale float64
		for range runs {
			var o ownNoise
			var x, y, last float64
			for i := range 40 {
				for range 64 {
					y += row.wander * rng.NormFloat64()
					x += y
				}
				z := x + row.noise*rng.NormFloat64()
				o.add(ntp.Local(int64(i)*64e9), z-last, 0)
				last = z
			}
			u2, _ := o.variance()
			sum += u2 / runs
		}
		scale = row.wander * math.Pow(64, 1.5) / math.Sqrt(6) // one sigma of a bend
		if u := math.Sqrt(sum); u > row.noise*1.5+scale/2 || u < row.noise/2 {
			t.Errorf("wander %g: noise of %g s taken for %g s, bends of %g s", row.wander, row.noise, u, scale)
		}
	}
}
