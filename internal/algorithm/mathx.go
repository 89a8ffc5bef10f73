package algorithm

import "math"

// The exponential and the natural logarithm, of products, sums and quotients only: package math has assembly for some processors
// and lets others join a product and a sum, and the estimator must find the same bits everywhere. Each product is rounded before
// it is added.

const (
	// ln2High and ln2Low add up to ln 2. The first has its last 21 bits zero, so that its product with a whole number below 2^20 is
	// exact.
	ln2High = 6.93147180369123816490e-01
	ln2Low  = 1.90821492927058770002e-10
	// expLimit is where the result leaves the range of normal numbers: exp is 0 below -expLimit and does not grow above it.
	expLimit = 700
)

// exp returns e to the power of x, with a relative error of at most 3e-16. Below -700 it is 0, above 700 what it is at 700,
// and of what is not a number, 0.
func exp(x float64) float64 {
	switch {
	case !(x >= -expLimit):
		return 0
	case x > expLimit:
		x = expLimit
	}
	shifted := float64(x*(powers/math.Ln2)) + shifter
	n := int64(math.Float64bits(shifted) - math.Float64bits(shifter)) // the nearest whole number
	k := shifted - shifter
	r := (x - float64(k*(ln2High/powers))) - float64(k*(ln2Low/powers))
	// |r| ≤ ln 2 / 64: what the series leaves out is below 4e-18. It is summed in halves, which a processor works at side by side.
	q := float64(r * r)
	high := (1./24 + float64(r*(1./120))) + float64(q*(1./720))
	low := 0.5 + float64(r*(1./6))
	rest := r + float64(q*(low+float64(q*high)))
	top := math.Float64frombits(math.Float64bits(roots[n&(powers-1)]) + uint64(n>>powerBits)<<52)
	return top + float64(top*rest)
}

// shifter is a number so large that its last digit is 1, and that of what is added to it.
const shifter = 3 << 51

// powers, two to the powerBits, is the number of steps of roots per factor of two.
const powers, powerBits = 32, 5

// roots holds 2^(n/32).
var roots = [powers]float64{
	1, 1.0218971486541166782, 1.0442737824274138403, 1.0671404006768236182, 1.0905077326652576592, 1.1143867425958925363, 1.1387886347566916537, 1.1637248587775775138,
	1.1892071150027210667, 1.2152473599804688781, 1.2418578120734840486, 1.2690509571917332226, 1.2968395546510096659, 1.3252366431597412946, 1.3542555469368927283, 1.3839098819638319549,
	1.4142135623730950488, 1.44518080697704662, 1.4768261459394993114, 1.5091644275934227398, 1.5422108254079408236, 1.5759808451078864865, 1.6104903319492543082, 1.6457554781539648445,
	1.6817928305074290861, 1.7186192981224779156, 1.7562521603732994831, 1.7947090750031071864, 1.8340080864093424635, 1.8741676341102999013, 1.9152065613971472939, 1.957144124175400269,
}

// ln returns the natural logarithm of x, with an absolute error of at most 4e-16 of the larger of 1 and the result. Of 0 and below
// it, and of what is not a number, it is that of the smallest number there is.
func ln(x float64) float64 {
	if !(x > 0) {
		x = math.SmallestNonzeroFloat64
	}
	if x > math.MaxFloat64 {
		x = math.MaxFloat64
	}
	down := int64(0)
	if x < leastNormal {
		x, down = x*(1<<54), 54 // exact
	}
	bits := math.Float64bits(x)
	e := (int64(bits) - rootHalf) >> 52 // such that m = x 2^-e is from √½ up to √2
	m := math.Float64frombits(bits - uint64(e)<<52)
	// ln m = 2 artanh s with s = (m-1)/(m+1). |s| ≤ 0.1716: what the series leaves out is below 2e-18. It is summed in halves, which a processor
	// works at side by side.
	s := (m - 1) / (m + 1)
	q := float64(s * s)
	q2 := float64(q * q)
	q4 := float64(q2 * q2)
	low := (1./3 + float64(q*(1./5))) + float64(q2*(1./7+float64(q*(1./9))))
	high := (1./11 + float64(q*(1./13))) + float64(q2*(1./15+float64(q*(1./17))))
	top := 1./19 + float64(q*(1./21))
	sum := float64(q * (low + float64(q4*(high+float64(q4*top)))))
	k := float64(e - down)
	return float64(k*ln2High) + (float64(2*s) + (float64(2*s*sum) + float64(k*ln2Low)))
}

const (
	// leastNormal is the least number with all of its digits, 2^-1022.
	leastNormal = 0x1p-1022
	// rootHalf is the bits of √½, with which the numbers begin whose logarithm is found without one of a power of two.
	rootHalf = 0x3fe6a09e667f3bcd
)
