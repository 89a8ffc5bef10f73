package algorithm

import (
	"math"
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	// frequencyResolution is half of the kernel's unit of 2^-16 ppm, s/s: smaller changes are not worth a call.
	frequencyResolution = 7e-12
	// confirmed is how close to the command the kernel's rounding leaves the frequency.
	confirmed = 2 * frequencyResolution
	// stepSettle is the pause between a step and the decision that follows it.
	stepSettle = 10 * time.Millisecond
	// paceCost is by how much of itself a slew in no hurry may raise the variance of the clock's offset, and paceMost how many
	// intervals between samples it takes at most: the rate of the slew adds its noise to that of the clock, the more the faster it is.
	paceCost, paceMost = 0.04, 4
	// hurrySigmas: an offset beyond that many sigma of what an interval brings is neither noise nor wander and cannot wait longer than hurryShare
	// of the interval, and hurryMost, s.
	hurrySigmas, hurryShare, hurryMost = 2.5, 1. / 6, 16
	// stepSigmas: a smaller offset is never stepped, whatever steer-offset-threshold says: the next samples may say the contrary.
	stepSigmas = 4
	// gentle is the rate at which an offset that may be noise is removed at most, s/s, or gentleSigmas of the frequency where that is more: noise
	// of a source's clock must not become one of the rate of ours. While the frequency is not known better than that, nothing is gained by it.
	gentle       = 4e-6
	gentleSigmas = 2
	// maxSlewWait bounds the Wait of a very long slew.
	maxSlewWait = time.Hour
)

// steer turns the estimate into a command (docs/algorithm.md 11 and 12). The frequency is corrected fully at every
// decision. The offset is removed by a constant rate that reaches the target after slew-minimum-duration, or later when
// the limit says so; the caller asks again at that moment, and then the rate ends. With samples more often than that
// the rate is renewed each time, so that the offset decays exponentially. There is no loop that could oscillate: the
// estimate is about the oscillator and does not know what was commanded. An offset that may as well be noise, or
// what the oscillator did in an interval between samples, s, can wait: it is removed over pace, so that the rate of the clock is not made of
// the noise of its sources.
func (d *Discipline) steer(dec *Decision, interval float64) {
	p := &d.params
	// What is unseen is no reason to wait: clocks that were stepped and slewed as if there were nothing of it were the better for it.
	e := dec.Estimate
	e.VarOffset -= e.Unseen
	offset := e.Offset.Seconds()
	significant := math.Abs(offset) > float64(max(p.SteerOffsetThreshold, stepSigmas)*math.Sqrt(e.VarOffset))
	if significant && math.Abs(offset) > p.StepThreshold {
		// A slew that was under way is over with the step: no consensus may follow to end it.
		dec.slew = slew{on: d.slew.on, rest: d.slew.rest, end: e.At}
		dec.Steer, dec.Wait = Steer{Kind: SteerStep, Step: e.Offset}, stepSettle
		return
	}
	limit := p.SlewMaximumFrequencyOffset
	duration := max(p.SlewMinimumDuration, min(float64(hurryShare*interval), hurryMost))
	if math.Abs(offset) <= float64(hurrySigmas*math.Sqrt(e.variance(interval))) {
		duration = max(duration, e.pace(interval))
	}
	if math.Abs(offset) <= float64(hurrySigmas*math.Sqrt(e.VarOffset)) {
		duration = max(duration, math.Abs(offset)/max(gentle, float64(gentleSigmas*math.Sqrt(e.VarFreq))))
	}
	rate := clamp(offset/duration, limit)
	total := clamp(clamp(e.Frequency, p.MaximumFrequencySteer)+rate, p.MaximumFrequencySteer)
	dec.slew = slew{rest: clamp(e.Frequency, p.MaximumFrequencySteer)}
	rate = total - dec.slew.rest
	if math.Abs(rate) > frequencyResolution {
		dec.Wait = min(max(toDuration(offset/rate), stepSettle), maxSlewWait)
		dec.slew.on, dec.slew.end = true, e.At.Add(dec.Wait)
	}
	if math.Abs(total-d.clock.Frequency) >= frequencyResolution {
		dec.Steer = Steer{Kind: SteerSlew, Frequency: total}
	}
}

// interval is the shortest one between samples of the selected sources, s.
func interval(cs []candidate) float64 {
	shortest := ntp.MaxPollExp.Duration().Seconds()
	for i := range cs {
		if c := &cs[i]; c.verdict == Selected {
			shortest = min(shortest, c.t.interval())
		}
	}
	return shortest
}

// pace is how long a slew in no hurry takes, s. One update moves the estimate by as much as the variance grows in an interval T, about
// d; while it is slewed away in a share of T, a third of that share of d is added to the variance, which is v on average; in many T, half.
func (e *Estimate) pace(interval float64) float64 {
	d := e.variance(interval) - e.VarOffset
	v := e.VarOffset + d/3
	if 3*paceCost*v >= paceMost*d {
		return float64(paceMost * interval)
	}
	return float64(3 * paceCost * v / d * interval)
}

// endSlew is what happens without a consensus: nothing, except that a slew that was under way ends on target
// at the last known frequency.
func (d *Discipline) endSlew(now ntp.Local, dec *Decision) {
	switch {
	case !d.slew.on:
	case now < d.slew.end:
		dec.Wait = max(d.slew.end.Sub(now), stepSettle)
	case math.Abs(d.slew.rest-d.clock.Frequency) < confirmed:
		d.slew.on = false
	default:
		dec.slew = slew{rest: d.slew.rest}
		dec.Steer = Steer{Kind: SteerSlew, Frequency: d.slew.rest}
	}
}

// clamp limits v to ± limit; what is not a number becomes 0 (row K08).
func clamp(v, limit float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return min(max(v, -limit), limit)
}
