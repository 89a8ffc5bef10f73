package loadgen

import (
	"math/bits"
	"time"
)

const (
	// finest is the number of steps in each doubling: a quantile is at most a thirty-second too high.
	finest     = 32
	finestBits = 6 // a duration of so many bits, in nanoseconds, is counted exactly
	// counts covers every positive duration.
	counts = (63-finestBits)*finest + 2*finest
)

// histogram counts durations without allocating. Its zero value is empty.
type histogram struct {
	n       uint64
	longest time.Duration
	count   [counts]uint64
}

// step is the number of the step that a duration falls into; negative ones are 0.
func step(d time.Duration) int {
	v := uint64(max(d, 0))
	shift := max(0, bits.Len64(v)-finestBits)
	return shift*finest + int(v>>shift)
}

// top is the longest duration of a step.
func top(step int) time.Duration {
	shift := max(0, step/finest-1)
	return time.Duration(uint64(step-shift*finest+1)<<shift - 1)
}

// add counts one duration.
func (h *histogram) add(d time.Duration) {
	h.n++
	h.longest = max(h.longest, d)
	h.count[step(d)]++
}

// quantile is a duration that at least that share, 0 to 1, of all counted ones does not exceed; 0 if there are none.
func (h *histogram) quantile(share float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	left := uint64(share * float64(h.n))
	if float64(left) < share*float64(h.n) {
		left++
	}
	for i, n := range h.count {
		if n >= left && n > 0 {
			return min(top(i), h.longest)
		}
		left -= n
	}
	return h.longest
}

// Latency is how long answers took, in microseconds from the request's last step on this side to the first look at the answer.
type Latency struct {
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	P999    float64 `json:"p99_9_us"`
	Longest float64 `json:"longest_us"`
}

// latency sums the histogram up.
func (h *histogram) latency() Latency {
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	return Latency{us(h.quantile(0.5)), us(h.quantile(0.99)), us(h.quantile(0.999)), us(h.longest)}
}
