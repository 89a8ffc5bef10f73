package sim

import (
	"math"
	"math/rand/v2"
	"time"
)

// Law is the shape of a link's jitter.
type Law uint8

// The laws; Jitter is their scale.
const (
	Exponential Law = iota // one-sided, mean Jitter
	Uniform                // within ± Jitter
	Normal                 // standard deviation Jitter
)

// Link describes one direction of a path.
type Link struct {
	Delay  time.Duration // of every packet
	Jitter time.Duration // scale of what is added
	Law    Law
	Loss   float64 // probability that a packet is lost
	// Down lists when no packet passes, in time since the start of the world, by departure.
	Down []Window
	// Copies is how many more times each packet arrives, each with a delay of its own.
	Copies int

	// Expr gives the delay in seconds and decides alone: a packet whose delay is not positive is lost.
	Expr     *Expr
	From, To float64 // numbers of the nodes, for Expr
}

// Window is a time span since the start of the world.
type Window struct{ From, To time.Duration }

// minDelay keeps packets from arriving before they leave when symmetric jitter exceeds the delay.
const minDelay = time.Microsecond

const (
	ntpPort  = 123
	maxDelay = 1e5 // s: what takes longer, or is no number, is lost
)

// link is a Link with its own random stream.
type link struct {
	Link
	rng *rand.Rand
}

// arrivals calls arrive with the delay of each copy of a packet of that many bytes that leaves at t.
func (l *link) arrivals(t int64, length int, arrive func(delay int64)) {
	for range 1 + l.Copies {
		if d, ok := l.transit(t, length); ok {
			arrive(d)
		}
	}
}

// transit returns how long a packet that leaves at t takes, and whether it arrives. It draws the same number of
// random values for every packet, so that one lost packet does not change the fate of the others.
func (l *link) transit(t int64, length int) (int64, bool) {
	if l.Expr != nil {
		d := l.Expr.At(Vars{Time: float64(t) / 1e9, From: l.From, To: l.To, Port: ntpPort, Length: float64(length), Subnet: 1})
		return int64(math.Round(d * 1e9)), d > 0 && d < maxDelay
	}
	lost := l.rng.Float64()
	var j float64
	switch l.Law {
	case Uniform:
		j = 2*l.rng.Float64() - 1
	case Normal:
		j = l.rng.NormFloat64()
	default:
		j = l.rng.ExpFloat64()
	}
	if lost < l.Loss {
		return 0, false
	}
	for _, w := range l.Down {
		if t >= int64(w.From) && t < int64(w.To) {
			return 0, false
		}
	}
	d := l.Delay + time.Duration(math.Round(j*float64(l.Jitter)))
	return int64(max(d, minDelay)), true
}
