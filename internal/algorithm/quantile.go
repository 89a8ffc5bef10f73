package algorithm

import "math"

// maxQuantile bounds what centralQuantile returns: the series keeps enough digits up to there.
const maxQuantile = 6

// centralQuantile returns z such that a standard normal variable lies within ±z with probability p, at most
// maxQuantile. Bisection on a series of products and sums only, so that every machine finds the same bits;
// asked a few times at start.
func centralQuantile(p float64) float64 {
	lo, hi := 0., float64(maxQuantile)
	for range 60 {
		mid := (lo + hi) / 2
		if centralProbability(mid) < p {
			lo = mid
		} else {
			hi = mid
		}
	}
	return (lo + hi) / 2
}

// centralProbability is the chance of |Z| < z for 0 ≤ z ≤ maxQuantile: the series
// sqrt(2/π) · Σ (-1)^n z^(2n+1) / (n! 2^n (2n+1)).
func centralProbability(z float64) float64 {
	sum, term := z, z
	for n := 1; n < 100; n++ {
		term *= -z * z / float64(2*n)
		sum += float64(term / float64(2*n+1))
	}
	return float64(sum * math.Sqrt(2/math.Pi))
}
