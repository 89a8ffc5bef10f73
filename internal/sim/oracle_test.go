// One goroutine decides everything here: the race detector finds nothing in ten times the time (docs/testing.md).

//go:build !race

package sim

import (
	"math"
	"testing"
)

// TestLinearBound: the recursion gives the bounds that were computed for the listed scenarios.
func TestLinearBound(t *testing.T) {
	f, err := Listed()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range f.Cases {
		b := c.Bounds
		if b == nil {
			continue
		}
		n++
		got := LinearBound(c.Client.Wander, b.T, b.SigmaM*b.SigmaM)
		if math.Abs(got/b.Kalman-1) > 1e-4 {
			t.Errorf("%s: bound %g, want %g", c.ID, got, b.Kalman)
		}
		if noise, _, err := c.PathNoise(0); err != nil || math.Abs(math.Sqrt(noise)/b.SigmaM-1) > 0.03 {
			t.Errorf("%s: noise of a sample %g, want %g, %v", c.ID, math.Sqrt(noise), b.SigmaM, err)
		}
	}
	if n < 10 {
		t.Errorf("%d bounds", n)
	}
}

// TestOracle: our world is as hard as chrony's. A Kalman filter that knows wander and noise expects of itself in our world what
// was computed for the other one, and reaches what it expects; how near depends on how long one looks. `make accuracy` looks
// longer.
func TestOracle(t *testing.T) {
	for _, row := range []struct {
		id      string
		want    float64 // s
		scatter float64 // of three runs
	}{
		{"A1_lan", 4.41e-6, 0.06}, {"A3_wan10", 24.6e-6, 0.08}, {"A4_wan25", 138e-6, 0.15}, {"A5_wan50", 779e-6, 0.25}, {"D9_intermittent", 241e-6, 0.25},
	} {
		t.Run(row.id, func(t *testing.T) {
			c := listedCase(t, row.id)
			var told, reached float64
			const runs = 3
			for seed := range uint64(runs) {
				r := mustRun(t, c, "P6", seed+1, Options{Oracle: true, Duration: 250000, Warmup: 50000})
				told += r.OracleTold * r.OracleTold / runs
				reached += r.OracleRMS * r.OracleRMS / runs
			}
			told, reached = math.Sqrt(told), math.Sqrt(reached)
			t.Logf("expected %.4g µs, reached %.4g µs, in the other world %.4g µs", told*1e6, reached*1e6, row.want*1e6)
			if math.Abs(told/row.want-1) > 0.03 || math.Abs(reached/told-1) > row.scatter {
				t.Errorf("expected %g, reached %g, want %g", told, reached, row.want)
			}
		})
	}
}

func TestUnlisted(t *testing.T) {
	f, err := Unlisted()
	if err != nil {
		t.Fatal(err)
	}
	listed, err := Listed()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, c := range listed.Cases {
		known[c.ID] = true
	}
	for _, c := range f.Cases {
		if known[c.ID] {
			t.Errorf("%s is in both files", c.ID)
		}
	}
	if len(f.Cases) < 15 {
		t.Errorf("%d scenarios", len(f.Cases))
	}
}
