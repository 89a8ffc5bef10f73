package algorithm

import (
	"time"

	"ntp-daemon/internal/ntp"
)

// trialTrips is the number of round trips within which a longer route shows that it was none.
const trialTrips = 16

// trialNarrow is how many usual excesses below the least of the first six no later one is, if these came over one route: each of them would have had to
// wait that long.
const trialNarrow = 2

// trial is what was known before a longer route was believed in. Six long waits in a queue can be alike by chance, but the next ones are not: a
// round trip well below those takes the route back, and what was made of it.
type trial struct {
	left   int // round trips until the route is believed; 0: it is
	bank   bank
	at     ntp.Local
	origin time.Duration
	noise  delayNoise
	ways   ways
	routes routes
}

// begin keeps what t knows before it follows a longer route.
func (r *trial) begin(t *tracker) {
	r.left, r.bank, r.at, r.origin = trialTrips, t.bank, t.s.at, t.s.origin
	r.noise, r.ways, r.routes = t.noise, t.ways, t.routes
}

// refutes counts a round trip, and reports whether it could not have been over a route of the length that is on trial.
func (r *trial) refutes(floor, delay time.Duration) bool {
	if r.left == 0 {
		return false
	}
	r.left--
	longer := floor - r.noise.floor
	far := max(min(trialNarrow*r.noise.width(), longer/2), time.Duration(routeShare*float64(longer)))
	return delay < floor-far
}

// takeBack makes what was on trial undone. Its round trips were waits in a queue.
func (t *tracker) takeBack() {
	r := &t.trial
	queued := t.noise
	t.bank, t.s.origin = r.bank, r.origin
	t.bank.predict(t.s.at.Sub(r.at).Seconds())
	t.noise, t.ways, t.routes = r.noise, r.ways, r.routes
	t.routes.n, t.routes.shorter = 0, false
	for i := range queued.live {
		x := queued.trips[i] // none was dropped yet, so the ring begins with the oldest
		t.noise.add(x.at, x.delay)
	}
	t.forget()
	t.bends.restart()
}

// forget drops what was kept in case that the latest samples were misunderstood: what was believed then is not so any more.
func (t *tracker) forget() { t.surprise.n, t.calm.left, t.trial.left = 0, 0, 0 }
