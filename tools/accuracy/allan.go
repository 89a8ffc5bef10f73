package main

import (
	"math"

	"ntp-daemon/internal/sim"
)

// allan is the overlapping Allan deviation of a clock whose error, s, was noted once per second, for averaging times of n seconds:
// σ²(n) = Σ (x[i+2n] − 2x[i+n] + x[i])² / (2 n² (N−2n)). A constant frequency does not enter.
func allan(x []float64, n int) float64 {
	count := len(x) - 2*n
	if n < 1 || count < 1 {
		return math.NaN()
	}
	sum := 0.
	for i := range count {
		d := x[i+2*n] - 2*x[i+n] + x[i]
		sum += d * d
	}
	return math.Sqrt(sum/(2*float64(count))) / float64(n)
}

// averagingTimes are 1, 2, 3, 5, 7 times the powers of ten up to a quarter of the record, s.
func averagingTimes(length int) (list []int) {
	for power := 1; ; power *= 10 {
		for _, m := range []int{1, 2, 3, 5, 7} {
			if m*power > length/4 {
				return list
			}
			list = append(list, m*power)
		}
	}
}

// bare is what the client's clock would have shown if nobody had steered it: the same oscillator, added up, s.
func bare(c *sim.Case, seed uint64, from, to int) ([]float64, error) {
	y, err := sim.ParseExpr(c.Client.Freq, sim.Origin{Seed: seed, Scenario: c.ID, Name: "client/freq"})
	if err != nil {
		return nil, err
	}
	var x []float64
	at := 0.
	for t := range to {
		if t >= from {
			x = append(x, at)
		}
		at += y.Next()
	}
	return x, nil
}
