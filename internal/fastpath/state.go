package fastpath

import (
	"math"
	"time"

	"ntp-daemon/internal/ntp"
)

// State is what a reply is made of: the header as the daemon would send it, without what depends on the request and the time.
type State struct {
	Header     []byte `json:"header"`          // ntp.HeaderLen bytes
	Reference  uint64 `json:"reference"`       // the reference timestamp
	Dispersion uint64 `json:"dispersion"`      // root dispersion at that time, 2^-32 s, rounded up
	Rate       uint64 `json:"rate"`            // its growth, 2^-48 s/s, rounded up
	Rests      string `json:"rests,omitempty"` // why nothing is to be answered; empty: answer
}

// Bounds of what travels: a larger root dispersion is shown as the largest there is, and the program passes a larger growth on.
const (
	maxDispersion = 1 << 48
	maxRate       = 1 << 48
)

// leapRests says why a leap second stops the fast path: while one is inserted, TAI and the offset that the kernel's program
// was told give a time that is a second wrong, and nothing that the program can read shows it.
const leapRests = "a leap second is announced"

// NewState makes the state of a view. h is the header that the daemon answers with (server.Template).
func NewState(h ntp.Header, v *ntp.View) State {
	s := State{Header: h.AppendTo(nil), Reference: uint64(h.Reference)}
	if v == nil {
		return s
	}
	s.Dispersion = fixed(v.Dispersion)
	s.Rate = maxRate
	if r := math.Ceil(v.Rate() * (1 << 48)); r < maxRate { // no number is none that is small
		s.Rate = uint64(r)
	}
	if v.Leap == ntp.LeapInsert || v.Leap == ntp.LeapDelete {
		s.Rests = leapRests
	}
	return s
}

// fixed converts to 2^-32 s, rounded up.
func fixed(d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	sec, ns := uint64(d)/uint64(time.Second), uint64(d)%uint64(time.Second)
	return min(sec<<32+(ns<<32+uint64(time.Second)-1)/uint64(time.Second), maxDispersion)
}
