package sim

import (
	"math"
	"math/rand/v2"
)

const second = int64(1e9)

// oscillator counts local nanoseconds: true time at a rate of 1 + y. At every whole true second y takes one step of a random
// walk, wander·N(0,1) (docs/rules/clock.md#oscillator), or becomes the next value of rate, and the count jumps by the next
// value of step.
type oscillator struct {
	y      float64 // s/s, in force since the last whole second
	wander float64 // s/s per sqrt(s)
	rng    *rand.Rand
	rate   *Expr // s/s; nil: the random walk
	step   *Expr // s; nil: none

	at    int64 // true ns of the state
	local int64
	frac  float64 // of a local ns, in [0, 1)
}

func newOscillator(y, wander float64, rng *rand.Rand) *oscillator {
	return &oscillator{y: y, wander: wander, rng: rng}
}

// drive lets expressions decide; each is evaluated at once for the present second. Either may be nil.
func (o *oscillator) drive(rate, step *Expr) {
	o.rate, o.step = rate, step
	o.turn()
}

// turn is what happens at a whole second.
func (o *oscillator) turn() {
	if o.step != nil {
		o.local += int64(math.Round(o.step.Next() * 1e9))
	}
	switch {
	case o.rate != nil:
		o.y = o.rate.Next()
	case o.wander > 0:
		o.y += o.wander * o.rng.NormFloat64()
	}
}

// read returns local time at true time t, which never goes back unless it jumps.
func (o *oscillator) read(t int64) int64 {
	for {
		border := (o.at/second + 1) * second
		if t < border {
			o.run(t)
			return o.local
		}
		o.run(border)
		o.turn()
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
