package server

import (
	"sync/atomic"

	"ntp-daemon/internal/ntp"
)

// throughput counts the answers of a second of the steered clock. One worker counts, anybody may read.
type throughput struct {
	seconds [2]atomic.Uint64 // second in the high word, answers in it in the low word: those of even and of odd seconds
}

// count enters n answers to requests that came at t.
func (t *throughput) count(at ntp.Timestamp, n int) {
	second := uint64(at) >> 32
	w := &t.seconds[second&1]
	old := w.Load()
	if old>>32 != second {
		old = second << 32
	}
	w.Store(old + uint64(n))
}

// during returns the answers of the whole second before now.
func (t *throughput) during(now ntp.Timestamp) uint64 {
	second := uint64(now-1<<32) >> 32
	if w := t.seconds[second&1].Load(); w>>32 == second {
		return w & (1<<32 - 1)
	}
	return 0
}
