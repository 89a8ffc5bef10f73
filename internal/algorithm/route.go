package algorithm

import (
	"math"
	"slices"
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	// routeFar is by how many median excesses above the least round trip one is unusual, or below it.
	routeFar = 6
	// routeKnown is how many round trips must have been seen before one is unusual.
	routeKnown = startDepth
	// routeConfirm is how many unusual round trips in a row, all alike but one, are a new route.
	routeConfirm = 6
	// routeSuspect is how many of them, alike, are worth asking again at once.
	routeSuspect = 2
	// routeNarrow and routeShare say what alike is: above the least of them by no more than so many median excesses, or than a share
	// of what they are longer.
	routeNarrow = 4
	routeShare  = 0.15
	// routeBetter: a route that is new and shorter than this share of all others knows the time better, because half of its round trip
	// is the most that it can be wrong by.
	routeBetter = 0.75
	// routeWrong: when b was beyond what it can be by more than a quarter of that, nothing but that is known of it; the square.
	routeWrong = 1. / 16
	// maxRoutes is how many routes are remembered besides the present one.
	maxRoutes = 4
	// routeTrips is how many round trips are kept of each.
	routeTrips = 32
)

// routes notices changes of the way to a source, and remembers ways that were left (equations 7a to 7c). Another way has other delays, and
// what is not the same in both directions becomes an offset b of all samples. What is known of the time does not change with the route:
// it tells what b is, within what half of the change allows.
type routes struct {
	unusual [routeConfirm]trip // round trips in a row that were longer than usual, from the oldest, not counted in the noise yet
	n       int
	shorter bool          // the latest one was shorter than all before…
	short   time.Duration // …by this it was not counted yet

	left  [maxRoutes]route
	known int // of them
	next  int // of them, to be forgotten next

	better bool // the time is to be taken from the next sample
}

// route is what was known of a way when it was left.
type route struct {
	floor, excess time.Duration
	trips         [routeTrips]time.Duration // some of its round trips, from the shortest
	live          int
	bias, doubt   float64 // b, s, and its variance
}

// travel counts a round trip, and finds out whether the route has changed.
func (t *tracker) travel(at ntp.Local, delay time.Duration) {
	d, r := &t.noise, &t.routes
	if t.trial.refutes(d.floor, delay) {
		t.takeBack()
	}
	switch far, above := d.far(), delay-d.floor; {
	case d.live < routeKnown && r.known == 0, above.Abs() <= far:
		for _, x := range r.unusual[:r.n] {
			d.add(x.at, x.delay)
		}
		r.n, r.shorter = 0, false
		d.add(at, delay)
	case above < 0:
		t.shorter(at, delay)
	default:
		t.longer(at, delay)
	}
}

// longer takes in a round trip that is longer than usual: queues and new routes do that, and only new routes again and again by the same
// (equation 7a).
func (t *tracker) longer(at ntp.Local, delay time.Duration) {
	d, r := &t.noise, &t.routes
	r.shorter = false
	if r.n == routeConfirm {
		d.add(r.unusual[0].at, r.unusual[0].delay)
		copy(r.unusual[:], r.unusual[1:])
		r.n--
	}
	r.unusual[r.n] = trip{at, delay}
	r.n++
	if r.n < routeConfirm {
		if n := r.n - routeSuspect; n >= 0 && d.alike(r.unusual[n].delay, delay) {
			t.haste.want()
		}
		return
	}
	var sorted [routeConfirm]time.Duration
	for i := range r.unusual {
		sorted[i] = r.unusual[i].delay
	}
	slices.Sort(sorted[:])
	if last := sorted[routeConfirm-2]; d.alike(sorted[0], last) && last-sorted[0] <= (sorted[0]-d.floor)/2 {
		trips := r.unusual
		t.turn(r.find(sorted[0], d.width()), at, trips[:])
	}
}

// shorter takes in a round trip that is shorter than all before. No queue does that: back on a route that is known one is enough, and two
// that are alike are a new one.
func (t *tracker) shorter(at ntp.Local, delay time.Duration) {
	d, r := &t.noise, &t.routes
	r.n = 0
	if known := r.find(delay, d.width()); known >= 0 {
		t.turn(known, at, []trip{{at, delay}})
		return
	}
	if !r.shorter || !d.alike(r.short, delay) {
		r.shorter, r.short = true, delay
		return
	}
	t.turn(-1, at, []trip{{at, min(delay, r.short)}})
}

// alike reports whether two round trips, both far from the usual ones, may be over the same route.
func (d *delayNoise) alike(a, b time.Duration) bool {
	return (a - b).Abs() <= max(routeNarrow*d.width(), time.Duration(routeShare*float64((min(a, b)-d.floor).Abs())))
}

// find returns the route that a round trip belongs to (equation 7b), -1 for none.
func (r *routes) find(delay, excess time.Duration) int {
	for i := range r.left[:r.known] {
		l := &r.left[i]
		q := max(l.excess, excess)
		if delay >= l.floor-routeNarrow*q && delay <= l.floor+routeFar*q {
			return i
		}
	}
	return -1
}

// turn leaves the present route for one that is known, or for a new one with known = -1, of which some round trips are given.
func (t *tracker) turn(known int, at ntp.Local, trips []trip) {
	d, r := &t.noise, &t.routes
	old := d.route()
	old.bias, old.doubt = t.bank.bias()
	t.forget() // it believes in the old one
	if known < 0 && trips[0].delay > d.floor && t.fresh > routeConfirm {
		t.trial.begin(t)
	}
	r.n, r.shorter = 0, false
	t.bends.restart()
	d.restart()
	switch {
	case known >= 0:
		back := r.left[known]
		r.left[known] = old
		t.bank.setBias(back.bias, back.doubt)
		for _, delay := range back.trips[:back.live] {
			d.add(at, delay)
		}
	case t.fresh <= routeConfirm: // all that is known of the time came this way
		r.known, r.better = 0, true
	default:
		t.explore(&old, trips)
	}
	for _, x := range trips {
		d.add(x.at, x.delay)
	}
}

// explore begins to follow a route that is new.
func (t *tracker) explore(old *route, trips []trip) {
	r := &t.routes
	least := trips[0].delay
	for _, x := range trips {
		least = min(least, x.delay)
	}
	if r.better = float64(least) < routeBetter*float64(r.shortest(old.floor)); !r.better {
		change := (least - old.floor).Seconds() / 2
		t.bank.doubtBias(float64(change * change / 3))
	}
	r.keep(old)
}

// route returns what is known of the present route, the offset apart.
func (d *delayNoise) route() route {
	r := route{floor: d.floor, excess: d.width(), live: min(d.live, routeTrips)}
	for i := range r.live {
		r.trips[i] = d.sorted[i*d.live/r.live]
	}
	return r
}

// shortest is the least round trip of all routes.
func (r *routes) shortest(floor time.Duration) time.Duration {
	for i := range r.left[:r.known] {
		floor = min(floor, r.left[i].floor)
	}
	return floor
}

// keep remembers a route that was left.
func (r *routes) keep(old *route) {
	if r.known < maxRoutes {
		r.left[r.known] = *old
		r.known++
		return
	}
	r.left[r.next] = *old
	r.next = (r.next + 1) % maxRoutes
}

// believe takes the time from a sample over a route that is better than those before it. What they were off by shows now
// (equation 7c).
func (t *tracker) believe(m *ntp.Measurement, o *[laws]observation) {
	t.routes.better = false
	t.bank.setBias(0, 0)
	before := t.s.predict(m.At, t.intensity)
	t.seed(m, o)
	t.forget()
	t.routes.blame(before.above(t.s.origin) - t.s.x)
}

// blame adds to the offsets of the routes that were left by how much the time was above what it is taken for now.
func (r *routes) blame(change float64) {
	for i := range r.left[:r.known] {
		r.left[i].bias += change
	}
}

// yield takes the word of others, who say that true time minus Local is gap, where this source is in conflict with them and its route can be
// the reason: the difference goes into b, as far as the route is longer than the shortest one that is known.
func (t *tracker) yield(at ntp.Local, gap time.Duration, variance float64) {
	if t.routes.known == 0 {
		return
	}
	now := t.s.predict(at, t.intensity)
	change := -now.above(gap)
	longest := (t.noise.floor - t.routes.shortest(t.noise.floor)).Seconds() / 2
	if b, _ := t.bank.bias(); math.Abs(b-change) > longest {
		return
	}
	t.bank.yield(change, variance)
	t.forget()
	t.settle()
}

// bend keeps b within what a route can do: no more than half of its round trip, and of one that is longer than the shortest known half of the
// difference, beside what that one has. The rest was the time's. To be asked whenever b or the floor may have changed (equation 7d).
func (t *tracker) bend() {
	b, variance := t.bank.bias()
	if b == 0 || t.routes.better {
		return
	}
	most, whole := t.most()
	change := b - clamp(b, most)
	if change == 0 {
		return
	}
	if whole { // the time of the routes before was wrong, too
		t.routes.blame(-change)
	}
	if v := float64(most * most / 3); float64(change*change) > max(variance, float64(most*most*routeWrong)) || variance > 2*v {
		t.bank.yield(change, v)
		t.surprise.n, t.calm.left = 0, 0
		return
	}
	t.bank.move(change)
}

// most is the largest size of b, s, and whether that is half of the whole round trip.
func (t *tracker) most() (most float64, whole bool) {
	d := &t.noise
	half := d.floor.Seconds() / 2
	shortest, bias := d.floor, 0.
	for i := range t.routes.left[:t.routes.known] {
		if l := &t.routes.left[i]; l.floor < shortest {
			shortest, bias = l.floor, min(math.Abs(l.bias), l.floor.Seconds()/2)
			most = float64((d.floor-shortest).Seconds()/2) + bias + min(l.excess, d.excess).Seconds()
		}
	}
	if shortest == d.floor || most > half {
		return half, true
	}
	return most, false
}

// pathBias bounds the offset that is attributed to the route and not to the time, s: its size and three sigma.
func (t *tracker) pathBias() (bound float64) {
	mean, variance := t.bank.bias()
	return math.Abs(mean) + float64(biasSigmas*math.Sqrt(variance))
}

// biasSigmas turns one sigma of b into a bound.
const biasSigmas = 3
