package algorithm

import (
	"math"
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	// unseenDepth is how many of the last samples of one interval count, unseenKnown how many there must be.
	unseenDepth, unseenKnown = 32, 8
	// unseenClip is how many times the expected square one sample may count.
	unseenClip = 16
	// ordinaryExcess is how many median excesses a round trip may be above the shortest for what it says to count.
	ordinaryExcess = 3
	// unseenDoubt is by how many sigmas of its mean the square must be above what was expected.
	unseenDoubt = 1
)

// unseen is what the oscillator does between samples that no filter of the bank foresees, found for each interval between samples by itself: one that
// goes to and fro with the heating of the house within an hour looks like a wander to who samples every five minutes, which is foreseen,
// and like noise to who samples every quarter of an hour, which is not in the error that the filters know of. Equation (6f).
type unseen [ntp.MaxPollExp + 1]struct {
	n                int     // samples, up to unseenDepth
	square, expected float64 // s², means of the squares of innovations and of the variances that they were expected with
}

// intervalOf is the power of two seconds, one at least, that is next to the time between two samples.
func intervalOf(since time.Duration) ntp.PollExp {
	k := ntp.PollExp(0)
	for k < ntp.MaxPollExp && since.Seconds() > math.Sqrt2*k.Duration().Seconds() {
		k++
	}
	return k
}

// add takes in one innovation and the variance that it was expected with, and returns the variance, s², that samples after such an interval have
// beside what is expected of them: 0 as long as that may be chance.
func (u *unseen) add(since time.Duration, innovation, v float64) float64 {
	d := &u[intervalOf(since)]
	d.n = min(d.n+1, unseenDepth)
	share := 1 / float64(d.n)
	d.square += float64((min(float64(innovation*innovation), float64(unseenClip*v)) - d.square) * share)
	d.expected += float64((v - d.expected) * share)
	more := d.square - d.expected
	if d.n < unseenKnown || more < float64(unseenDoubt*d.expected*math.Sqrt(2/float64(d.n))) {
		return 0
	}
	return more
}

// commonUnseen is what none of the sources in use foresees: the oscillator is the same for all.
func commonUnseen(cs []candidate) float64 {
	least := math.Inf(1)
	for i := range cs {
		if c := &cs[i]; c.verdict == Selected && !c.aside {
			least = min(least, c.t.hidden)
		}
	}
	return least
}
