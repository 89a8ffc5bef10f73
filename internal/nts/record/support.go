package record

import (
	"encoding/binary"
	"slices"

	"ntp-daemon/internal/nts/aead"
)

// maxNames is how many server names of one time source are kept.
const maxNames = 64

// SupportResponse is the answer to a Support request. A nil list is not part of the message.
type SupportResponse struct {
	Algorithms []aead.Algorithm // those whose size we know and the peer states as we do
	Protocols  []Protocol
	Names      []string // names that the time source may put into Server records
	KeepAlive  bool     // the connection stays open
	Dialect    Dialect  // number set; matters for Append only

	// Code is what the peer's Error record says; valid with the fault PeerError only.
	Code ErrorCode
}

// Append writes the whole answer behind dst. Every algorithm must have a known key size; others are left out.
func (r *SupportResponse) Append(dst []byte) []byte {
	if r.Algorithms != nil {
		body := make([]byte, 0, 4*len(r.Algorithms))
		for _, a := range r.Algorithms {
			if n, known := a.KeySize(); known {
				body = binary.BigEndian.AppendUint16(body, uint16(a))
				body = binary.BigEndian.AppendUint16(body, uint16(n))
			}
		}
		dst = appendPool(dst, r.Dialect, TypeAlgorithms, body)
	}
	if r.Protocols != nil {
		dst = appendUint16s(dst, r.Dialect.wire(TypeProtocols), true, r.Protocols...)
	}
	for _, name := range r.Names {
		dst = appendText(dst, TypeServer, true, name)
	}
	if r.KeepAlive {
		dst = appendPool(dst, r.Dialect, TypeKeepAlive, nil)
	}
	return appendEnd(dst)
}

// ParseSupport reads a time source's whole answer to a Support request in dialect d, records in any order.
// Era-A time sources add a complete negotiation with cookies of their own; in that dialect it is ignored,
// in the others it is a fault (docs/rules/pool.md#list-answers). Names aside, the values do not alias msg.
func ParseSupport(msg []byte, d Dialect) (SupportResponse, Fault) {
	p := supportParser{era: d == Cert4000}
	fault := p.walk(msg, p.take)
	return p.resp, fault
}

// supportParser collects one answer.
type supportParser struct {
	answerFaults
	era  bool
	resp SupportResponse
}

// take reads one record other than End of Message.
func (p *supportParser) take(r Record) Fault {
	switch t, _ := meaning(r, true); t {
	case TypeError:
		return p.failure(r, &p.resp.Code)
	case TypeWarning:
		return PeerWarning
	case TypeAlgorithms:
		return p.algorithms(r.Body)
	case TypeProtocols:
		if p.resp.Protocols != nil {
			return Duplicate
		}
		list, ok := uint16s[Protocol](r.Body)
		if !ok {
			return Malformed
		}
		p.resp.Protocols = list
	case TypeServer:
		return p.name(r.Body)
	case TypeKeepAlive:
		p.resp.KeepAlive = true
	case TypeNextProtocol, TypeAEAD, TypeCookie:
		if !p.era {
			return Forbidden
		}
	case TypePort, TypeCompliantExport, TypeToken:
		// Without meaning here, without harm.
	case TypeListNames, TypeFixedKey, TypeDeny:
		return Forbidden
	default:
		if r.Critical {
			return UnknownCritical
		}
	}
	return None
}

// algorithms reads pairs of algorithm id and key size. An unknown id is left out, and so is a known one with another key
// size, which would make the key exporter fail (row P04).
func (p *supportParser) algorithms(body []byte) Fault {
	if p.resp.Algorithms != nil {
		return Duplicate
	}
	if len(body)%4 != 0 {
		return Malformed
	}
	p.resp.Algorithms = make([]aead.Algorithm, 0, len(body)/4)
	for ; len(body) > 0; body = body[4:] {
		a := aead.Algorithm(binary.BigEndian.Uint16(body))
		n, known := a.KeySize()
		if !known || n != int(binary.BigEndian.Uint16(body[2:])) || slices.Contains(p.resp.Algorithms, a) {
			continue
		}
		p.resp.Algorithms = append(p.resp.Algorithms, a)
	}
	return None
}

// name reads one server name.
func (p *supportParser) name(body []byte) Fault {
	if len(body) > MaxName || !ValidServer(string(body)) {
		return BadServer
	}
	if len(p.resp.Names) < maxNames {
		p.resp.Names = append(p.resp.Names, string(body))
	}
	return None
}
