package record

import (
	"slices"
	"unicode/utf8"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/secret"
)

const (
	// MaxDeny is how many denied names count; nobody holds more sources of one pool (docs/rules/pool.md#deny).
	MaxDeny = 64
	// MaxUserRequest keeps a request readable for ntpd-rs and nts-pool main, which drop longer ones in silence
	// (docs/rules/pool.md#dialect-detection).
	MaxUserRequest = 4096
)

// Kind is what a request asks for.
type Kind uint8

// The kinds. They exclude each other in one message (docs/rules/pool.md#one-kind).
const (
	Plain    Kind = iota // cookies for keys from this TLS session: RFC 8915
	Support              // which protocols, algorithms or server names there are; no keys
	FixedKey             // cookies for the keys in the request
)

// Request is any request: of a client, of a pool to a time source, of a monitor to a pool.
type Request struct {
	Kind    Kind
	Dialect Dialect // of the pool records that make the kind; NoDialect for Plain

	Protocols  []Protocol       // in the client's order of preference; exactly one for FixedKey
	Algorithms []aead.Algorithm // likewise; empty is possible only if NTPv4 is not offered
	// CompliantExport says that record 1024 was there (docs/rules/key-exchange.md#aead-30). In a Support request it is
	// our own addition: this pool minds record 1024 of its users, so AEAD 30 through it works.
	CompliantExport bool
	// Server and Port are what the client would like to get again; "" and 0 if absent or unusable. A server
	// may ignore both (RFC 8915 §4.1.7).
	Server string
	Port   uint16

	WantAlgorithms, WantProtocols, WantNames bool // Support

	Keys secret.Bytes // FixedKey: C2S then S2C, each of the algorithm's key size

	KeepAlive bool
	Token     secret.Bytes // nil without a token

	Deny []string // front end only: names as sent, without repetition, at most MaxDeny
	UUID string   // front end only: the time source that a monitor asks for
}

// Rules say who reads a request.
type Rules struct {
	// FrontEnd is the pool towards users and monitors: it knows the Deny and UUID records and refuses the
	// requests of a pool. Without it the reader is a time source, for which Deny has no meaning.
	FrontEnd bool
	// NoOldNumbers takes the meaning from the numbers 0x4000 to 0x4006.
	NoOldNumbers bool
}

// ParseRequest reads one whole message, as a Framer cut it. The order of records is free except that a token
// must precede the pool records it is for. The values alias msg. On a fault, Dialect says in which
// dialect the peer spoke as far as the message was read, and Token whether it brought one.
func ParseRequest(msg []byte, rules Rules) (Request, Fault) {
	p := requestParser{rules: rules}
	for rest := msg; ; {
		r, tail, err := Consume(rest)
		if err != nil {
			return p.request(), Truncated
		}
		rest = tail
		if r.Type == TypeEnd {
			return p.request(), p.end(r, rest)
		}
		if f := p.take(r); f != None {
			return p.request(), f
		}
	}
}

// requestParser collects one request.
type requestParser struct {
	rules Rules
	req   Request
	seen  [TypeToken + 1]bool // by IANA number, for Duplicate
	// iana and old say which numbers the pool's request records had; a token alone decides nothing.
	iana, old bool
	// guarded says that a record came that a token could protect.
	guarded bool
}

// request is what was understood so far, with kind and dialect worked out.
func (p *requestParser) request() Request {
	r := p.req
	switch {
	case p.seen[TypeFixedKey]:
		r.Kind = FixedKey
	case r.WantAlgorithms || r.WantProtocols || r.WantNames:
		r.Kind = Support
		r.Server, r.Port = "", 0 // mean nothing where nothing is negotiated
	}
	switch {
	case r.Kind == Plain:
	case !p.old:
		r.Dialect = IANA
	case r.Token != nil:
		r.Dialect = Token4000
	default:
		r.Dialect = Cert4000
	}
	return r
}

// take reads one record other than End of Message.
func (p *requestParser) take(r Record) Fault {
	t, old := meaning(r, !p.rules.NoOldNumbers)
	switch t {
	case TypeNextProtocol, TypeAEAD, TypeProtocols, TypeAlgorithms, TypeListNames, TypeFixedKey, TypeToken:
		if p.seen[t] {
			return Duplicate
		}
		p.seen[t] = true
	}
	switch t {
	case TypeError, TypeWarning, TypeCookie:
		return Forbidden
	case TypeNextProtocol, TypeAEAD, TypeCompliantExport:
		return p.negotiation(t, r)
	case TypeServer, TypePort:
		p.wish(r)
	case TypeKeepAlive:
		p.req.KeepAlive = true
	case TypeToken:
		if p.guarded {
			return Order
		}
		p.req.Token = secret.Bytes(r.Body)
	case TypeProtocols, TypeAlgorithms, TypeListNames, TypeFixedKey:
		return p.pool(t, r, old)
	case TypeDeny:
		return p.deny(r)
	case TypeMonitorUUID:
		return p.monitor(r)
	default:
		if r.Critical {
			return UnknownCritical
		}
	}
	return None
}

// negotiation reads the records in which a client states its offer.
func (p *requestParser) negotiation(t Type, r Record) Fault {
	ok := true
	switch t {
	case TypeNextProtocol:
		if !r.Critical {
			return NotCritical // RFC 8915 §4.1.2
		}
		p.req.Protocols, ok = uint16s[Protocol](r.Body)
		ok = ok && len(r.Body) > 0
	case TypeAEAD:
		p.req.Algorithms, ok = uint16s[aead.Algorithm](r.Body)
		ok = ok && len(r.Body) > 0
	case TypeCompliantExport:
		p.req.CompliantExport, ok = true, len(r.Body) == 0 // docs/rules/key-exchange.md#aead-30
	}
	if !ok {
		return Malformed
	}
	return None
}

// wish reads Server and Port, which never make a request fail (row KS24).
func (p *requestParser) wish(r Record) {
	switch r.Type {
	case TypeServer:
		if name := string(r.Body); p.req.Server == "" && ValidServer(name) {
			p.req.Server = name
		}
	case TypePort:
		if len(r.Body) == 2 && p.req.Port == 0 {
			p.req.Port = uint16(r.Body[0])<<8 | uint16(r.Body[1])
		}
	}
}

// pool reads the records that make a request one of a pool.
func (p *requestParser) pool(t Type, r Record, old bool) Fault {
	p.guarded = true
	p.old, p.iana = p.old || old, p.iana || !old
	switch t {
	case TypeProtocols:
		p.req.WantProtocols = true // the receiver ignores the body (docs/rules/pool.md#empty-bodies)
	case TypeAlgorithms:
		p.req.WantAlgorithms = true
	case TypeListNames:
		p.req.WantNames = true
	case TypeFixedKey:
		p.req.Keys = secret.Bytes(r.Body)
	}
	if p.rules.FrontEnd {
		return Forbidden
	}
	if p.old && p.iana {
		return Mixed
	}
	return None
}

// deny reads the name of a server that the client does not want. Only a front end looks at it.
func (p *requestParser) deny(r Record) Fault {
	if !p.rules.FrontEnd {
		return None
	}
	if !utf8.Valid(r.Body) {
		return Malformed
	}
	if n := len(r.Body); n == 0 || n > MaxName || len(p.req.Deny) == MaxDeny {
		return None
	}
	if name := string(r.Body); !slices.Contains(p.req.Deny, name) {
		p.req.Deny = append(p.req.Deny, name)
	}
	return None
}

// monitor reads the name of the time source that a monitor wants; its key must have come before.
func (p *requestParser) monitor(r Record) Fault {
	switch {
	case !p.rules.FrontEnd && r.Critical:
		return UnknownCritical
	case !p.rules.FrontEnd:
		return None
	case p.req.UUID != "":
		return Duplicate
	case p.req.Token == nil:
		return Order
	case len(r.Body) == 0 || len(r.Body) > MaxName || !utf8.Valid(r.Body):
		return Malformed
	}
	p.req.UUID = string(r.Body)
	return None
}

// end checks the message as a whole.
func (p *requestParser) end(r Record, rest []byte) Fault {
	if !r.Critical || len(r.Body) != 0 {
		return BadEnd
	}
	if len(rest) != 0 {
		return Trailing
	}
	switch r := p.request(); r.Kind {
	case Support:
		if p.seen[TypeNextProtocol] || p.seen[TypeAEAD] {
			return Mixed
		}
	case FixedKey:
		return p.fixed(&r)
	default:
		if r.UUID != "" && len(r.Deny) > 0 {
			return Mixed // docs/rules/pool.md#one-kind
		}
		if len(r.Protocols) == 0 || len(r.Algorithms) == 0 && slices.Contains(r.Protocols, NTPv4) {
			return Missing // RFC 8915 §4.1.2, §4.1.5
		}
	}
	return None
}

// fixed checks a Fixed Key request: one protocol, one algorithm, two keys of its size and nothing listed.
func (p *requestParser) fixed(r *Request) Fault {
	switch {
	case r.WantAlgorithms || r.WantProtocols || r.WantNames:
		return Mixed
	case len(r.Protocols) == 0 || len(r.Algorithms) == 0:
		return Missing
	case len(r.Protocols) > 1 || len(r.Algorithms) > 1:
		return ListSize
	}
	if n, known := r.Algorithms[0].KeySize(); !known || len(r.Keys) != 2*n {
		return KeySize
	}
	return None
}

// Append writes the request of a pool or a monitor behind dst, with the critical bits and in the order that every time
// source takes: token, lists or keys, negotiation, Keep Alive (docs/rules/pool.md#dialect-detection). A Plain request
// with Deny names repeats each in the old number as well; AppendUser, which minds the size, is for users.
func (r *Request) Append(dst []byte) []byte {
	d := r.Dialect
	if r.Token != nil && d != Cert4000 {
		dst = appendPool(dst, d, TypeToken, r.Token)
	}
	if r.UUID != "" {
		dst = appendText(dst, TypeMonitorUUID, true, r.UUID)
	}
	if r.Kind == FixedKey && d != Cert4000 {
		dst = appendPool(dst, d, TypeFixedKey, r.Keys)
	}
	if r.WantAlgorithms {
		dst = appendPool(dst, d, TypeAlgorithms, nil)
	}
	if r.WantProtocols {
		dst = appendPool(dst, d, TypeProtocols, nil)
	}
	if r.WantNames {
		dst = appendPool(dst, d, TypeListNames, nil) // 0x4006 among the old numbers: it has one meaning only
	}
	if r.Kind != Support {
		dst = r.appendNegotiation(dst)
	} else if r.CompliantExport {
		dst = appendHeader(dst, TypeCompliantExport, false, 0)
	}
	for _, name := range r.Deny {
		dst = appendText(dst, TypeDeny, false, name)
		dst = appendText(dst, typeDeny4000, false, name)
	}
	if r.KeepAlive {
		dst = appendPool(dst, d, TypeKeepAlive, nil)
	}
	return appendEnd(dst)
}

// appendNegotiation writes the offer, in the seed era's order and bits for that dialect.
func (r *Request) appendNegotiation(dst []byte) []byte {
	era := r.Dialect == Cert4000
	dst = appendUint16s(dst, TypeNextProtocol, true, r.Protocols...)
	if len(r.Algorithms) > 0 {
		dst = appendUint16s(dst, TypeAEAD, !era, r.Algorithms...)
	}
	if r.CompliantExport {
		dst = appendHeader(dst, TypeCompliantExport, false, 0)
	}
	if r.Kind == FixedKey && era {
		dst = appendPool(dst, r.Dialect, TypeFixedKey, r.Keys)
	}
	if r.Server != "" {
		dst = appendText(dst, TypeServer, false, r.Server)
	}
	if r.Port != 0 {
		dst = appendUint16s(dst, TypePort, false, r.Port)
	}
	return dst
}

// AppendUser writes a client's request behind dst (row KC01): the offer, record 1024 if AEAD 30 is
// part of it, and for a pool the server that is preferred, if any, as the not critical Server record of RFC 8915 §4.1.7, and one
// Deny record in each of its two numbers per name. If the whole would exceed MaxUserRequest, first the old numbers are left
// out and then the oldest names, which come first.
func AppendUser(dst []byte, algorithms []aead.Algorithm, prefer string, deny []string) []byte {
	r := Request{Protocols: []Protocol{NTPv4}, Algorithms: algorithms, Server: prefer}
	r.CompliantExport = slices.Contains(algorithms, aead.GCMSIV128)
	start := len(dst)
	dst = r.appendNegotiation(dst)
	deny = slices.DeleteFunc(slices.Clone(deny), func(name string) bool { return name == "" || len(name) > MaxName })
	deny = deny[max(0, len(deny)-MaxDeny):] // receivers ignore what is beyond
	room := MaxUserRequest - (len(dst) - start) - headerLen
	old := room >= 2*denySize(deny)
	for len(deny) > 0 && denySize(deny) > room {
		deny = deny[1:]
	}
	for _, name := range deny {
		dst = appendText(dst, TypeDeny, false, name)
		if old {
			dst = appendText(dst, typeDeny4000, false, name)
		}
	}
	return appendEnd(dst)
}

// denySize is what the names take on the wire in one number.
func denySize(names []string) (n int) {
	for _, name := range names {
		n += headerLen + len(name)
	}
	return n
}
