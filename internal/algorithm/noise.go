package algorithm

import (
	"slices"
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	// noiseDepth is the number of round trips remembered: long enough for a stable floor, short enough that a
	// new route becomes the floor within 64 polls.
	noiseDepth = 64
	// minRoundTrip is 2^-18 s, below which a round trip says more about the stamps than about the path
	// (docs/rules/clock.md#noise).
	minRoundTrip = 3815 * time.Nanosecond
	// maxRoundTrip is far above what a source's reply window lets through; it keeps the arithmetic finite.
	maxRoundTrip = 100 * time.Second
	// believedHold is how much of the time that a server says it had the request is taken off the round trip: what a
	// busy server needs. The rest counts as path, because a far server that claims a long hold would look near, and how
	// long the request was away is what we know (docs/rules/clock.md#claims).
	believedHold = time.Millisecond
	// stampNoise is the jitter of the best software timestamps, one sigma.
	stampNoise = 0.3e-6
	// baseShare is the noise of a sample without excess delay, as a share of the median excess. For two
	// exponential one-way delays of scale j the median excess is 1.7 j.
	baseShare = 0.25
	// excessShare: queueing that hit one direction only moves the offset by half the excess, equal shares move
	// it by nothing; excess²/8 lies between the two (docs/rules/clock.md#noise).
	excessShare = 1. / 8
	// rootDistanceShare is how much of a source's round trip may be a constant asymmetry that averaging does not
	// remove (docs/rules/clock.md#asymmetry).
	rootDistanceShare = 0.02
)

// delayNoise derives the variance of an offset sample from its round trip and the ones before it.
type delayNoise struct {
	ring [noiseDepth]time.Duration
	n    int // round trips seen, all in all

	floor  time.Duration // shortest of the ring
	excess time.Duration // median above the floor
}

// roundTrip is what counts as the way to a source and back: at least what the stamps can resolve, and with all of the
// server's own time that is not believed.
func roundTrip(m *ntp.Measurement) time.Duration {
	trip := m.RTT + max(m.Held()-believedHold, 0)
	return min(max(trip, minRoundTrip, min(m.Precision, time.Second)), maxRoundTrip)
}

// add takes in one round trip.
func (d *delayNoise) add(trip time.Duration) {
	d.ring[d.n%noiseDepth] = trip
	d.n++
	sorted := d.ring
	live := sorted[:min(d.n, noiseDepth)]
	slices.Sort(live)
	d.floor = live[0]
	d.excess = live[len(live)/2] - d.floor
}

// variance returns that of a sample with the given round trip, in s², to be asked after add: equation (4). The share of
// the whole round trip is what one knows of a path that has been seen n times: at n = 1 the offset error is
// evenly spread over ± half the round trip.
func (d *delayNoise) variance(trip, precision time.Duration) float64 {
	e := (trip - d.floor).Seconds()
	base := baseShare * d.excess.Seconds()
	v := float64(stampNoise*stampNoise) + float64(base*base) + float64(e*e*excessShare)
	p := min(max(precision, 0), time.Second).Seconds()
	v += float64(p * p / 12)
	t, n := trip.Seconds(), float64(max(d.n, 1))
	return v + float64(t*t/(12*n*n))
}

// typical is the variance of a sample with median excess, for reports.
func (d *delayNoise) typical(precision time.Duration) float64 {
	return d.variance(d.floor+d.excess, precision)
}
