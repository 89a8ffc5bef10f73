package poolke

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestDurationEdges: as many as there are buckets, rising by a quarter or so.
func TestDurationEdges(t *testing.T) {
	if len(durationEdges) != durationBuckets-1 {
		t.Fatalf("%d edges, want %d", len(durationEdges), durationBuckets-1)
	}
	for i := 1; i < len(durationEdges); i++ {
		if r := float64(durationEdges[i]) / float64(durationEdges[i-1]); r < 1.2 || r > 1.29 {
			t.Errorf("from %v to %v", durationEdges[i-1], durationEdges[i])
		}
	}
}

// TestDurationQuantiles: within a bucket of the truth, whatever was observed.
func TestDurationQuantiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var d durations
	if _, ok := d.read().quantile(0.5); ok {
		t.Error("a quantile of nothing")
	}
	var all []time.Duration
	for range 5000 {
		v := time.Duration(rng.ExpFloat64() * float64(8*time.Millisecond))
		all = append(all, v)
		d.observe(v)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		got, _ := d.read().quantile(q)
		truth := all[min(int(q*float64(len(all))), len(all)-1)]
		if r := float64(got) / float64(truth); r < 0.78 || r > 1.29 {
			t.Errorf("quantile %v is %v, want about %v", q, got, truth)
		}
	}
	if n := d.read().since(d.read()).total(); n != 0 {
		t.Errorf("%d between two looks", n)
	}
}
