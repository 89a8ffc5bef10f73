package algorithm

import "math"

const (
	// knots is the number of points at which the likelihood of a sample's error is known.
	knots = 33
	// knotRatio is by how much each step between them is longer than the next one towards the nearer end: queues are mostly empty,
	// and all that is sharp in the likelihood is at the ends.
	knotRatio = 1.5
	// knotSum is the length of one half of the steps in units of the first one: (knotRatio¹⁶ - 1)/(knotRatio - 1).
	knotSum    = (knotRatio4*knotRatio4*knotRatio4*knotRatio4 - 1) / (knotRatio - 1)
	knotRatio4 = knotRatio * knotRatio * knotRatio * knotRatio
	// strayShare is the share of samples of which the interval says nothing: the path or the source has changed.
	strayShare = 0.003
	// strayExcess is how many median excesses such a sample is off, one sigma, if its own excess does not explain more.
	strayExcess = 3
	// coarseStep is the length of steps, in sigmas, up to which a normal distribution is a parabola to a thousandth.
	coarseStep = 0.25
)

// likelihood is what the round trip of a sample says about its error v = z - gap, when the ways out and back are known as densities f and g:
// a round trip that is e longer than the least possible one was delayed by e/2 + v on the way out and by e/2 - v on the way back,
//
//	p(v | e) = f(e/2 + v) g(e/2 - v) / ∫ f(e/2 + u) g(e/2 - u) du,   |v| ≤ e/2
//
// held as a piecewise linear function (docs/algorithm.md, equation 6a).
type likelihood struct {
	at     [knots]float64 // v, s, ascending
	like   [knots]float64 // p(v | e), 1/s
	blur   float64        // s², noise of the stamps and of the source's clock that comes on top
	stray  float64        // s², noise of a sample that is off
	volume float64        // the integral: the density of e itself, 1/s
	doubt  float64        // ≤ 0, what the logarithm of the probability loses because the densities are implausible

	mass, centre, square [knots - 1]float64 // of each step: what it holds, its mean, s, and the variance times what it holds, s²
}

// set makes it that of a sample whose round trip is e > 0 above the least possible one, where median is usual.
func (t *likelihood) set(e, median, blur float64, out, back *oneWay) {
	half := float64(e / 2)
	t.blur, t.stray = blur, blur+float64(half*half)+float64(strayExcess*strayExcess*median*median)
	step, from := half/knotSum, 0.
	for i := range knots / 2 {
		t.at[i], t.at[knots-1-i] = from-half, half-from
		from += step
		step *= knotRatio
	}
	t.at[knots/2] = 0
	t.weigh(half, out, back)
	for i := range t.mass {
		a, b, width := t.like[i], t.like[i+1], t.at[i+1]-t.at[i]
		sum := a + b
		inverse := 1 / sum
		t.mass[i] = float64(width * sum / 2)
		t.centre[i] = t.at[i] + float64(width*(1./3)*(1+float64(b*inverse)))
		t.square[i] = float64(width * width * (1. / 18) * (1 + float64(2*float64(a*inverse)*float64(b*inverse))) * t.mass[i])
	}
}

// weigh finds the likelihood at the knots.
func (t *likelihood) weigh(half float64, out, back *oneWay) {
	outHeights, backHeights := out.heights(), back.heights()
	for i := range knots/2 + 1 { // they lie symmetrically: what one way was delayed by here, the other was there
		v := t.at[knots-1-i]
		t.like[i], t.like[knots-1-i] = pair(&outHeights, &backHeights, half-v, half+v)
	}
	t.volume = 0
	for i := range t.like {
		if i > 0 {
			t.volume += float64((t.at[i] - t.at[i-1]) * (t.like[i] + t.like[i-1]) / 2)
		}
	}
	t.volume = max(t.volume, leastVolume)
	scale := 1 / t.volume
	for i := range t.like {
		t.like[i] = max(float64(t.like[i]*scale), leastVolume)
	}
}

// leastVolume keeps quotients finite where nothing is probable.
const leastVolume = 1e-100

// condition takes in a sample that is d seconds above what a member expects with variance v > 0. It returns how probable that was
// (logarithm of a density, per s), by how much the expectation moves, and the variance that is left of it: those of the exact
// posterior distribution, which is not normal, and goes on as the normal one with the same two (equation 6c).
func (t *likelihood) condition(d, v float64) (lot, move, rest float64) {
	s := v + t.blur
	p, mean, spread := t.moments(d, s)
	k := v / s
	move, rest = float64(k*(d-mean)), v-float64(k*v)+float64(k*k*spread)

	strayVariance := v + t.stray
	u := float64(d * d / strayVariance)
	w := 1 + float64(u/tails)
	q := studentTop / float64(float64(w*w)*math.Sqrt(float64(strayVariance*w))) // w to the power of (tails + 1)/2 = 2½
	ks := v / (v + float64(t.stray*max(float64((tails+u)*(1./(tails+1))), 1)))
	strayMove, strayRest := float64(ks*d), v-float64(ks*v)

	p, q = float64((1-strayShare)*p), float64(strayShare*q)
	total := p + q
	share := q / total
	apart := move - strayMove
	rest = rest + float64(share*(strayRest-rest)) + float64(share*(1-share)*apart*apart)
	move -= float64(share * apart)
	return ln(total) - studentScale + t.doubt, move, rest
}

// absorb takes in a sample, z above the origin, and returns the logarithm of how probable it was, less a constant. An unlikely one counts for less, if robust.
func (m *member) absorb(z float64, o *observation, robust bool) (lot float64) {
	e, g := m.expect(o.excess)
	d := z - e
	if o.interval != nil {
		lot, move, rest := o.interval.condition(d, g.v)
		m.condition(&g, move, rest)
		return lot
	}
	s := g.v + o.noise
	u := float64(d * d / s)
	caution := 1.
	if robust {
		caution = max(float64((tails+u)*(1./(tails+1))), 1)
	}
	m.update(&g, d, float64(o.noise*caution))
	return evidence(u, s)
}

const (
	// studentTop is the density of Student's distribution with four degrees of freedom at 0.
	studentTop = 0.375
	// studentScale is what the other laws leave out of the logarithm of theirs, which is the same for all samples: ln(studentTop √body).
	studentScale = -0.869257
)

// moments returns the integral of the likelihood times a normal distribution of v, and the mean and the variance of that product. Steps that are
// narrow against the normal distribution count together as one point.
func (t *likelihood) moments(mean, variance float64) (p, m, v float64) {
	sigma := math.Sqrt(variance)
	inverse := 1 / sigma
	from := float64((t.at[0] - mean) * inverse)
	centre := min(max(from, 0), float64((t.at[knots-1]-mean)*inverse)) // sums are about a point of the interval, lest they lose digits
	var sum moments
	var density, beyond float64
	known := false // the two, at from
	for i := 0; i < knots-1 && from < normalReach; {
		to := float64((t.at[i+1] - mean) * inverse)
		if to < -normalReach {
			from = to
			i++
			continue
		}
		if to-from > coarseStep {
			if !known {
				density, beyond = normal(from)
			}
			nextDensity, nextBeyond := normal(to)
			sum.line(t.like[i], t.like[i+1], from, to, density, nextDensity, between(from, to, beyond, nextBeyond), centre)
			density, beyond, known = nextDensity, nextBeyond, true
			from = to
			i++
			continue
		}
		i, from = t.cluster(i, from, mean, inverse, centre, &sum)
		known = false
	}
	if !(sum.p > leastVolume) {
		return 0, mean, variance
	}
	off := sum.first / sum.p
	v = max(sum.second/sum.p-float64(off*off), 0)
	return sum.p, mean + float64(sigma*(centre+off)), float64(v * variance)
}

// cluster adds the steps from i on that lie within coarseStep of the point from, as one point, and returns where they end. The normal
// distribution is taken for a parabola there.
func (t *likelihood) cluster(i int, from, mean, inverse, centre float64, sum *moments) (next int, to float64) {
	var mass, first, second float64
	squared := float64(inverse * inverse)
	for next = i; next < knots-1; next++ {
		at := float64((t.at[next+1] - mean) * inverse)
		if at-from > coarseStep {
			break
		}
		x := float64((t.centre[next]-mean)*inverse) - from
		mass += t.mass[next]
		first += float64(t.mass[next] * x)
		second += float64(t.square[next]*squared) + float64(t.mass[next]*float64(x*x))
		to = at
	}
	share := 1 / mass
	off := float64(first * share)
	spread := max(float64(second*share)-float64(off*off), 0)
	at := from + off
	p := float64(float64(mass*bell(at)*inverse) * (1 + float64((float64(at*at)-1)*spread/2)))
	sum.point(p, at-float64(at*spread)-centre)
	sum.second += float64(p * spread)
	return next, to
}

// moments are the integrals of a density, and of it times the distance and the squared distance from a centre.
type moments struct{ p, first, second float64 }

// point adds p at the distance d.
func (s *moments) point(p, d float64) {
	s.p += p
	s.first += float64(p * d)
	s.second += float64(p * d * d)
}

// line adds the product of the standard normal distribution and a straight line from a to b between the points from and to.
func (s *moments) line(a, b, from, to, density, nextDensity, inside, centre float64) {
	slope := (b - a) / (to - from)
	level := a - float64(slope*from)
	first := density - nextDensity
	second := inside + float64(from*density) - float64(to*nextDensity)
	third := float64(2*first) + float64(from*from*density) - float64(to*to*nextDensity)
	m0 := float64(level*inside) + float64(slope*first)
	m1 := float64(level*first) + float64(slope*second)
	m2 := float64(level*second) + float64(slope*third)
	s.p += m0
	s.first += m1 - float64(centre*m0)
	s.second += m2 - float64(2*centre*m1) + float64(centre*centre*m0)
}

// between is the probability of what lies between two points, by what lies beyond each of them on its side.
func between(from, to, beyondFrom, beyondTo float64) float64 {
	switch {
	case from >= 0:
		return beyondFrom - beyondTo
	case to <= 0:
		return beyondTo - beyondFrom
	}
	return 1 - beyondFrom - beyondTo
}
