package algorithm

import (
	"slices"
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	// noiseDepth is the number of round trips remembered: the least of n differs from the least that there can be by about
	// the median excess over the root of n.
	noiseDepth = 512
	// noiseAge is how long a round trip is remembered, as long as noiseKept of them are: routes change.
	noiseAge  = 24 * time.Hour
	noiseKept = 32
	// minRoundTrip is 2^-18 s, below which a round trip says more about the stamps than about the path
	// (docs/rules/clock.md#noise).
	minRoundTrip = 3815 * time.Nanosecond
	// maxRoundTrip is far above what a source's reply window lets through; it keeps the arithmetic finite.
	maxRoundTrip = 100 * time.Second
	// believedHold is how much of the time that a server says it had the request is taken off the round trip: what a
	// busy server needs. The rest counts as path, because a far server that claims a long hold would look near, and how
	// long the request was away is what we know (docs/rules/clock.md#claims).
	believedHold = time.Millisecond
	// rootDistanceShare is how much of a source's round trip may be a constant asymmetry that averaging does not
	// remove (docs/rules/clock.md#asymmetry).
	rootDistanceShare = 0.02
)

// delayNoise remembers the round trips to a source: the least of them, and how they are spread above it.
type delayNoise struct {
	trips  [noiseDepth]trip          // ring
	sorted [noiseDepth]time.Duration // the live ones of the ring, from the shortest
	next   int                       // place of the next one in the ring
	live   int                       // remembered
	n      int                       // seen, all in all

	floor  time.Duration // the shortest
	excess time.Duration // the median above it
	before time.Duration // the same of the route before; 0: there was none
	spread time.Duration // from the first to the third quartile
	wide   time.Duration // from the first to the seventh eighth
	grain  time.Duration // steps in which round trips come; 0 when there are none to see
}

// trip is one round trip that is remembered.
type trip struct {
	at    ntp.Local
	delay time.Duration
}

// roundTrip is what counts as the way to a source and back: at least what the stamps can resolve, and with all of the
// server's own time that is not believed.
func roundTrip(m *ntp.Measurement) time.Duration {
	trip := m.RTT + max(m.Held()-believedHold, 0)
	return min(max(trip, minRoundTrip, min(m.Precision, time.Second)), maxRoundTrip)
}

// add takes in one round trip.
func (d *delayNoise) add(at ntp.Local, delay time.Duration) {
	if d.live == noiseDepth {
		d.drop()
	}
	for d.live > noiseKept && at.Sub(d.oldest().at) > noiseAge {
		d.drop()
	}
	d.trips[d.next] = trip{at, delay}
	d.next = (d.next + 1) % noiseDepth
	i, _ := slices.BinarySearch(d.sorted[:d.live], delay)
	copy(d.sorted[i+1:d.live+1], d.sorted[i:d.live])
	d.sorted[i] = delay
	d.live++
	d.n++
	d.floor = d.sorted[0]
	d.excess = d.sorted[d.live/2] - d.floor
	d.spread = d.sorted[d.live*3/4] - d.sorted[d.live/4]
	d.wide = d.sorted[d.live-1-d.live/8] - d.sorted[d.live/8]
	d.grain = 0
	if d.live >= fewTrips && d.sorted[d.live/4] == d.floor {
		d.grain = d.step()
	}
}

func (d *delayNoise) oldest() *trip { return &d.trips[(d.next-d.live+noiseDepth)%noiseDepth] }

// drop forgets the oldest.
func (d *delayNoise) drop() {
	i, _ := slices.BinarySearch(d.sorted[:d.live], d.oldest().delay)
	copy(d.sorted[i:d.live-1], d.sorted[i+1:d.live])
	d.live--
}

// restart forgets all round trips: the route is another one.
func (d *delayNoise) restart() { d.before, d.next, d.live = d.width(), 0, 0 }

// width is the median excess, and as long as few round trips over this route were seen at least the one of the route before.
func (d *delayNoise) width() time.Duration {
	if d.live < routeKnown {
		return max(d.excess, d.before)
	}
	return d.excess
}

// step is the difference between the shortest and the next longer one.
func (d *delayNoise) step() time.Duration {
	for _, v := range d.sorted[:d.live] {
		if v > d.floor {
			return v - d.floor
		}
	}
	return 0
}
