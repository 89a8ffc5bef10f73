package algorithm

import (
	"math"
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
	for i := range cs {
		c := &cs[i]
		if c.verdict != Selected {
			continue
		}
		s := c.s
		b := c.t.noise.pathBias(&c.t.last, d.params.IgnoreServerDispersion)
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
		VarOffset: s.pxx, Cov: s.pxy, VarFreq: s.pyy,
	}
	for i := range cs {
		if cs[i].verdict == Selected {
			e.Wander = max(e.Wander, math.Sqrt(cs[i].t.intensity))
		}
	}
	return e
}
