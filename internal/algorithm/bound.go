package algorithm

import (
	"cmp"
	"math"
	"slices"
	"time"
)

const (
	// boundSigmas turns one sigma into what is told as a bound.
	boundSigmas = 3
	// queueShare is how much of the median excess delay belongs to the bound: what a filter that does not know which way
	// the queues are takes for an offset is half of it at most, and it finds out about most of that.
	queueShare = 1. / 8
	// calmGrowth is how fast the bound grows beside what the filter says while samples come, s/s: a frequency that changes between
	// two of them by more than the oscillator has ever wandered. Half of the round trip is there for larger ones.
	calmGrowth = 2e-8
	// silentGrowth is the same while no samples come: nothing shows then what the temperature does.
	silentGrowth = 3e-7
)

// Growth is how fast the bound of the offset's error grows after At, s/s, in a straight line that is not below boundSigmas
// of what is known of the clock until t later: the chord of a curve that bends upwards (equation 13). What no correction
// may take out is part of it.
func (e *Estimate) Growth(t time.Duration) float64 {
	h := max(t.Seconds(), 1)
	rise := math.Sqrt(max(e.variance(h), e.VarOffset)) - math.Sqrt(e.VarOffset)
	return float64(boundSigmas*rise/h) + calmGrowth + e.Beyond
}

// variance is that of the offset t seconds after At, s².
func (e *Estimate) variance(t float64) float64 {
	walk := float64(e.Wander * e.Wander * t * t * t / 3)
	return e.VarOffset + float64(2*t*e.Cov) + float64(t*t*e.VarFreq) + walk
}

// Drift is how fast the bound may grow when no samples come for t, s/s: as Growth, but nothing averages out, and with more that
// happens unseen (equation 15).
func (e *Estimate) Drift(t time.Duration) float64 {
	walk := float64(e.Wander * math.Sqrt(max(t.Seconds(), 0)/3))
	return float64(boundSigmas*(math.Sqrt(e.VarFreq)+walk)) + silentGrowth + e.Beyond
}

// vouches is how far from the state's gap the true one can be, in s, as it is told to others (equation 13): like distance, with the
// growth that can be expected instead of one that must be allowed for, and with less for what queues.
func (t *tracker) vouches(s *state, p *tuning) float64 {
	trip := t.noise.floor + t.last.RootDelay
	r := float64(max(p.RangeStatisticalWeight, boundSigmas)*math.Sqrt(s.pxx)) +
		float64(max(p.RangeDelayWeight, minDelayWeight)*trip.Seconds()) +
		float64(queueShare*t.noise.excess.Seconds()) + t.pathBias() + min(t.last.Precision, time.Second).Seconds() +
		float64(calmGrowth*s.at.Sub(t.last.At).Seconds())
	if !p.IgnoreServerDispersion {
		r += t.last.RootDispersion.Seconds()
	}
	return r
}

// told is what may be said to others about the offset of e: a bound of its error, and the length of the way to the
// reference clock. Each selected source vouches for a bound of its own, its distance from the estimate and from the truth;
// the lower median of them holds as long as a majority of the selected are honest, because then one of those that say
// no more than that is (docs/rules/clock.md#claims). Neither can one of three or more move it beyond what another says.
func (d *Discipline) told(cs []candidate, fused *state, js []Judgement) (bound, delay time.Duration) {
	bounds, delays := d.buf.bounds[:0], d.buf.delays[:0]
	for i := range cs {
		c := &cs[i]
		if c.verdict != Selected {
			continue
		}
		wide := c.wide()
		r := math.Abs(c.s.above(fused.origin)-fused.x) + c.t.vouches(&wide, &d.params)
		js[i].Bound = toDuration(r)
		bounds = append(bounds, js[i].Bound)
		delays = append(delays, c.t.noise.floor+c.t.last.RootDelay)
	}
	d.buf.bounds, d.buf.delays = bounds, delays
	return lowerMedian(bounds), lowerMedian(delays)
}

// lowerMedian is the middle one, of an even number the lower of the two in the middle; the zero value of none.
func lowerMedian[T cmp.Ordered](all []T) (middle T) {
	if len(all) == 0 {
		return middle
	}
	slices.Sort(all)
	return all[(len(all)-1)/2]
}
