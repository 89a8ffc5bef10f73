package record

// Dialect is one of the three ways to write the pool's records (docs/rules/pool.md#dialects). They share the meaning of
// every record; only the numbers and the way a pool proves who it is differ.
type Dialect uint8

// The dialects.
const (
	// NoDialect is the dialect of a message without pool records.
	NoDialect Dialect = iota
	// IANA is era C: numbers 8 to 14, privileges by token.
	IANA
	// Token4000 is era B: numbers from 0x4000, privileges by token.
	Token4000
	// Cert4000 is era A: numbers from 0x4000 without a token, privileges by the TLS client certificate.
	Cert4000
)

// String names the dialect as the pool's configuration does (key protocol-era).
func (d Dialect) String() string {
	switch d {
	case IANA:
		return "iana"
	case Token4000:
		return "token-4000"
	case Cert4000:
		return "cert"
	}
	return "none"
}

// NeedsToken reports whether a pool proves itself with a token in this dialect.
func (d Dialect) NeedsToken() bool { return d == IANA || d == Token4000 }

// wire is the number of pool record t in the dialect; t is one of the IANA numbers 8 to 14.
func (d Dialect) wire(t Type) Type {
	if d != Token4000 && d != Cert4000 {
		return t
	}
	switch t {
	case TypeKeepAlive:
		return typeKeepAlive4000
	case TypeProtocols:
		return typeProtocols4000
	case TypeAlgorithms:
		return typeAlgorithms4000
	case TypeListNames:
		return typeListNames4000
	case TypeFixedKey:
		return typeFixedKey4000
	case TypeDeny:
		return typeDeny4000
	case TypeToken:
		return typeToken4000
	}
	return t
}

// meaning translates an old number into the IANA number of the same record; old says that it was one. With
// oldNumbers off the old numbers have no meaning (row P17). Both sets of numbers can be read at
// once because they do not overlap, except that 0x4005 is List Server Names in draft -03 and a token in
// everything deployed: the former is critical and empty, the latter neither (docs/rules/pool.md#dialects).
func meaning(r Record, oldNumbers bool) (t Type, old bool) {
	if !oldNumbers {
		return r.Type, false
	}
	switch r.Type {
	case typeKeepAlive4000:
		return TypeKeepAlive, true
	case typeAlgorithms4000:
		return TypeAlgorithms, true
	case typeFixedKey4000:
		return TypeFixedKey, true
	case typeDeny4000:
		return TypeDeny, true
	case typeProtocols4000:
		return TypeProtocols, true
	case typeListNames4000:
		return TypeListNames, true
	case typeToken4000:
		if r.Critical && len(r.Body) == 0 {
			return TypeListNames, true
		}
		return TypeToken, true
	}
	return r.Type, false
}

// poolCritical says whether a pool record is sent with the critical bit (docs/rules/pool.md#dialects).
func poolCritical(t Type) bool {
	switch t {
	case TypeProtocols, TypeAlgorithms, TypeListNames, TypeFixedKey:
		return true
	}
	return false
}

// appendPool writes pool record t, an IANA number, in dialect d.
func appendPool(dst []byte, d Dialect, t Type, body []byte) []byte {
	return Append(dst, Record{Type: d.wire(t), Critical: poolCritical(t), Body: body})
}
