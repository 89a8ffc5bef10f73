package clock

import (
	"math"

	"ntp-daemon/internal/ntp"
)

// Limits of the announced precision, log2 s: finer than a time stamp's own 2^-32 s is not worth saying, and
// 2^-6 s is the coarsest clock in use (a 60 Hz tick).
const (
	finestPrecision   = -30
	coarsestPrecision = -6
)

// precisionReadings is how often the clock is read; a few hundred outlast any one interruption.
const precisionReadings = 500

// Precision measures the precision of a clock as RFC 5905 §7.3 defines it: the time to read it, or its
// resolution if that is coarser, rounded up to a power of two and given as log2 of seconds.
func Precision(now func() ntp.Timestamp) int8 {
	shortest := uint64(math.MaxUint64)
	prev := now()
	for range precisionReadings {
		t := now()
		if prev.Before(t) {
			shortest = min(shortest, uint64(t-prev)) // in 2^-32 s
		}
		prev = t
	}
	exp := math.Ceil(math.Log2(float64(shortest)) - 32)
	return int8(math.Max(finestPrecision, math.Min(coarsestPrecision, exp)))
}
