package record

import (
	"encoding/binary"
	"slices"

	"ntp-daemon/internal/nts/aead"
)

const (
	// MaxCookies is how many cookies of one answer are kept: RFC 8915 §4.1.6 suggests to send eight.
	MaxCookies = 8
	// MaxCookie is the longest cookie that is kept (ntpd-rs 1.5; a packet has room for little more).
	MaxCookie = 350
	// minCookie: an extension field cannot carry less without padding that the server would get back.
	minCookie = 4
)

// Response is the successful answer to a Plain or FixedKey request.
type Response struct {
	Protocol        Protocol
	Algorithm       aead.Algorithm
	CompliantExport bool     // record 1024: AEAD 30 keys are exported under id 30
	Cookies         [][]byte // 1 to MaxCookies when parsed
	Surplus         int      // cookies of a time source beyond MaxCookies, which were left out
	Server          string   // NTP server, a host name to be taken as absolute or an address; "" means the key exchange's own
	Port            uint16   // UDP port; 0 means not given, 123
	KeepAlive       bool     // the connection stays open
	Dialect         Dialect  // whose Keep Alive number is used; matters for Append only

	// Code is what the peer's Error record says; valid with the fault PeerError only.
	Code ErrorCode
}

// Append writes the whole answer behind dst.
func (r *Response) Append(dst []byte) []byte {
	dst = appendUint16s(dst, TypeNextProtocol, true, r.Protocol)
	dst = appendUint16s(dst, TypeAEAD, true, r.Algorithm)
	if r.CompliantExport {
		dst = appendHeader(dst, TypeCompliantExport, false, 0)
	}
	for _, c := range r.Cookies {
		dst = Append(dst, Record{Type: TypeCookie, Body: c})
	}
	if r.Server != "" {
		dst = appendText(dst, TypeServer, true, r.Server)
	}
	if r.Port != 0 {
		dst = appendUint16s(dst, TypePort, true, r.Port)
	}
	if r.KeepAlive {
		dst = appendPool(dst, r.Dialect, TypeKeepAlive, nil)
	}
	return appendEnd(dst)
}

// AppendNoProtocol writes the answer to a client that shares no protocol with us: an empty list, which is no
// error (RFC 8915 §4.1.2).
func AppendNoProtocol(dst []byte) []byte {
	return appendEnd(appendHeader(dst, TypeNextProtocol, true, 0))
}

// AppendNoAlgorithm writes the answer to a client that shares protocol p but no AEAD with us (§4.1.5).
func AppendNoAlgorithm(dst []byte, p Protocol) []byte {
	dst = appendUint16s(dst, TypeNextProtocol, true, p)
	return appendEnd(appendHeader(dst, TypeAEAD, true, 0))
}

// Offer is what the request offered; an answer must stay within it.
type Offer struct {
	Protocols  []Protocol
	Algorithms []aead.Algorithm
}

// ParseResponse reads a whole answer to a client, as strictly as RFC 8915 allows (rows KC04 to KC12). Cookies that no
// packet could carry are skipped, the first eight of the others kept. The values alias msg; Response is complete only
// if the fault is None, except for Code.
func ParseResponse(msg []byte, offer Offer) (Response, Fault) {
	p := responseParser{offer: offer, cookie: clientCookie}
	return p.parse(msg)
}

// ParseFixed reads a time source's whole answer to a FixedKey request for the one protocol and algorithm of
// the offer (docs/rules/pool.md#any-order). Unlike a client, a pool refuses the answer if a
// cookie is empty or too long (docs/rules/pool.md#time-source-answers): the time source is broken.
func ParseFixed(msg []byte, offer Offer) (Response, Fault) {
	p := responseParser{offer: offer, cookie: poolCookie}
	return p.parse(msg)
}

// responseParser collects one answer.
type responseParser struct {
	answerFaults
	offer  Offer
	cookie func(p *responseParser, c []byte) Fault
	resp   Response
	seen   [TypeToken + 1]bool
	// protocols and algorithms are as the peer listed them; judged at the end, so that an Error record
	// anywhere is the fault that is reported.
	protocols  []Protocol
	algorithms []aead.Algorithm
}

// parse reads the records and judges the whole.
func (p *responseParser) parse(msg []byte) (Response, Fault) {
	if f := p.walk(msg, p.take); f != None {
		return p.resp, f
	}
	return p.resp, p.agreed()
}

// take reads one record other than End of Message.
func (p *responseParser) take(r Record) Fault {
	t, _ := meaning(r, true)
	switch t {
	case TypeNextProtocol, TypeAEAD, TypeServer, TypePort:
		if p.seen[t] {
			return Duplicate
		}
		p.seen[t] = true
	}
	switch t {
	case TypeNextProtocol, TypeAEAD:
		return p.negotiation(t, r)
	case TypeError:
		return p.failure(r, &p.resp.Code)
	case TypeWarning:
		return PeerWarning // none is defined (RFC 8915 §4.1.4)
	case TypeCookie:
		return p.cookie(p, r.Body)
	case TypeServer, TypePort:
		return p.address(t, r)
	case TypeCompliantExport:
		if len(r.Body) != 0 {
			return Malformed
		}
		p.resp.CompliantExport = true
	case TypeKeepAlive:
		p.resp.KeepAlive = true // body ignored, and without meaning for a client
	case TypeToken:
		// Nothing to us; ntpd-rs ignores it as well.
	case TypeProtocols, TypeAlgorithms, TypeListNames, TypeFixedKey, TypeDeny:
		return Forbidden // docs/rules/pool.md#forbidden-records
	default:
		if r.Critical {
			return UnknownCritical
		}
	}
	return None
}

// negotiation reads what the server chose.
func (p *responseParser) negotiation(t Type, r Record) Fault {
	ok := false
	if t == TypeNextProtocol {
		if !r.Critical {
			return NotCritical
		}
		p.protocols, ok = uint16s[Protocol](r.Body)
	} else {
		p.algorithms, ok = uint16s[aead.Algorithm](r.Body)
	}
	if !ok {
		return Malformed
	}
	return None
}

// address reads where NTP is served.
func (p *responseParser) address(t Type, r Record) Fault {
	if t == TypeServer {
		if len(r.Body) > MaxName || !ValidServer(string(r.Body)) {
			return BadServer
		}
		p.resp.Server = string(r.Body)
		return None
	}
	if len(r.Body) != 2 || binary.BigEndian.Uint16(r.Body) == 0 {
		return BadPort
	}
	p.resp.Port = binary.BigEndian.Uint16(r.Body)
	return None
}

// clientCookie keeps a cookie that a packet can carry unchanged (row KC10).
func clientCookie(p *responseParser, c []byte) Fault {
	if len(c) >= minCookie && len(c)%4 == 0 && len(c) <= MaxCookie && len(p.resp.Cookies) < MaxCookies {
		p.resp.Cookies = append(p.resp.Cookies, c)
	}
	return None
}

// poolCookie keeps a cookie for a user, who may be less choosy than our client.
func poolCookie(p *responseParser, c []byte) Fault {
	if len(c) == 0 || len(c) > MaxCookie {
		return BadCookie
	}
	if len(p.resp.Cookies) < MaxCookies {
		p.resp.Cookies = append(p.resp.Cookies, c)
	} else {
		p.resp.Surplus++
	}
	return None
}

// agreed checks that the server chose, and chose one of what was offered.
func (p *responseParser) agreed() Fault {
	if f := choice(p.seen[TypeNextProtocol], p.protocols, p.offer.Protocols, NoCommonProtocol); f != None {
		return f
	}
	if f := choice(p.seen[TypeAEAD], p.algorithms, p.offer.Algorithms, NoCommonAlgorithm); f != None {
		return f
	}
	if len(p.resp.Cookies) == 0 {
		return NoCookies
	}
	p.resp.Protocol, p.resp.Algorithm = p.protocols[0], p.algorithms[0]
	return None
}

// choice checks a list of which the server may send one; an empty one has a meaning of its own.
func choice[T comparable](seen bool, chosen, offered []T, empty Fault) Fault {
	switch {
	case !seen:
		return Missing
	case len(chosen) == 0:
		return empty
	case len(chosen) > 1:
		return ListSize
	case !slices.Contains(offered, chosen[0]):
		return NotOffered
	}
	return None
}
