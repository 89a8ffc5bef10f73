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
	// yieldGap is how long a worker whose waits are brief goes on without giving way: less than the 10 ms after which the
	// runtime makes it, at any moment.
	yieldGap = 4 * time.Millisecond
)

// pace tells whether traffic is recent: whether the next datagram is likely to come within briefWait. It reads no
// clock; the stamps of the datagrams tell.
type pace struct {
	last    ntp.Timestamp // of the latest batch
	quick   int           // gaps in a row that were quick, up to quickGaps
	yielded ntp.Timestamp // of the batch after which the worker gave way last
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

// yields reports whether the worker should give way now, and takes it for done. A step of the clock costs or spares it once.
func (p *pace) yields() bool {
	if d := p.last.Sub(p.yielded); d < yieldGap && d > -yieldGap {
		return false
	}
	p.yielded = p.last
	return true
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
