package algorithm

import (
	"math"
	"testing"
)

// at returns the density at t ≥ 0, 1/s.
func (o *oneWay) at(t float64) (f float64) {
	for k, scale := range delayScales {
		f += o.share[k] / scale * math.Exp(-t/scale)
	}
	return f
}

// exactPosterior integrates numerically what likelihood does by pieces.
func exactPosterior(e, median, blur, d, v float64, out, back *oneWay) (lot, move, rest float64) {
	half, s := e/2, v+blur
	var volume, p, mean, spread float64
	add := func(u, width float64) {
		like := width * out.at(half+u) * back.at(half-u)
		volume += like
		like *= math.Exp(-(u-d)*(u-d)/(2*s)) / math.Sqrt(2*math.Pi*s)
		p += like
		mean += like * (d - u)
		spread += like * (d - u) * (d - u)
	}
	const n = 2000
	for i := range n { // dense at both ends, where densities are steep, and where the member is
		x := (float64(i) + 0.5) / n
		at, width := half*x*x*x, half*3*x*x/n
		add(at-half, width)
		add(half-at, width)
	}
	mean /= p
	spread = spread/p - mean*mean
	p /= volume
	k := v / s
	move, rest = k*mean, v-k*v+k*k*spread

	stray := blur + half*half + 9*median*median
	w := d * d / (v + stray)
	q := 0.375 / math.Sqrt(v+stray) * math.Pow(1+w/4, -2.5)
	ks := v / (v + stray*(4+w)/5)
	if w < 1 {
		ks = v / (v + stray)
	}
	p, q = (1-strayShare)*p, strayShare*q
	share := q / (p + q)
	mixed := (1-share)*move + share*ks*d
	rest = (1-share)*(rest+(move-mixed)*(move-mixed)) + share*(v-ks*v+(ks*d-mixed)*(ks*d-mixed))
	return math.Log(p + q), mixed, rest
}

// TestInterval compares the posterior distribution with one that is integrated numerically, for members that know much less and much more
// than a sample, in its middle, at its ends, and beyond them.
func TestInterval(t *testing.T) {
	var short, long, tail oneWay
	short.expect(170e-6)
	long.expect(3e-3)
	tail.expect(17e-6)
	tail.share[8] += 0.1
	for k := range tail.share {
		tail.share[k] /= 1.1
	}
	for _, ways := range [][2]*oneWay{{&short, &short}, {&short, &long}, {&long, &short}, {&tail, &tail}, {&tail, &short}} {
		for _, e := range []float64{1e-6, 1e-4, 3e-3} {
			for _, blur := range []float64{0, 1e-9} {
				var in likelihood
				in.set(e, 1e-4, blur, ways[0], ways[1])
				for _, sigma := range []float64{2e-6, 3e-5, 1e-2} {
					for _, at := range []float64{0, -0.4, 0.49, 0.6} {
						for _, off := range []float64{0, 1.5, -4} {
							d := at*e + off*sigma
							lot, move, rest := in.condition(d, sigma*sigma)
							wantLot, wantMove, wantRest := exactPosterior(e, 1e-4, blur, d, sigma*sigma, ways[0], ways[1])
							if math.Abs(lot+studentScale-wantLot) > 0.15 || math.Abs(move-wantMove) > 0.05*sigma || math.Abs(math.Sqrt(rest/wantRest)-1) > 0.05 {
								t.Errorf("e %v, sigma %v, blur %v, d %v: density e^%.3f, moves by %v, variance %v; want e^%.3f, %v, %v",
									e, sigma, blur, d, lot, move, rest, wantLot, wantMove, wantRest)
							}
						}
					}
				}
			}
		}
	}
}

// TestIntervalKeepsDigits: a member that knows nothing is left with what the interval says, whatever the difference in size.
func TestIntervalKeepsDigits(t *testing.T) {
	var flat oneWay
	flat.share[scales-1] = 1 // e^(-t/0.26 s) is level over the interval
	for _, sigma := range []float64{1e-3, 1, 1e2} {
		var in likelihood
		in.set(1e-6, 1e-6, 0, &flat, &flat)
		for _, d := range []float64{0, 0.3 * sigma, -2 * sigma} {
			_, mean, v := in.moments(d, sigma*sigma)
			if math.Abs(mean) > 1e-9 || math.Abs(math.Sqrt(v*12)/1e-6-1) > 0.02 {
				t.Errorf("sigma %v, %v off: error %v ± %v, want 0 ± %v", sigma, d, mean, math.Sqrt(v), 1e-6/math.Sqrt(12))
			}
		}
	}
}
