package server

import "ntp-daemon/internal/ntp"

// Sending is what the worker has to know about the answer that Respond made last.
type Sending struct {
	Interleaved bool   // the answer is an interleaved one
	Stamped     bool   // the kernel's transmit stamp of the answer is wanted: Interleaves.Sent takes it
	ID          uint32 // for that
}

// Sending tells about the latest answer.
func (r *Responder) Sending() Sending { return r.sending }

// setStamps fills in origin, receive and transmit time of an answer, interleaved if that was asked for and can be
// (RFC 9769 §2):
//
//	             origin               receive        transmit
//	basic        request's transmit   T2             T3, read from the clock, last
//	interleaved  request's receive    T2             the kernel's T3 of the answer whose T2 is the request's origin
//
// Receive stamps are odd and transmit stamps even: both cost a quarter of a nanosecond at most. So the two never are
// the same, and an origin tells whether the client keeps our receive stamps. Clients that send none of them, or ours of
// the transmit field as ntpd does, leave the table untouched (IL05).
func (r *Responder) setStamps(h *ntp.Header, x *timeRequest) {
	d, table := x.datagram, r.config.Interleaves
	h.Origin = x.header.Transmit
	if !d.Epoch.covers(d.Received) { // T2 may be of another time scale than T3, which then stands for both
		h.Receive, h.Transmit = orderStamps(0, even(x.readClock()))
		return
	}
	if table == nil {
		h.Receive, h.Transmit = orderStamps(d.Received, x.readClock())
		return
	}
	t2 := d.Received | 1
	if wantsInterleaved(x.header, t2) {
		client := table.client(d.From.Addr())
		sent, proven := table.redeem(client, x.header.Origin, t2, d.Epoch.Number)
		t2, r.sending.ID, r.sending.Stamped = table.save(client, t2, d.Epoch, proven)
		if !sent.IsZero() {
			h.Origin, h.Receive, h.Transmit = x.header.Receive, t2, sent
			r.sending.Interleaved = true
			if x.now().Before(d.Received) { // the clock was stepped back since
				r.sending.Stamped = false
			}
			return
		}
	}
	h.Receive, h.Transmit = orderStamps(t2, even(x.readClock()))
	if h.Receive != t2 { // the clock was stepped back: what was saved is not what is sent
		r.sending.Stamped = false
	}
}

// wantsInterleaved reports whether a request may be one in interleaved mode: its origin can be a receive stamp of ours, and its
// own two stamps differ, so that the client can tell a basic answer from an interleaved one (RFC 9769 §2).
func wantsInterleaved(h *ntp.Header, now ntp.Timestamp) bool {
	return h.Origin&1 != 0 && h.Version == 4 && h.Mode == ntp.ModeClient && h.Receive != h.Transmit &&
		h.Origin.Before(now) && now-h.Origin < longestGap<<32
}

// even is t as a transmit stamp, never the "unknown" value.
func even(t ntp.Timestamp) ntp.Timestamp {
	if t &^= 1; t.IsZero() {
		return 2
	}
	return t
}
