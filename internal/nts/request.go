package nts

import (
	"io"

	"ntp-daemon/internal/ntp"
)

// maxCookies bounds the cookies of one reply, before any of them costs a seal (CVE-2026-26076: ntpd-rs sealed
// as many as were asked for).
const maxCookies = 8

// maxPlainUID is the longest unique identifier, in bytes, that a request without any other NTS field may carry.
// Nobody sends more than 32; a longer one is an NTS request with a damaged length that swallows the rest, and
// that must not get a time answer (row N09).
const maxPlainUID = 64

// RequestVerdict says what a server does with a request.
type RequestVerdict uint8

// The verdicts of Request.Open.
const (
	NotNTS  RequestVerdict = iota // answer plainly; AppendUID echoes a unique identifier if there is one
	Valid                         // authenticated: answer with AppendResponse
	SendNAK                       // answer with AppendNAK
	Drop                          // say nothing
)

// Request is a verified NTS request. The zero value is ready; reuse it, it keeps its buffers.
type Request struct {
	UID     []byte // unique identifier to echo, aliases the packet; nil without one
	Keys    Keys   // from the cookie; valid after the verdict Valid
	Cookies int    // wanted: 1 for the one spent and 1 for each placeholder, at most 8
}

// Open judges the request pkt, whose trailer f holds. ks may be nil: then no cookie opens. It allocates nothing
// once r has seen a request.
//
// NAK means that the client should run a key exchange, and only a request that is whole gets it: one unique
// identifier, one cookie and a well-formed authenticator behind them, with a cookie or a tag that does not
// verify. Everything else that looks like NTS is dropped (rows N04 to N08, N11).
func (r *Request) Open(pkt []byte, f *ntp.Fields, ks *KeySet, s *Sealer) RequestVerdict {
	r.UID, r.Cookies = nil, 0
	if len(pkt) < ntp.HeaderLen || !clientRequest(pkt[0]) || len(f.All()) == 0 {
		return NotNTS
	}
	outer, at, sealed := splitFields(f)
	ids, id := count(outer, ntp.FieldUniqueID)
	cookies, cookie := count(outer, ntp.FieldCookie)
	placeholders, _ := count(outer, ntp.FieldCookiePlaceholder)
	if ids == 1 && len(id) >= minUID {
		r.UID = id
	}
	if !sealed && cookies == 0 && placeholders == 0 {
		if len(id) > maxPlainUID {
			return Drop
		}
		return NotNTS
	}
	auth, whole := parseAuthenticator(at.Value)
	if r.UID == nil || cookies != 1 || !whole {
		return Drop
	}
	if !s.Open(ks, cookie, &r.Keys) {
		return SendNAK
	}
	if auth.reserved < pad4(min(maxNonce, r.Keys.Algorithm.NonceSize())) {
		return Drop
	}
	if !s.openRequest(&r.Keys, auth, pkt[:at.Offset]) {
		return SendNAK
	}
	if s.inner.Inner(s.plain) != nil {
		return Drop
	}
	if nested, _ := count(s.inner.All(), ntp.FieldAuthenticator); nested > 0 {
		return Drop
	}
	r.Cookies = min(maxCookies, 1+fitting(outer, len(cookie))+fitting(s.inner.All(), len(cookie)))
	return Valid
}

// clientRequest reports whether version and mode are those of a client's NTPv4 request; only that carries
// extension fields (row N23).
func clientRequest(first byte) bool {
	return first>>3&7 == 4 && ntp.Mode(first&7) == ntp.ModeClient
}

// fitting counts the placeholders that are as long as the cookie (RFC 8915 §5.5); others get no cookie.
func fitting(fields []ntp.Field, size int) (n int) {
	for i := range fields {
		if fields[i].Type == ntp.FieldCookiePlaceholder && len(fields[i].Value) == size {
			n++
		}
	}
	return n
}

// AppendResponse appends the NTS fields of a reply to dst, which holds the reply from its first byte: the
// unique identifier and the authenticator with as many fresh cookies as were asked for and fit, all encrypted.
// The whole packet is not longer than limit, the length of the request. dst must not overlap the request, whose
// unique identifier is still needed. False, with dst as it was: not even an
// authenticator without cookies fits, r is not Valid, or rnd fails. It allocates nothing if dst has room.
func (r *Request) AppendResponse(dst []byte, ks *KeySet, s *Sealer, rnd io.Reader, limit int) ([]byte, bool) {
	if r.UID == nil || ks == nil || s.s2c.Rekey(r.Keys.Algorithm, r.Keys.S2C) != nil {
		return dst, false
	}
	packet := r.AppendUID(dst)
	room := limit - len(packet) - authenticatorSize(r.Keys.Algorithm, 0)
	if room < 0 {
		return dst, false
	}
	cookies := min(r.Cookies, maxCookies, room/(fieldHeader+cookieSize(r.Keys.Algorithm)))
	nonces := s.random[:(1+cookies)*maxNonce]
	if _, err := io.ReadFull(rnd, nonces); err != nil {
		return dst, false
	}
	nonce := nonces[:r.Keys.Algorithm.NonceSize()]
	s.plain = s.empty()
	s.pack(&r.Keys)
	for i := range cookies {
		s.plain = appendCookieField(s.plain, cookieSize(r.Keys.Algorithm))
		s.plain = s.appendCookie(s.plain, ks, nonces[(1+i)*maxNonce:][:maxNonce])
	}
	return appendAuthenticator(packet, &s.s2c, nonce, s.plain), true
}

// AppendNAK appends a whole NTSN packet in answer to the request with header h: leap unknown, stratum 0, the
// request's transmit timestamp as origin, no time, and the unique identifier (row N12). It is shorter than any
// request that Open gives SendNAK.
func (r *Request) AppendNAK(dst []byte, h *ntp.Header) []byte {
	nak := ntp.Header{
		Leap:    ntp.LeapUnknown,
		Version: h.Version,
		Mode:    ntp.ModeServer,
		Poll:    h.Poll,
		RefID:   ntp.KissNTSN,
		Origin:  h.Transmit,
	}
	return r.AppendUID(nak.AppendTo(dst))
}

// AppendUID appends the unique identifier field of the request, if it had one, to a reply.
func (r *Request) AppendUID(dst []byte) []byte {
	if r.UID == nil {
		return dst
	}
	return ntp.AppendField(dst, ntp.FieldUniqueID, r.UID)
}
