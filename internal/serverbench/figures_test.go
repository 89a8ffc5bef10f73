//go:build linux && !race

package serverbench_test

import (
	"math"
	"slices"
	"testing"
)

// confidence is how sure a bound is.
const confidence = 0.95

// middle is the median of a list that is not sorted; not a number if it is empty.
func middle(list []float64) float64 {
	if len(list) == 0 {
		return math.NaN()
	}
	list = slices.Sorted(slices.Values(list))
	if n := len(list); n%2 == 0 {
		return (list[n/2-1] + list[n/2]) / 2
	}
	return list[len(list)/2]
}

// bound is what the true median is below with the confidence: an order statistic, so no distribution is assumed. With too few
// values there is none, and it is not a number.
func bound(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	n := len(list)
	// The median is above the k-th value when fewer than k of n lie below it: a binomial with one half.
	below, term := 0.0, math.Pow(0.5, float64(n))
	for k := 1; k <= n; k++ {
		if below += term; below >= confidence {
			return list[k-1]
		}
		term *= float64(n-k+1) / float64(k)
	}
	return math.NaN()
}

// ratios are one figure beside another, round by round; rounds that lack one are left out.
func ratios(list, base []float64) (out []float64) {
	for i := range min(len(list), len(base)) {
		if r := list[i] / base[i]; !math.IsNaN(r) && !math.IsInf(r, 0) {
			out = append(out, r)
		}
	}
	return out
}

// TestBound: of fifteen values the twelfth is the bound, as tables of the sign test have it; four are too few.
func TestBound(t *testing.T) {
	var list []float64
	for i := range 15 {
		list = append(list, float64(15-i))
	}
	if got := bound(list); got != 12 {
		t.Errorf("bound of 1 to 15: %v", got)
	}
	if got := middle(list); got != 8 {
		t.Errorf("median of 1 to 15: %v", got)
	}
	if got := bound(list[:5]); got != 15 {
		t.Errorf("bound of five: %v", got)
	}
	if got := bound(list[:4]); !math.IsNaN(got) {
		t.Errorf("bound of four: %v", got)
	}
}

// TestRatios: what was not measured in a round is no ratio.
func TestRatios(t *testing.T) {
	if got := ratios([]float64{2, math.NaN(), 3}, []float64{1, 1, 0}); len(got) != 1 || got[0] != 2 {
		t.Error(got)
	}
}
