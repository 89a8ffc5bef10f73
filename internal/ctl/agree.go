package ctl

import (
	"time"

	"ntp-daemon/internal/algorithm"
)

// sample is one source's word on the time, in seconds: true time less ours is within offset ± bound if the source
// and the path to it are honest.
type sample struct {
	name    string
	address string
	nts     bool
	offset  float64
	bound   float64 // > 0
}

// majority finds the samples whose intervals share a point with the most others, and their offset, s: the mean,
// in which a sample weighs the more the narrower its interval is. Of several places with equal counts it is the
// first, which quorum then refuses. The result is by index, ascending.
func majority(samples []sample) (agreeing []int, offset float64) {
	said := make([]algorithm.Interval, len(samples))
	for i, s := range samples {
		said[i] = algorithm.Interval{Lo: duration(s.offset - s.bound), Hi: duration(s.offset + s.bound)}
	}
	shared, depth := algorithm.Intersect(said)
	if depth == 0 {
		return nil, 0
	}
	var sum, weights float64
	for i, s := range samples {
		if said[i].Touches(shared) {
			agreeing = append(agreeing, i)
			w := 1 / s.bound
			sum += float64(w * s.offset)
			weights += w
		}
	}
	return agreeing, sum / weights
}

// duration is a number of seconds.
func duration(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// quorum is how many samples must agree: more than half of those that came, at least half of those wanted, and
// never fewer than the configuration asks of the daemon.
func quorum(came, wanted, minimum int) int {
	return max(came/2+1, (wanted+1)/2, minimum)
}
