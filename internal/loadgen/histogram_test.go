package loadgen

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestHistogram: a quantile is at most a thirty-second above the exact one, and never below it.
func TestHistogram(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Int64Range(0, math.MaxInt64), 1, 200).Draw(t, "durations")
		share := rapid.Float64Range(0.01, 1).Draw(t, "share")
		var h histogram
		for _, d := range list {
			h.add(time.Duration(d))
		}
		slices.Sort(list)
		exact := time.Duration(list[int(math.Ceil(share*float64(len(list))))-1])
		got := h.quantile(share)
		if got < exact || float64(got) > float64(exact)*(1+1./finest)+1 {
			t.Fatalf("the %v quantile of %v is %v, exactly %v", share, list, got, exact)
		}
	})
}

// TestHistogram_Steps: the steps follow each other without a gap.
func TestHistogram_Steps(t *testing.T) {
	for i := range counts - 1 {
		if got := step(top(i)); got != i {
			t.Fatalf("the last duration of step %d is in step %d", i, got)
		}
		if got := step(top(i) + 1); got != i+1 {
			t.Fatalf("the duration after step %d is in step %d", i, got)
		}
	}
	if got := step(math.MaxInt64); got != counts-1 {
		t.Errorf("the longest duration is in step %d of %d", got, counts)
	}
	if got := step(-1); got != 0 {
		t.Errorf("a negative duration is in step %d", got)
	}
}

// TestHistogram_Empty: nothing was counted.
func TestHistogram_Empty(t *testing.T) {
	var h histogram
	if got := h.latency(); got != (Latency{}) {
		t.Error(got)
	}
}
