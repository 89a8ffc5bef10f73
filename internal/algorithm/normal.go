package algorithm

import "math"

// normalReach is how many sigmas from its mean a normal distribution is followed: what lies beyond is less than 1e-11 of it.
const normalReach = 7

// bell is the density of the standard normal distribution at t; 0 beyond normalReach.
func bell(t float64) float64 {
	if !(math.Abs(t) <= normalReach) {
		return 0
	}
	return float64(exp(-float64(t*t/2)) * inverseRoot2Pi)
}

// normal returns the density of the standard normal distribution at t and the probability of what lies beyond |t|, on one side, with an
// error below 1e-13: a rational function of J. F. Hart (Computer Approximations, 1968, number 5666). Both are 0 beyond normalReach.
func normal(t float64) (density, beyond float64) {
	t = math.Abs(t)
	if !(t <= normalReach) {
		return 0, 0
	}
	e := exp(-float64(t * t / 2))
	// Both polynomials are summed in halves, which a processor works at side by side.
	t2 := float64(t * t)
	t4 := float64(t2 * t2)
	p := (hartP0 + float64(t*hartP1)) + float64(t2*(hartP2+float64(t*hartP3))) +
		float64(t4*((hartP4+float64(t*hartP5))+float64(t2*hartP6)))
	q := (hartQ0 + float64(t*hartQ1)) + float64(t2*(hartQ2+float64(t*hartQ3))) +
		float64(t4*((hartQ4+float64(t*hartQ5))+float64(t2*(hartQ6+float64(t*hartQ7)))))
	return float64(e * inverseRoot2Pi), float64(e * p / q)
}

// inverseRoot2Pi is 1/√(2π).
const inverseRoot2Pi = 0.3989422804014326779

// The coefficients of Hart's two polynomials.
const (
	hartP0 = 220.206867912376
	hartP1 = 221.213596169931
	hartP2 = 112.079291497871
	hartP3 = 33.912866078383
	hartP4 = 6.37396220353165
	hartP5 = 0.700383064443688
	hartP6 = 3.52624965998911e-02
	hartQ0 = 440.413735824752
	hartQ1 = 793.826512519948
	hartQ2 = 637.333633378831
	hartQ3 = 296.564248779674
	hartQ4 = 86.7807322029461
	hartQ5 = 16.064177579207
	hartQ6 = 1.75566716318264
	hartQ7 = 8.83883476483184e-02
)
