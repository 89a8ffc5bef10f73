package ke

import (
	"crypto/tls"
	"encoding/binary"
	"slices"
)

// What is read of a ClientHello (RFC 8446 §4.1.2, §4.2.8).
const (
	extKeyShare  = 51
	helloFixed   = 4 + 2 + 32 // header of the message, version, random
	maxKeyShares = 8          // more are not looked at; clients send one to three
)

// cheapFirst is the key agreements without a hybrid, the one that costs us least first (docs/rules/key-exchange.md#curves).
func cheapFirst() []tls.CurveID {
	return []tls.CurveID{tls.CurveP256, tls.X25519, tls.CurveP384, tls.CurveP521}
}

// chooseCurve is the key agreement for the client that sent this ClientHello; false leaves it to crypto/tls. It is always one
// that the client has sent a key for: for another one it would have to be asked again (HelloRetryRequest). A hybrid is
// taken if the client leads with it, which pays for it as well.
func chooseCurve(hello []byte) (tls.CurveID, bool) {
	var buf [maxKeyShares]tls.CurveID
	shares, cheap := keyShares(hello, buf[:0]), cheapFirst()
	for _, s := range shares {
		switch {
		case s == tls.X25519MLKEM768:
			return s, true
		case !slices.Contains(cheap, s):
			continue // what we do not know, or GREASE (RFC 8701)
		}
		for _, c := range cheap {
			if slices.Contains(shares, c) {
				return c, true
			}
		}
	}
	return 0, false
}

// keyShares appends the groups that the ClientHello has keys for, in the client's order, at most as many as dst has room
// for; dst as it was if the bytes are no whole ClientHello. hello is the first TLS record, and may be more.
func keyShares(hello []byte, dst []tls.CurveID) []tls.CurveID {
	r := bytesOf(hello)
	r.skip(recordHeader + helloFixed)
	r.skip(r.number(1)) // session id
	r.skip(r.number(2)) // cipher suites
	r.skip(r.number(1)) // compression methods
	extensions := r.take(r.number(2))
	for len(extensions.b) > 0 {
		kind := extensions.number(2)
		body := extensions.take(extensions.number(2))
		if extensions.bad {
			return dst
		}
		if kind != extKeyShare {
			continue
		}
		list := body.take(body.number(2))
		out := dst
		for len(list.b) > 0 && len(out) < cap(out) {
			group := tls.CurveID(list.number(2))
			list.skip(list.number(2))
			if list.bad {
				return dst
			}
			out = append(out, group)
		}
		return out
	}
	return dst
}

// bytesReader takes things off the front of bytes of a stranger; once something is missing it stays bad and empty.
type bytesReader struct {
	b   []byte
	bad bool
}

func bytesOf(b []byte) *bytesReader { return &bytesReader{b: b} }

// number is an unsigned integer of one or two bytes; 0 if it is missing.
func (r *bytesReader) number(size int) int {
	if len(r.b) < size {
		r.b, r.bad = nil, true
		return 0
	}
	head := r.b[:size]
	r.b = r.b[size:]
	if size == 1 {
		return int(head[0])
	}
	return int(binary.BigEndian.Uint16(head))
}

// take is the next n bytes.
func (r *bytesReader) take(n int) *bytesReader {
	if len(r.b) < n {
		r.b, r.bad = nil, true
		return &bytesReader{bad: true}
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return &bytesReader{b: head}
}

func (r *bytesReader) skip(n int) { r.take(n) }
