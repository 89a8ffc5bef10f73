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

// add takes in one round trip, clamped to what arithmetic and stamps allow.
func (d *delayNoise) add(rtt time.Duration) {
	d.ring[d.n%noiseDepth] = clampRoundTrip(rtt)
	d.n++
	sorted := d.ring
	live := sorted[:min(d.n, noiseDepth)]
	slices.Sort(live)
	d.floor = live[0]
	d.excess = live[len(live)/2] - d.floor
}

func clampRoundTrip(rtt time.Duration) time.Duration {
	return min(max(rtt, minRoundTrip), maxRoundTrip)
}

// variance returns that of a sample with the given round trip, in s², to be asked after add: equation (4). The share of
// the whole round trip is what one knows of a path that has been seen n times: at n = 1 the offset error is
// evenly spread over ± half the round trip.
func (d *delayNoise) variance(rtt, precision time.Duration) float64 {
	trip := clampRoundTrip(rtt)
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

// pathBias is the variance of what averaging cannot remove from a source, s²: asymmetry of its path, and its
// own claimed dispersion unless ignored (equation 9).
func (d *delayNoise) pathBias(m *ntp.Measurement, ignoreDispersion bool) float64 {
	b := rootDistanceShare * (d.floor + m.RootDelay).Seconds()
	v := float64(b * b)
	if !ignoreDispersion {
		r := m.RootDispersion.Seconds() / 3 // the claim is a bound of three sigma
		v += float64(r * r)
	}
	return v
}
