package sim

import (
	"math"
	"math/rand/v2"
)

const second = int64(1e9)

// oscillator counts local nanoseconds: true time at a rate of 1 + y, where y is a random walk that takes one
// step of wander·N(0,1) at every whole true second (docs/rules/clock.md#oscillator).
type oscillator struct {
	y      float64 // s/s, in force since the last whole second
	wander float64 // s/s per sqrt(s)
	rng    *rand.Rand

	at    int64 // true ns of the state
	local int64
	frac  float64 // of a local ns, in [0, 1)
}

func newOscillator(y, wander float64, rng *rand.Rand) *oscillator {
	return &oscillator{y: y, wander: wander, rng: rng}
}

// read returns local time at true time t, which never goes back.
func (o *oscillator) read(t int64) int64 {
	for {
		border := (o.at/second + 1) * second
		if t < border {
			o.run(t)
			return o.local
		}
		o.run(border)
		if o.wander > 0 {
			o.y += o.wander * o.rng.NormFloat64()
		}
	}
}

func (o *oscillator) run(t int64) {
	dt := t - o.at
	o.frac += float64(float64(dt) * o.y)
	whole := math.Floor(o.frac)
	o.frac -= whole
	o.local += dt + int64(whole)
	o.at = t
}

// wait converts a local interval to a true one, at the rate in force.
func (o *oscillator) wait(local int64) int64 { return int64(math.Ceil(float64(local) / (1 + o.y))) }
