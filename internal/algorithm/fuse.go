package algorithm

import (
	"cmp"
	"math"
	"slices"
	"time"

	"ntp-daemon/internal/ntp"
)

// fuse joins the selected sources' states by their information: each counts by the inverse of its covariance.
// What averaging cannot remove from one source is added to its variance before, so that a source on a short
// path does not drown in many on long ones; and since errors of a common path or upstream do not average out
// either, the result is never surer than the surest source's own bias.
func (d *Discipline) fuse(cs []candidate) state {
	var sum state
	first := true
	bias, freq := math.Inf(1), math.Inf(1)
	middle := middleClaims(cs)
	for i := range cs {
		c := &cs[i]
		if c.verdict != Selected {
			continue
		}
		s := c.s
		b := c.t.bias(middle, d.params.IgnoreServerDispersion)
		s.pxx += b
		bias, freq = min(bias, b), min(freq, s.pyy)
		if first {
			sum, first = s, false
			continue
		}
		sum = join(sum, s)
	}
	sum.pxx = max(sum.pxx, bias)
	// One oscillator is measured, and its own wander is common to all: n sources know its frequency better than
	// one does, but not n times better.
	sum.pyy = max(sum.pyy, freq/2)
	return sum
}

// claims is what a source says of its own way to the reference clock.
type claims struct{ delay, dispersion time.Duration }

// middleClaims returns the lower median of each claim of the selected sources.
func middleClaims(cs []candidate) claims {
	var delays, dispersions []time.Duration
	for i := range cs {
		if c := &cs[i]; c.verdict == Selected {
			delays = append(delays, c.t.last.RootDelay)
			dispersions = append(dispersions, c.t.last.RootDispersion)
		}
	}
	return claims{lowerMedian(delays), lowerMedian(dispersions)}
}

// bias is the variance of what averaging cannot remove from a source, s²: asymmetry of its path, and what it claims to
// be off by unless that is ignored (equation 9). What it claims counts no better than what the others do, except as far
// as it is near: nearness is measured, a claim is not (docs/rules/clock.md#claims).
func (t *tracker) bias(middle claims, ignoreDispersion bool) float64 {
	trip := t.noise.floor
	delay := max(t.last.RootDelay, min(middle.delay, trip))
	b := rootDistanceShare * (trip + delay).Seconds()
	v := float64(b * b)
	if !ignoreDispersion {
		r := max(t.last.RootDispersion, min(middle.dispersion, trip)).Seconds() / 3 // the claim is a bound of three sigma
		v += float64(r * r)
	}
	return v
}

// join merges two states of the same moment as if their errors were independent: with D = b - a,
// K = Pa (Pa+Pb)^-1, the result is a + K D with covariance K Pb (equation 10).
func join(a, b state) state {
	sxx, sxy, syy := a.pxx+b.pxx, a.pxy+b.pxy, a.pyy+b.pyy
	det := float64(sxx*syy) - float64(sxy*sxy)
	if !(det > 0) {
		return a
	}
	ixx, ixy, iyy := syy/det, -sxy/det, sxx/det
	kxx := float64(a.pxx*ixx) + float64(a.pxy*ixy)
	kxy := float64(a.pxx*ixy) + float64(a.pxy*iyy)
	kyx := float64(a.pxy*ixx) + float64(a.pyy*ixy)
	kyy := float64(a.pxy*ixy) + float64(a.pyy*iyy)
	dx, dy := b.above(a.origin)-a.x, b.y-a.y
	r := a
	r.x += float64(kxx*dx) + float64(kxy*dy)
	r.y += float64(kyx*dx) + float64(kyy*dy)
	r.pxx = float64(kxx*b.pxx) + float64(kxy*b.pxy)
	r.pxy = float64(kxx*b.pxy) + float64(kxy*b.pyy)
	r.pyy = float64(kyx*b.pxy) + float64(kyy*b.pyy)
	return r.fold()
}

// estimate relates the fused state to the steered clock. It is unknown when a number went out of range (K08).
func (d *Discipline) estimate(s state, cs []candidate, now ntp.Local) Estimate {
	if !s.finite() || s.pxx < 0 || s.pyy < 0 {
		return Estimate{}
	}
	e := Estimate{
		Known: true, At: now,
		Offset:    s.origin - d.clock.ClockGapAt(now) + time.Duration(math.Round(s.x*1e9)),
		Frequency: s.y,
		VarOffset: s.pxx, Cov: s.pxy, VarFreq: s.pyy, Beyond: max(math.Abs(s.y)-d.params.MaximumFrequencySteer, 0),
	}
	for i := range cs {
		if cs[i].verdict == Selected {
			e.Wander = max(e.Wander, math.Sqrt(cs[i].t.intensity))
		}
	}
	return e
}

// told is what may be said to others about the offset of e: a bound of its error, and the length of the way to the
// reference clock. Each selected source vouches for a bound of its own, its distance from the estimate and from the truth;
// the lower median of them holds as long as a majority of the selected are honest, because then one of those that say
// no more than that is (docs/rules/clock.md#claims). Neither can one of three or more move it beyond what another says.
func (d *Discipline) told(cs []candidate, fused *state, js []Judgement) (bound, delay time.Duration) {
	var bounds, delays []time.Duration
	for i := range cs {
		c := &cs[i]
		if c.verdict != Selected {
			continue
		}
		r := math.Abs(c.s.above(fused.origin)-fused.x) + c.t.distance(&c.s, max(d.params.RangeStatisticalWeight, boundSigmas), &d.params)
		js[i].Bound = toDuration(r)
		bounds = append(bounds, js[i].Bound)
		delays = append(delays, c.t.noise.floor+c.t.last.RootDelay)
	}
	return lowerMedian(bounds), lowerMedian(delays)
}

// boundSigmas turns one sigma into what is told as a bound.
const boundSigmas = 3

// lowerMedian is the middle one, of an even number the lower of the two in the middle; the zero value of none.
func lowerMedian[T cmp.Ordered](all []T) (middle T) {
	if len(all) == 0 {
		return middle
	}
	slices.Sort(all)
	return all[(len(all)-1)/2]
}
