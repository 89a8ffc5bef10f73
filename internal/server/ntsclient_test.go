package server

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
)

// ntsClient builds requests field by field, right ones and wrong ones, and opens replies without the code that
// made them.
type ntsClient struct {
	keys     nts.Keys
	c2s, s2c *aead.Cipher
	set      *nts.KeySet
	sealer   *nts.Sealer
	rnd      testRand
	uid      []byte
}

func newNTSClient(t testing.TB, a aead.Algorithm) *ntsClient {
	t.Helper()
	c := &ntsClient{sealer: nts.NewSealer(), uid: bytes.Repeat([]byte{0xc3, 0x3c}, 16)}
	master, err := nts.NewMasterKey(&c.rnd)
	if err != nil {
		t.Fatal(err)
	}
	c.set = nts.NewKeySet(master, 2)
	n, _ := a.KeySize()
	c.keys = nts.Keys{Algorithm: a, C2S: make([]byte, n), S2C: make([]byte, n)}
	_, _ = c.rnd.Read(c.keys.C2S)
	_, _ = c.rnd.Read(c.keys.S2C)
	c.c2s, c.s2c = new(aead.Cipher), new(aead.Cipher)
	if err := errors.Join(c.c2s.Rekey(a, c.keys.C2S), c.s2c.Rekey(a, c.keys.S2C)); err != nil {
		t.Fatal(err)
	}
	return c
}

// bench returns a responder that knows the client's master key.
func (c *ntsClient) bench(config Config) *bench {
	b := newBench(config)
	b.keys = c.set
	return b
}

func (c *ntsClient) cookie() []byte { return c.sealer.Seal(nil, c.set, &c.keys, &c.rnd) }

// nonce returns n deterministic bytes.
func (c *ntsClient) nonce(n int) []byte {
	b := make([]byte, n)
	_, _ = c.rnd.Read(b)
	return b
}

// seal appends the authenticator with a nonce of n bytes, the encrypted fields inner and extra zero bytes.
func (c *ntsClient) seal(p []byte, n int, inner []byte, extra int) []byte {
	nonce := c.nonce(n)
	sealed := c.c2s.Seal(nil, nonce, inner, p)
	v := binary.BigEndian.AppendUint16(nil, uint16(n))
	v = binary.BigEndian.AppendUint16(v, uint16(len(sealed)))
	v = pad(append(v, nonce...))
	v = pad(append(v, sealed...))
	v = append(v, make([]byte, extra)...)
	return ntp.AppendField(p, ntp.FieldAuthenticator, v)
}

func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }

// start returns header and unique identifier.
func (c *ntsClient) start() []byte { return ntp.AppendField(header(0x23), ntp.FieldUniqueID, c.uid) }

// request is a right request with k placeholders.
func (c *ntsClient) request(k int) []byte {
	cookie := c.cookie()
	p := ntp.AppendField(c.start(), ntp.FieldCookie, cookie)
	for range k {
		p = ntp.AppendField(p, ntp.FieldCookiePlaceholder, make([]byte, len(cookie)))
	}
	return c.seal(p, c.keys.Algorithm.NonceSize(), nil, 0)
}

// open verifies a reply and returns the cookies in it; ok is false if it is not authentic.
func (c *ntsClient) open(reply []byte) (cookies [][]byte, ok bool) {
	var f, inner ntp.Fields
	if f.Trailer(reply, 4) != nil || f.MAC != nil {
		return nil, false
	}
	all := f.All()
	if len(all) != 2 || all[0].Type != ntp.FieldUniqueID || !bytes.Equal(all[0].Value, c.uid) || all[1].Type != ntp.FieldAuthenticator {
		return nil, false
	}
	v := all[1].Value
	n, m := int(binary.BigEndian.Uint16(v)), int(binary.BigEndian.Uint16(v[2:]))
	plain, err := c.s2c.Open(nil, v[4:4+n], v[4+(n+3)&^3:][:m], reply[:all[1].Offset])
	if err != nil || inner.Inner(plain) != nil {
		return nil, false
	}
	for _, x := range inner.All() {
		if x.Type == ntp.FieldCookie {
			cookies = append(cookies, x.Value)
		}
	}
	return cookies, true
}

// holds reports whether a cookie is ours and holds the client's keys.
func (c *ntsClient) holds(cookie []byte) bool {
	var k nts.Keys
	return c.sealer.Open(c.set, cookie, &k) && k.Algorithm == c.keys.Algorithm && k.C2S.Equal(c.keys.C2S) && k.S2C.Equal(c.keys.S2C)
}

// fieldTypes are the extension fields of a packet as far as they parse, found without package ntp. The last 20
// or 24 bytes are a MAC, and so is all of the trailer before version 4.
func fieldTypes(p []byte) (types []ntp.FieldType) {
	for at := 48; p[0]>>3&7 == 4 && at+4 <= len(p) && len(p)-at != 20 && len(p)-at != 24; {
		n := int(binary.BigEndian.Uint16(p[at+2:]))
		types = append(types, ntp.FieldType(binary.BigEndian.Uint16(p[at:])))
		if n < 4 || at+n > len(p) {
			return types
		}
		at += n
	}
	return types
}

// innerField appends a field for the encrypted part, where the minimum is four bytes.
func innerField(t ntp.FieldType, value []byte) []byte {
	n := (4 + len(value) + 3) &^ 3
	b := binary.BigEndian.AppendUint16(nil, uint16(t))
	b = append(binary.BigEndian.AppendUint16(b, uint16(n)), value...)
	return append(b, make([]byte, n-4-len(value))...)
}
