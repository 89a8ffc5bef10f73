package ntp

import (
	"fmt"
	"time"
)

// SourceID names one association for the life of the process; increasing, never reused.
type SourceID uint64

// String has the form of the reference suite's logs.
func (id SourceID) String() string { return fmt.Sprintf("SourceId(%d)", uint64(id)) }

// StampOrigin says where a timestamp was taken, from best to worst.
type StampOrigin uint8

// The places where a timestamp can be taken.
const (
	OriginUser     StampOrigin = iota // clock read by the program, scheduling noise included
	OriginKernel                      // by the kernel's network stack
	OriginHardware                    // by the network card
)

// Stamp is a timestamp with the place where it was taken. Clock 0 is the system clock, n > 0 hardware clock n-1.
type Stamp struct {
	Time   Timestamp
	Origin StampOrigin
	Clock  uint8
}

// Kind tells how a measurement relates two clocks.
type Kind uint8

// The kinds of measurement.
const (
	TwoWay Kind = iota // request and reply: T1…T4
	OneWay             // time sent to us: T3, T4
	Pulse              // start of a period: T4 modulo Period
)

// Measurement is one accepted exchange with a source. Time values are the raw stamps; Place adds what the
// estimator needs.
type Measurement struct {
	Source SourceID
	Kind   Kind

	T1 Stamp // our transmit time
	T2 Stamp // the server's receive time
	T3 Stamp // the server's transmit time
	T4 Stamp // our receive time

	Period         time.Duration // of a Pulse
	RootDelay      time.Duration // claimed by the source, ≥ 0
	RootDispersion time.Duration // claimed by the source, ≥ 0
	Precision      time.Duration // of the source's clock, > 0
	Poll           PollExp       // our interval when the request was sent
	PollMin        PollExp       // the shortest one that is allowed
	Stratum        Stratum
	Leap           LeapIndicator
	RefID          RefID
	Reference      Timestamp
	OurRefID       RefID // what the source would show if it followed us over this path; 0: unknown, or loopback
	Version        uint8
	Authenticated  bool   // protected by NTS
	Interleaved    bool   // RFC 9769
	Epoch          uint64 // clock epoch in which T1 and T4 were taken

	// Set by Ledger.Place.
	At      Local         // midpoint of T1 and T4 on the bare oscillator
	TrueGap time.Duration // true time minus Local at At: the estimator's observable. counted from the ledger's first reading
	RTT     time.Duration // round trip on the bare oscillator, server's processing taken out; may be ≤ 0
}

// Offset returns ((T2-T1)+(T3-T4))/2: how far our clock is behind the source; positive means we are slow
// (RFC 5905 §8).
func (m *Measurement) Offset() time.Duration {
	a, b := m.T2.Time.Sub(m.T1.Time), m.T3.Time.Sub(m.T4.Time)
	return a/2 + b/2 + (a%2+b%2)/2
}

// Held returns T3-T2: how long the server says it had the request. Nobody but the server can know.
func (m *Measurement) Held() time.Duration { return m.T3.Time.Sub(m.T2.Time) }

// Delay returns (T4-T1)-(T3-T2): the round trip without the server's processing (RFC 5905 §8). It may be ≤ 0
// when clocks differ in rate or stamps are coarse; the caller clamps.
func (m *Measurement) Delay() time.Duration {
	return m.T4.Time.Sub(m.T1.Time) - m.T3.Time.Sub(m.T2.Time)
}

const (
	// stampSlack is what software time stamps may be wrong by on a path that is shorter than their own noise.
	stampSlack = 100 * time.Microsecond
	// rateSlack is by how much two clocks may differ in rate while one of them holds a request, s/s: both at the kernel's
	// limit of 500 ppm.
	rateSlack = 1e-3
)

// ImpossibleDelay reports whether no path can have such a round trip: a server that held the request for held had it for
// longer than it was away, by more than the precision of its stamps (> 0), ours, and the rates of two clocks explain. RFC
// 5905 §8 lets the delay be negative for those reasons only.
func ImpossibleDelay(delay, held, precision time.Duration) bool {
	return delay < -(stampSlack + precision + time.Duration(float64(max(held, 0))*rateSlack))
}
