package algorithm

import (
	"math"
	"testing"
)

// TestNormal compares with package math.
func TestNormal(t *testing.T) {
	for x := -7.; x <= 7; x += 1. / 64 {
		density, beyond := normal(x)
		wantDensity, wantBeyond := math.Exp(-x*x/2)/math.Sqrt(2*math.Pi), math.Erfc(math.Abs(x)/math.Sqrt2)/2
		if math.Abs(density/wantDensity-1) > 1e-12 || math.Abs(beyond-wantBeyond) > 1e-13 {
			t.Fatalf("normal(%v) = %v, %v; want %v, %v", x, density, beyond, wantDensity, wantBeyond)
		}
	}
	for _, x := range []float64{7.001, -8, math.Inf(1), math.Inf(-1), math.NaN()} {
		if d, b := normal(x); d != 0 || b != 0 {
			t.Errorf("normal(%v) = %v, %v, want nothing", x, d, b)
		}
	}
}
