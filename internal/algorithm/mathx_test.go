package algorithm

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestExp_Property compares with package math.
func TestExp_Property(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 200000 {
		x := (rng.Float64() - 0.5) * 1400
		if i%2 == 0 {
			x = rng.NormFloat64()
		}
		if got, want := exp(x), math.Exp(x); math.Abs(got/want-1) > 4e-16 {
			t.Fatalf("exp(%v) = %v, want %v", x, got, want)
		}
	}
	for _, row := range []struct{ x, want float64 }{
		{0, 1}, {1, math.E}, {-700.1, 0}, {math.Inf(-1), 0}, {math.NaN(), 0}, {math.Inf(1), exp(700)}, {1e300, exp(700)}, {700, math.Exp(700)},
	} {
		if got := exp(row.x); math.Abs(got-row.want) > 4e-16*row.want {
			t.Errorf("exp(%v) = %v, want %v", row.x, got, row.want)
		}
	}
}

// TestLn_Property compares with package math.
func TestLn_Property(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for i := range 200000 {
		x := math.Float64frombits(rng.Uint64() >> 1)
		if i%2 == 0 {
			x = math.Exp(rng.NormFloat64() / 3)
		}
		if math.IsNaN(x) || math.IsInf(x, 0) || x < 1e-307 { // below, math.Log is wrong on amd64
			continue
		}
		if got, want := ln(x), math.Log(x); math.Abs(got-want) > 4e-16*max(1, math.Abs(want)) {
			t.Fatalf("ln(%v) = %v, want %v", x, got, want)
		}
	}
	least := -1074 * math.Ln2
	for _, row := range []struct{ x, want float64 }{
		{1, 0}, {math.E, 1}, {0, least}, {-1, least}, {math.NaN(), least}, {math.Inf(1), math.Log(math.MaxFloat64)},
	} {
		if got := ln(row.x); math.Abs(got-row.want) > 4e-16*max(1, math.Abs(row.want)) {
			t.Errorf("ln(%v) = %v, want %v", row.x, got, row.want)
		}
	}
}
