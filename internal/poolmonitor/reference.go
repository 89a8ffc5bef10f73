package poolmonitor

import (
	"time"

	"ntp-daemon/internal/algorithm"
)

// Reading is what one exchange says about another clock, on a scale of this host that nobody sets: its difference to
// true time is the same for all readings of a round but for the drift of the oscillator.
type Reading struct {
	At      time.Time     // when it was taken
	Offset  time.Duration // of the other clock from that scale; positive: it is ahead
	Claimed time.Duration // root delay/2 + root dispersion, as the server says, ≥ 0
	Path    time.Duration // round trip/2 + precision, as we see it, ≥ 0
	Delay   time.Duration // round trip, for display
}

const (
	// maxClaim is how much of its distance from true time a time source may claim for itself: one that admits to more is
	// no better for users than one that is wrong by that much.
	maxClaim = 100 * time.Millisecond
	// drift is by how much the scale may leave true time, s/s: PHI of RFC 5905 §7.2. What a wild oscillator does beyond it in
	// the half minute of a round is within tolerance.
	drift = 15e-6
	// tolerance is what a clock may be beyond its own and the reference's distance (docs/rules/pool.md#monitor-offset).
	tolerance = 10 * time.Millisecond
	// minVoices is how many time sources must answer before they are compared with each other.
	minVoices = 3
)

// Distance is the root distance: by how much the other clock may be off as far as it and the path can tell.
func (r *Reading) Distance() time.Duration { return min(r.Claimed, maxClaim) + r.Path }

// says is the interval that holds true time, less the scale, if the reading is honest.
func (r *Reading) says(now time.Time) algorithm.Interval {
	radius := r.Distance() + time.Duration(drift*float64(now.Sub(r.At).Abs()))
	return algorithm.Interval{Lo: r.Offset - radius, Hi: r.Offset + radius}
}

// Origin says what a reference is made of.
type Origin uint8

// The origins.
const (
	NoReference Origin = iota // nothing, or nothing that a majority agrees on
	FromSources               // the sources of the pool's configuration
	FromMembers               // the pool's healthy time sources
)

// Reference is what offsets of one round are compared with.
type Reference struct {
	Origin Origin
	Offset time.Duration // of true time from the scale
	Radius time.Duration // half the width of what the voices agree on
	Voices int           // that agree
}

// agree is the reference that a strict majority of the readings vouches for. Each reading says that true time lies within its root
// distance; the interval that the largest number of them share (algorithm.Intersect) is the reference, its middle and half
// its width. With n honest readings and fewer than n others, these others cannot move it away from the truth by more than the
// distance of an honest one, wherever they go and however well they agree.
func agree(origin Origin, readings []Reading, now time.Time) Reference {
	intervals := make([]algorithm.Interval, len(readings))
	for i := range readings {
		intervals[i] = readings[i].says(now)
	}
	shared, depth := algorithm.Intersect(intervals)
	if depth == 0 || 2*depth <= len(readings) {
		return Reference{}
	}
	half := (shared.Hi - shared.Lo) / 2
	return Reference{Origin: origin, Offset: shared.Lo + half, Radius: half, Voices: depth}
}

// wrong reports whether a reading is beyond both distances and the tolerance from the reference.
func (ref *Reference) wrong(r *Reading, now time.Time) bool {
	says := r.says(now)
	margin := ref.Radius + tolerance
	return says.Lo > ref.Offset+margin || says.Hi < ref.Offset-margin
}
