package member

import (
	"sync/atomic"
	"time"
)

// rttWeight is the part of each new sample in the smoothed round trip time (RFC 6298 §2.3).
const rttWeight = 8

// meter measures the requests to one time source: how many are under way, and how long their answers take. Reading it
// takes no lock, because the choice of a time source for each user looks at all of them.
type meter struct {
	inFlight atomic.Int32
	rtt      average // of requests
	connect  average // of connecting, TLS included

	opened, resumed atomic.Uint64 // TLS handshakes in full, and resumed
	reused          atomic.Uint64 // requests on a connection that was kept
}

// connected counts a handshake; connecting took so long.
func (m *meter) connected(resumed bool, took time.Duration) {
	m.connect.sample(took)
	if resumed {
		m.resumed.Add(1)
	} else {
		m.opened.Add(1)
	}
}

// average is a smoothed duration; 0 before the first sample.
type average struct{ ns atomic.Int64 }

// sample takes in one duration, s > 0.
func (a *average) sample(s time.Duration) {
	for {
		old := a.ns.Load()
		next := int64(s)
		if old != 0 {
			next = old + (next-old)/rttWeight
		}
		if a.ns.CompareAndSwap(old, max(next, 1)) {
			return
		}
	}
}

func (a *average) value() time.Duration { return time.Duration(a.ns.Load()) }

// RTT is the smoothed time from the first byte of a request to the end of its answer, the work of the time source
// included and connecting left out; 0 before the first answer.
func (m *Client) RTT() time.Duration { return m.meter.rtt.value() }

// InFlight is how many requests are under way now, those that still connect included.
func (m *Client) InFlight() int { return int(m.meter.inFlight.Load()) }

// Condition is the state of the connections to a time source at one moment.
type Condition struct {
	Idle    int  // kept connections that wait for a request
	OneShot bool // it keeps none, so sessions are resumed

	Opened, Resumed uint64    // TLS handshakes so far: in full, and resumed ones
	Reused          uint64    // requests on connections that were kept
	NotAfter        time.Time // end of the certificate that it showed last; zero before the first
}

// Condition tells the state.
func (m *Client) Condition(now time.Time) Condition {
	c := Condition{Opened: m.meter.opened.Load(), Resumed: m.meter.resumed.Load(), Reused: m.meter.reused.Load()}
	m.mu.Lock()
	defer m.mu.Unlock()
	c.Idle, c.OneShot, c.NotAfter = len(m.idle), now.Before(m.oneShot), m.notAfter
	return c
}

// saw notes the end of the certificate that the time source has just shown.
func (m *Client) saw(notAfter time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notAfter = notAfter
}
