package algorithm

import (
	"math"
	"testing"
)

func TestCentralQuantile(t *testing.T) {
	for _, row := range []struct{ p, z float64 }{
		{0, 0}, {1. / 3, 0.430727}, {0.5, 0.674490}, {2. / 3, 0.967422}, {0.95, 1.959964},
		{1 - 1e-6, 4.891638}, {1, maxQuantile}, {-1, 0},
	} {
		if z := centralQuantile(row.p); math.Abs(z-row.z) > 1e-5 {
			t.Errorf("centralQuantile(%v) = %v, want %v", row.p, z, row.z)
		}
	}
}
