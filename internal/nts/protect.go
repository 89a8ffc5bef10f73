package nts

import (
	"encoding/binary"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
)

const (
	fieldHeader = 4 // type and length of an extension field, in bytes
	// maxNonce is the longest nonce we send, in bytes, and N_REQ of RFC 8915 §5.6.
	maxNonce = 16
	// lengths is the size of the two length fields in front of nonce and ciphertext.
	lengths = 4
)

// authenticator is the content of an NTS Authenticator and Encrypted Extension Fields field (RFC 8915 §5.6):
//
//	| Nonce Length (16)      | Ciphertext Length (16)    |
//	| Nonce, padded to 4     | Ciphertext, padded to 4   |
//	| additional padding                                 |
type authenticator struct {
	nonce, sealed []byte // alias the packet
	// reserved is how many bytes nonce, its padding and the additional padding take: room that a client must
	// leave so that the reply, with our longer nonce, is not longer than the request.
	reserved int
}

// parseAuthenticator reads the value of the field. Every length is compared with what is left before it is
// used, as an int, so that no sum wraps (CVE-2026-102486). False: malformed, a nonce of no bytes, or less than a
// tag.
func parseAuthenticator(value []byte) (a authenticator, ok bool) {
	if len(value) < lengths {
		return a, false
	}
	nonce, sealed := int(binary.BigEndian.Uint16(value)), int(binary.BigEndian.Uint16(value[2:]))
	left := value[lengths:]
	if nonce == 0 || sealed < aead.Overhead || pad4(nonce) > len(left) || pad4(sealed) > len(left)-pad4(nonce) {
		return a, false
	}
	a.nonce = left[:nonce]
	a.sealed = left[pad4(nonce):][:sealed]
	a.reserved = len(left) - pad4(sealed)
	return a, true
}

// authenticatorSize is the length of the whole field that appendAuthenticator makes.
func authenticatorSize(a aead.Algorithm, plaintext int) int {
	return fieldHeader + lengths + pad4(a.NonceSize()) + pad4(plaintext+aead.Overhead)
}

// appendAuthenticator seals plaintext and appends the field to packet, all of which so far is associated data.
func appendAuthenticator(packet []byte, c *aead.Cipher, nonce, plaintext []byte) []byte {
	ad := packet
	size := authenticatorSize(c.Algorithm(), len(plaintext))
	packet = binary.BigEndian.AppendUint16(packet, uint16(ntp.FieldAuthenticator))
	packet = binary.BigEndian.AppendUint16(packet, uint16(size))
	packet = binary.BigEndian.AppendUint16(packet, uint16(len(nonce)))
	packet = binary.BigEndian.AppendUint16(packet, uint16(len(plaintext)+aead.Overhead))
	packet = append(packet, nonce...) // 12 or 16 bytes: no padding
	packet = c.Seal(packet, nonce, plaintext, ad)
	for len(packet) < len(ad)+size {
		packet = append(packet, 0)
	}
	return packet
}

// splitFields returns the fields in front of the first authenticator, which are authenticated but not
// encrypted, and that authenticator. What follows it is neither and is dropped here (row N10). ok: there is one.
func splitFields(f *ntp.Fields) (outer []ntp.Field, at ntp.Field, ok bool) {
	all := f.All()
	for i := range all {
		if all[i].Type == ntp.FieldAuthenticator {
			return all[:i], all[i], true
		}
	}
	return all, ntp.Field{}, false
}

// count returns how many of the fields have type t, and the value of the first.
func count(fields []ntp.Field, t ntp.FieldType) (n int, first []byte) {
	for i := range fields {
		if fields[i].Type != t {
			continue
		}
		if n == 0 {
			first = fields[i].Value
		}
		n++
	}
	return n, first
}

// pad4 rounds up to a multiple of four.
func pad4(n int) int { return (n + 3) &^ 3 }
