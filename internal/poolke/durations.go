package poolke

import (
	"math"
	"slices"
	"sync/atomic"
	"time"

	"ntp-daemon/internal/observe"
)

// durationEdges are the upper ends of the buckets: ten to a power of ten (the preferred numbers R10), from 100 us to 10 s, so
// that a percentile is read off to within a quarter. Every bound of observe.DurationBounds is one of them.
var durationEdges = func() (edges []time.Duration) {
	for decade := 100 * time.Microsecond; decade < 10*time.Second; decade *= 10 {
		for _, hundredths := range []time.Duration{100, 125, 160, 200, 250, 315, 400, 500, 630, 800} {
			edges = append(edges, decade*hundredths/100)
		}
	}
	return append(edges, 10*time.Second)
}()

// durationBuckets are those of durationEdges and one for what took longer.
const durationBuckets = 5*10 + 1 + 1

// durations counts how long something took. Any number of goroutines may observe; nobody waits, nothing is allocated.
type durations struct {
	counts [durationBuckets]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

// observe counts one.
func (d *durations) observe(took time.Duration) {
	i, _ := slices.BinarySearch(durationEdges, took)
	d.counts[i].Add(1)
	d.sum.Add(int64(took))
}

// durationCounts are the counts of one moment.
type durationCounts [durationBuckets]uint64

// read is the counts now; events that are observed meanwhile may be in or not.
func (d *durations) read() (c durationCounts) {
	for i := range d.counts {
		c[i] = d.counts[i].Load()
	}
	return c
}

// since is what was added after earlier.
func (c durationCounts) since(earlier durationCounts) durationCounts {
	for i := range c {
		c[i] -= earlier[i]
	}
	return c
}

// total is how many there are.
func (c durationCounts) total() (n uint64) {
	for _, k := range c {
		n += k
	}
	return n
}

// quantile is the time that a share q of them did not exceed, on a straight line through its bucket; false without any.
// What took longer than the last edge counts as that edge.
func (c durationCounts) quantile(q float64) (time.Duration, bool) {
	n := float64(c.total())
	if n == 0 {
		return 0, false
	}
	rank, below := q*n, 0.0
	for i, k := range c {
		if k == 0 || below+float64(k) < rank {
			below += float64(k)
			continue
		}
		if i == len(durationEdges) {
			break
		}
		low := time.Duration(0)
		if i > 0 {
			low = durationEdges[i-1]
		}
		return low + time.Duration(float64(durationEdges[i]-low)*(rank-below)/float64(k)), true
	}
	return durationEdges[len(durationEdges)-1], true
}

// observed is what readers see; earlier are the counts of five minutes ago.
func (d *durations) observed(earlier durationCounts) observe.Durations {
	now := d.read()
	o := observe.Durations{Count: now.total(), Sum: time.Duration(d.sum.Load()).Seconds(), Buckets: []uint64{}}
	for _, bound := range observe.DurationBounds() {
		i, _ := slices.BinarySearch(durationEdges, time.Duration(math.Round(bound*1e9)))
		o.Buckets = append(o.Buckets, now.upTo(i))
	}
	recent := now.since(earlier)
	for q, to := range map[float64]**float64{0.5: &o.P50, 0.9: &o.P90, 0.99: &o.P99} {
		if t, ok := recent.quantile(q); ok {
			s := t.Seconds()
			*to = &s
		}
	}
	return o
}

// upTo is how many are in the buckets up to i.
func (c durationCounts) upTo(i int) (n uint64) {
	for _, k := range c[:i+1] {
		n += k
	}
	return n
}
