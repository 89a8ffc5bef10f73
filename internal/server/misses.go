package server

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// missShift: errors below 2^missShift ns share the first bucket.
	missShift = 6
	// missSteps buckets for each doubling, so that a quantile is right to an eighth.
	missSteps = 4
	// missBuckets reach to 59 ms; what is longer counts there, too.
	missBuckets = 20 * missSteps
	// missMemory is how many errors are remembered: from there on all counts are halved.
	missMemory = 1024
)

// Misses is the distribution of the errors of our transmit times of late, without their signs. One worker counts,
// anybody may read.
type Misses struct {
	measured atomic.Uint64 // since the start
	buckets  [missBuckets]atomic.Uint32
	recent   uint32 // sum of the buckets, the worker's own
}

// count enters one error.
func (m *Misses) count(d time.Duration) {
	m.measured.Store(m.measured.Load() + 1)
	b := &m.buckets[missBucket(d.Abs())]
	b.Store(b.Load() + 1)
	if m.recent++; m.recent < missMemory {
		return
	}
	m.recent = 0
	for i := range m.buckets {
		half := m.buckets[i].Load() / 2
		m.buckets[i].Store(half)
		m.recent += half
	}
}

// missBucket is the bucket of an error that is not negative.
func missBucket(d time.Duration) int {
	if d < 1<<missShift {
		return 0
	}
	octave := bits.Len64(uint64(d)) - 1
	step := int(uint64(d)>>(octave-2)) & (missSteps - 1)
	return min((octave-missShift)*missSteps+step+1, missBuckets-1)
}

// missBound is the upper end of a bucket.
func missBound(bucket int) time.Duration {
	octave, step := bucket/missSteps, bucket%missSteps
	return time.Duration(missSteps+step) << (octave + missShift - 2)
}

// MissTotals are the errors of our transmit times of late, summed over workers.
type MissTotals struct {
	Measured uint64 // since the start
	buckets  [missBuckets]uint64
}

// addTo adds the distribution to t.
func (m *Misses) addTo(t *MissTotals) {
	t.Measured += m.measured.Load()
	for i := range m.buckets {
		t.buckets[i] += uint64(m.buckets[i].Load())
	}
}

// Quantile returns the error that the share q, 0 to 1, of the answers of late did not exceed; false without any.
func (t *MissTotals) Quantile(q float64) (time.Duration, bool) {
	sum := uint64(0)
	for _, n := range t.buckets {
		sum += n
	}
	if sum == 0 {
		return 0, false
	}
	below := uint64(0)
	for i, n := range t.buckets {
		if below += n; float64(below) >= q*float64(sum) {
			return missBound(i), true
		}
	}
	return missBound(missBuckets - 1), true
}
