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
	// maxSlewWait bounds the Wait of a very long slew.
	maxSlewWait = time.Hour
)

// steer turns the estimate into a command (docs/algorithm.md 11 and 12). The frequency is corrected fully at every
// decision. The offset is removed by a constant rate that reaches the target after slew-minimum-duration, or later when
// the limit says so; the caller asks again at that moment, and then the rate ends. With samples more often than that
// the rate is renewed each time, so that the offset decays exponentially. There is no loop that could oscillate: the
// estimate is about the oscillator and does not know what was commanded. An offset that may as well be noise can wait: it
// is removed over pace, s, so that the rate of the clock is not made of the noise of its sources.
func (d *Discipline) steer(dec *Decision, pace float64) {
	p, e := &d.params, &dec.Estimate
	offset := e.Offset.Seconds()
	significant := math.Abs(offset) > float64(p.SteerOffsetThreshold*math.Sqrt(e.VarOffset))
	if significant && math.Abs(offset) > p.StepThreshold {
		// A slew that was under way is over with the step: no consensus may follow to end it.
		dec.slew = slew{on: d.slew.on, rest: d.slew.rest, end: e.At}
		dec.Steer, dec.Wait = Steer{Kind: SteerStep, Step: e.Offset}, stepSettle
		return
	}
	limit := p.SlewMaximumFrequencyOffset
	duration := p.SlewMinimumDuration
	if !significant {
		duration = max(duration, pace)
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

// pace is half of the shortest interval between samples of the selected sources, s: a slew that long ends before the next
// one, on average.
func pace(cs []candidate) float64 {
	shortest := ntp.MaxPollExp
	for i := range cs {
		if c := &cs[i]; c.verdict == Selected {
			shortest = min(shortest, c.t.last.Poll)
		}
	}
	return shortest.Duration().Seconds() / 2
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
