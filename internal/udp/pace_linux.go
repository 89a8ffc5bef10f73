package udp

import (
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	// briefWait is how long a brief wait lasts at most. The kernel rounds it up to its ticks (1 to 10 ms).
	briefWait = 2 * time.Millisecond
	// quickGap is the time between two batches below which a brief wait mostly ends with a datagram.
	quickGap = briefWait / 2
	// quickGaps in a row make traffic recent: a lone pair of requests does not.
	quickGaps = 4
)

// pace tells whether traffic is recent: whether the next datagram is likely to come within briefWait. It reads no
// clock; the stamps of the datagrams tell.
type pace struct {
	last  ntp.Timestamp // of the latest batch
	quick int           // gaps in a row that were quick, up to quickGaps
}

// arrived enters the stamp of a batch and reports whether traffic is recent. A step of the clock costs or gives a few
// brief waits.
func (p *pace) arrived(at ntp.Timestamp) bool {
	if gap := at.Sub(p.last); gap > quickGap || gap < -quickGap {
		p.quick = 0
	} else if p.quick < quickGaps {
		p.quick++
	}
	p.last = at
	return p.quick == quickGaps
}

// take takes the right to wait briefly, if there is one left. It writes nothing otherwise: a socket asks after each batch.
func (w *BriefWaits) take() bool {
	if w == nil {
		return true
	}
	for n := w.free.Load(); n > 0; n = w.free.Load() {
		if w.free.CompareAndSwap(n, n-1) {
			return true
		}
	}
	return false
}

// give gives the right back.
func (w *BriefWaits) give() {
	if w != nil {
		w.free.Add(1)
	}
}
