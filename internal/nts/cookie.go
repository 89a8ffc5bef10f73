package nts

import (
	"encoding/binary"
	"fmt"
	"io"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/secret"
)

// A cookie is the client's keys, sealed for ourselves (RFC 8915 §6):
//
//	| key id (32) | nonce (128) | tag (128) | algorithm (16) | reserved (16) | S2C | C2S |
//	                            |<-- AES-SIV-CMAC-512, associated data: key id       -->|
//
// which makes 72 bytes for AEAD 30, 104 for 15, 136 for 16 and 168 for 17. ntpd-rs has another layout of the same
// length; it is read, never written, for keys that came from its key file:
//
//	| key id (32) | length (16) | nonce (128) | tag (128) | algorithm (16) | S2C | C2S |
const (
	cookieID      = 4
	cookieHead    = cookieID + maxNonce // what is not sealed
	cookieKeys    = 4                   // where the keys start in the sealed part
	foreignNonce  = cookieID + 2        // ntpd-rs: where the nonce starts
	foreignHead   = foreignNonce + maxNonce
	foreignKeys   = 2
	minCookieSize = cookieHead + aead.Overhead + cookieKeys + 2*16
	maxCookieSize = cookieHead + aead.Overhead + cookieKeys + 2*aead.MaxKeySize
)

// cookieSize is the length in bytes of a cookie that holds keys of algorithm a.
func cookieSize(a aead.Algorithm) int {
	n, _ := a.KeySize()
	return cookieHead + aead.Overhead + cookieKeys + 2*n
}

// Sealer seals and opens cookies and packets with cipher objects that it keeps, so that a packet costs no
// allocation. It is not safe for concurrent use: every goroutine has its own.
type Sealer struct {
	loaded   *KeySet             // whose keys masters holds
	masters  []aead.Cipher       // in the order of seen.keys
	c2s, s2c aead.Cipher         // of the request at hand
	plain    []byte              // decrypted fields, or fields to encrypt
	sealed   [maxCookieSize]byte // memory for what is in a cookie
	text     []byte              // what is in the cookies to seal, in sealed
	inner    ntp.Fields
	random   [(1 + maxCookies) * maxNonce]byte
}

// NewSealer returns a Sealer.
func NewSealer() *Sealer { return &Sealer{plain: make([]byte, 0, ntp.MaxPacket)} }

// Format hides the keys from every verb.
func (s *Sealer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// Forget overwrites the client's keys that the last cookies had inside, and what the ciphers keep of them. The master keys stay.
func (s *Sealer) Forget() {
	clear(s.sealed[:])
	s.text = nil
	for i := range s.masters {
		s.masters[i].Forget()
	}
}

// Seal appends one cookie that holds k, sealed with the current key of ks and a nonce from rnd. It returns dst
// as it was if ks is nil, k is not Valid or rnd fails.
func (s *Sealer) Seal(dst []byte, ks *KeySet, k *Keys, rnd io.Reader) []byte {
	if ks == nil || !k.Valid() {
		return dst
	}
	nonce := s.random[:maxNonce]
	if _, err := io.ReadFull(rnd, nonce); err != nil {
		return dst
	}
	s.pack(k)
	return s.appendCookie(dst, ks, nonce)
}

// appendCookie appends one cookie that holds s.text, with the given nonce of 16 bytes.
func (s *Sealer) appendCookie(dst []byte, ks *KeySet, nonce []byte) []byte {
	s.loadKeys(ks)
	at := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, ks.keys[0].id)
	dst = append(dst, nonce...)
	return s.masters[0].Seal(dst, nonce, s.text, dst[at:at+cookieID])
}

// pack makes s.text what the cookies of k have inside.
func (s *Sealer) pack(k *Keys) {
	clear(s.sealed[:]) // longer keys may have been there
	s.text = binary.BigEndian.AppendUint16(s.sealed[:0], uint16(k.Algorithm))
	s.text = append(s.text, 0, 0)
	s.text = append(s.text, k.S2C...)
	s.text = append(s.text, k.C2S...)
}

// Open opens a cookie into the keys it holds, reusing the memory of into; false, with into as it was, if no key
// of ks opens it or the sizes of the keys in it do not fit its algorithm (row N22). A nil ks opens nothing.
func (s *Sealer) Open(ks *KeySet, cookie []byte, into *Keys) bool {
	if ks == nil || len(cookie) < minCookieSize || len(cookie) > maxCookieSize {
		return false
	}
	s.loadKeys(ks)
	clear(s.sealed[:]) // longer keys may have been there
	id := binary.BigEndian.Uint32(cookie)
	for i := range ks.keys {
		if ks.keys[i].id != id {
			continue
		}
		opened := s.openCookie(&s.masters[i], cookie, into) ||
			ks.keys[i].foreign && s.openForeign(&s.masters[i], cookie, into)
		if i > 0 {
			s.masters[i].Forget() // the next message under a stale key may be days away
		}
		if opened {
			return true
		}
	}
	return false
}

// openCookie opens our layout.
func (s *Sealer) openCookie(master *aead.Cipher, cookie []byte, into *Keys) bool {
	plain, err := master.Open(s.sealed[:0], cookie[cookieID:cookieHead], cookie[cookieHead:], cookie[:cookieID])
	if err != nil || binary.BigEndian.Uint16(plain[2:]) != 0 {
		return false
	}
	return into.unpack(aead.Algorithm(binary.BigEndian.Uint16(plain)), plain[cookieKeys:])
}

// openForeign opens the layout of ntpd-rs, whose associated data is one empty component.
func (s *Sealer) openForeign(master *aead.Cipher, cookie []byte, into *Keys) bool {
	if int(binary.BigEndian.Uint16(cookie[cookieID:])) != len(cookie)-foreignHead {
		return false
	}
	plain, err := master.Open(s.sealed[:0], cookie[foreignNonce:foreignHead], cookie[foreignHead:], nil)
	if err != nil {
		return false
	}
	return into.unpack(aead.Algorithm(binary.BigEndian.Uint16(plain)), plain[foreignKeys:])
}

// unpack takes S2C and C2S out of a cookie's plaintext if their sizes are those of algorithm a.
func (k *Keys) unpack(a aead.Algorithm, keys []byte) bool {
	n, known := a.KeySize()
	if !known || !a.Supported() || len(keys) != 2*n {
		return false
	}
	k.Algorithm = a
	k.S2C = replace(k.S2C, keys[:n])
	k.C2S = replace(k.C2S, keys[n:])
	return true
}

// replace returns key in the memory of old if there is room. Nothing of old is left, whatever the two lengths.
func replace(old secret.Bytes, key []byte) secret.Bytes {
	clear(old[:cap(old)])
	return append(old[:0], key...)
}

// empty returns s.plain without content, and with nothing behind it of what was in it.
func (s *Sealer) empty() []byte {
	clear(s.plain)
	s.plain = s.plain[:0]
	return s.plain
}

// openRequest verifies an authenticator with the client's key and leaves its plaintext in s.plain.
func (s *Sealer) openRequest(k *Keys, auth authenticator, ad []byte) bool {
	if s.c2s.Rekey(k.Algorithm, k.C2S) != nil {
		return false
	}
	plain, err := s.c2s.Open(s.empty(), auth.nonce, auth.sealed, ad)
	if err != nil {
		return false
	}
	s.plain = plain
	return true
}

// loadKeys makes the cipher objects of ks, once per rotation. Those of the set before are overwritten.
func (s *Sealer) loadKeys(ks *KeySet) {
	if s.loaded == ks {
		return
	}
	clear(s.masters)
	s.masters = make([]aead.Cipher, len(ks.keys))
	for i := range ks.keys {
		if err := s.masters[i].Rekey(aead.SIVCMAC512, ks.keys[i].key[:]); err != nil {
			panic("nts: " + err.Error()) // the size is that of the array
		}
	}
	s.masters[0].Remember() // the text of a cookie that was opened is sealed anew
	s.loaded = ks
}

// appendCookieField appends the header of a cookie field whose value of size bytes, a multiple of 4, follows.
func appendCookieField(dst []byte, size int) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(ntp.FieldCookie))
	return binary.BigEndian.AppendUint16(dst, uint16(fieldHeader+size))
}
