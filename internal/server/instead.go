package server

import "ntp-daemon/internal/ntp"

// Template returns the header of every reply made from v, nil for a clock that was never synchronised, but for what depends on
// the request and on the time: version, mode, poll, origin, receive and transmit are zero, and the root dispersion is that at
// the reference timestamp. It is for who answers instead of a Responder (package fastpath).
func Template(v *ntp.View) ntp.Header {
	var h ntp.Header
	if v == nil {
		setSystem(&h, nil, 0)
	} else {
		setSystem(&h, v, v.Reference)
	}
	return h
}

// AddAnswered adds n requests that somebody else answered with time.
func (t *Totals) AddAnswered(n uint64) {
	t.Received += n
	t.Accepted += n
	t.ByVerdict[Answered] += n
}
