package server

import "ntp-daemon/internal/ntp"

// refIDInit stands where the system variables have no reference identifier yet (RFC 5905 figure 13).
var refIDInit = ntp.RefIDFromString("INIT")

// appendTime appends the header of a reply with time. The clock is read last.
func (r *Responder) appendTime(dst []byte, v *ntp.View, x *timeRequest) []byte {
	h := *r.system.at(v, x.datagram.Received)
	h.Version, h.Mode, h.Poll = x.header.Version, answerMode(x.header.Mode), x.header.Poll
	r.setStamps(&h, x)
	return h.AppendTo(dst)
}

// systemSpan is how long the system variables of a reply are used again: about 4 ms, in which the root dispersion grows by less than a
// hundredth of its unit at the 15 ppm of RFC 5905.
const systemSpan ntp.Timestamp = 1 << 32 / 256

// systemHeader is a header with the system variables of a View for requests that came in the systemSpan from a moment on. Its root
// dispersion is that of the end, since it is a bound.
type systemHeader struct {
	view   *ntp.View
	from   ntp.Timestamp
	header ntp.Header
}

func newSystemHeader(v *ntp.View, from ntp.Timestamp) (s systemHeader) {
	s.view, s.from = v, from
	setSystem(&s.header, v, from+systemSpan)
	return s
}

// at returns the header for a request that came at t, made anew if this one is of another View or time.
func (s *systemHeader) at(v *ntp.View, t ntp.Timestamp) *ntp.Header {
	if v != s.view || t-s.from >= systemSpan {
		*s = newSystemHeader(v, t)
	}
	return &s.header
}

// setSystem fills in the system variables. A clock that is not synchronised says leap 3 and stratum 0
// (RFC 5905 figure 11: 16 travels as 0, as chrony does it), with a reference identifier that is no kiss code.
func setSystem(h *ntp.Header, v *ntp.View, at ntp.Timestamp) {
	if v == nil {
		h.Leap, h.RefID = ntp.LeapUnknown, refIDInit
		return
	}
	h.Leap, h.Stratum, h.RefID = v.Leap, v.Stratum, v.RefID
	h.Precision = v.Precision
	h.RootDelay = ntp.ShortFrom(v.RootDelay)
	h.RootDispersion = ntp.ShortFrom(v.RootDispersion(at))
	h.Reference = v.Reference
	if v.Synchronized && v.Leap != ntp.LeapUnknown && v.Stratum > 0 && v.Stratum < ntp.MaxStratum {
		return
	}
	h.Leap, h.Stratum = ntp.LeapUnknown, 0
	switch h.RefID {
	case 0, ntp.KissRATE, ntp.KissDENY, ntp.KissRSTR, ntp.KissNTSN:
		h.RefID = refIDInit
	}
}

// orderStamps returns T2 and T3 such that T3 is strictly later and neither is the "unknown" value, whatever the
// clock did in between (S13). T3 is the fresher reading, so T2 gives way.
func orderStamps(received, now ntp.Timestamp) (t2, t3 ntp.Timestamp) {
	t2, t3 = received, now
	if t3.IsZero() {
		t3 = 1
	}
	if t2.IsZero() || !t2.Before(t3) {
		t2 = t3 - 1
	}
	if t2.IsZero() {
		t2--
	}
	return t2, t3
}

// appendKiss appends a kiss-o'-death header (RFC 5905 §7.4). Its stamps are the request's own, not zero,
// because clients check that first, and not time either.
func appendKiss(dst []byte, req *ntp.Header, code ntp.KissCode, poll int8) []byte {
	h := ntp.Header{
		Leap:     ntp.LeapUnknown,
		Version:  req.Version,
		Mode:     answerMode(req.Mode),
		Poll:     poll,
		RefID:    code,
		Origin:   req.Transmit,
		Receive:  req.Transmit,
		Transmit: req.Transmit + 1,
	}
	return h.AppendTo(dst)
}

// clampPoll limits the poll exponent that is sent back.
func clampPoll(p int8) int8 { return int8(ntp.PollExp(p).Clamp()) }
