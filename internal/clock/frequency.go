package clock

import (
	"fmt"
	"math"
)

// kernelUnit is the number of kernel frequency units in 1 s/s: the kernel counts ppm shifted left by 16
// (struct timex.freq).
const kernelUnit = 65536e6

// maxKernelUnits is MaxFrequency in kernel units: 500<<16.
const maxKernelUnits = 500 << 16

// toKernel converts s/s to the nearest kernel unit, cut to ±maxKernelUnits. It is the inverse of fromKernel
// for every value the kernel can hold. f must be finite.
func toKernel(f float64) int64 {
	n := math.RoundToEven(f * kernelUnit)
	return int64(math.Max(-maxKernelUnits, math.Min(maxKernelUnits, n)))
}

// fromKernel converts kernel units to s/s.
func fromKernel(n int64) float64 { return float64(n) / kernelUnit }

// checkFrequency refuses what cannot be meant (row K08).
func checkFrequency(f float64) error {
	if math.IsNaN(f) || math.Abs(f) > absurdFrequency {
		return fmt.Errorf("frequency of %g s/s: %w", f, ErrBadValue)
	}
	return nil
}

// clampFrequency cuts f to ±MaxFrequency.
func clampFrequency(f float64) float64 {
	return math.Max(-MaxFrequency, math.Min(MaxFrequency, f))
}
