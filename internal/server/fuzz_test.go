package server

import (
	"bytes"
	"testing"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
)

// oracle judges one exchange by rules that know nothing of the code (S06, S03, N09).
func oracle(t *testing.T, c *ntsClient, p, reply []byte, v Verdict) {
	t.Helper()
	if len(reply) > len(p) {
		t.Fatalf("reply of %d bytes to a request of %d (%v)", len(reply), len(p), v)
	}
	if silent := v >= RateLimited; silent != (reply == nil) {
		t.Fatalf("verdict %v with %d bytes", v, len(reply))
	}
	if reply == nil {
		return
	}
	mode := map[byte]byte{0: 4, 1: 2, 3: 4}[p[0]&7]
	if len(p) < 48 || mode == 0 || reply[0]&7 != mode || p[0]&7 == 0 && p[0]>>3&7 != 1 || p[0]>>3&7 != reply[0]>>3&7 {
		t.Fatalf("request %x answered by %x", p[:1], reply[:1])
	}
	if mode == 2 && len(reply) != 48 {
		t.Fatalf("symmetric answer of %d bytes", len(reply))
	}
	if !bytes.Equal(reply[24:32], p[40:48]) {
		t.Fatalf("origin %x for transmit %x", reply[24:32], p[40:48])
	}
	if reply[1] == 0 || v == Denied || v == AnsweredNAK {
		return // no time
	}
	if _, ok := c.open(reply); ok {
		return // authentic time
	}
	if v != Answered {
		t.Fatalf("%v does not verify", v)
	}
	for _, x := range fieldTypes(p) {
		if x == ntp.FieldCookie || x == ntp.FieldAuthenticator || x == ntp.FieldCookiePlaceholder {
			t.Fatalf("plain time for a request with field %04x", x)
		}
	}
}

// fuzzRows are seeds of every shape.
func fuzzRows(c *ntsClient) [][]byte {
	plain := header(0x23)
	return [][]byte{
		nil, plain, header(0x1b), header(0x13), header(0x2b), header(0x21), header(0x08), plain[:47], append(header(0x23), 0, 0, 0, 0),
		append(header(0x23), make([]byte, 20)...), append(header(0x23), make([]byte, 24)...),
		c.start(), c.request(0), c.request(7), c.seal(c.start(), c.keys.Algorithm.NonceSize(), nil, 0),
		ntp.AppendField(c.start(), ntp.FieldCookie, c.cookie()),
		ntp.AppendField(header(0x23), 0x4242, make([]byte, 28)),
	}
}

// FuzzRespond feeds whole packets, with cookie keys and without.
func FuzzRespond(f *testing.F) {
	c := newNTSClient(f, aead.SIVCMAC256)
	for _, p := range fuzzRows(c) {
		f.Add(p, true)
		f.Add(p, false)
	}
	b := c.bench(Config{Versions: VersionSet(1, 2, 3, 4)})
	f.Fuzz(func(t *testing.T, p []byte, keys bool) {
		b.config.Rand = new(testRand) // the same input shall do the same
		b.keys = nil
		if keys {
			b.keys = c.set
		}
		reply, v := b.ask(p)
		oracle(t, c, p, reply, v)
	})
}

// FuzzRespond_MutatedNTS starts from a valid request, so that the fuzzer reaches what lies behind the cookie:
// it changes, cuts out and inserts bytes, or has wrong bytes sealed with the right key.
func FuzzRespond_MutatedNTS(f *testing.F) {
	f.Add(uint8(0), uint16(50), []byte{1}, []byte(nil), uint8(16), false)
	f.Add(uint8(7), uint16(0), []byte(nil), []byte{0x03, 0x04, 0, 4}, uint8(16), false)
	f.Add(uint8(2), uint16(84), []byte{0, 0, 0, 9}, []byte{0x04, 0x04, 0, 4}, uint8(8), true)
	f.Add(uint8(1), uint16(230), []byte{0xff, 0xff}, bytes.Repeat([]byte{1, 4, 0, 4}, 20), uint8(0), true)
	clients := []*ntsClient{newNTSClient(f, aead.SIVCMAC256), newNTSClient(f, aead.SIVCMAC512), newNTSClient(f, aead.GCMSIV128)}
	f.Fuzz(func(t *testing.T, k uint8, at uint16, mask, inner []byte, nonce uint8, insert bool) {
		c := clients[int(k>>5)%len(clients)]
		c.rnd = 1 // the same input shall do the same
		b := c.bench(Config{})
		cookie := c.cookie()
		p := ntp.AppendField(c.start(), ntp.FieldCookie, cookie)
		for range k & 15 {
			p = ntp.AppendField(p, ntp.FieldCookiePlaceholder, make([]byte, len(cookie)))
		}
		n := c.keys.Algorithm.NonceSize()
		if c.keys.Algorithm != aead.GCMSIV128 && nonce > 0 {
			n = int(nonce)
		}
		inner = inner[:min(len(inner), 1000)]
		nonceEnd := len(p) + 8 + n
		p = c.seal(p, n, inner, 0)
		good := bytes.Clone(p)
		p = mutate(p, int(at), mask, insert)
		reply, v := b.ask(p)
		oracle(t, c, p, reply, v)
		if len(p) >= len(good) { // the padding of nonce and ciphertext means nothing (RFC 8915 §5.6)
			sealedEnd := nonceEnd + -n&3 + 16 + len(inner)
			clear(p[nonceEnd : nonceEnd+-n&3])
			clear(p[sealedEnd:len(good)])
		}
		if v == AnsweredNTS && !bytes.HasPrefix(p, good) {
			t.Fatalf("a changed request was taken for authentic; mask %x at %d", mask, at)
		}
	})
}

// mutate XORs the mask onto p or inserts it; an empty mask cuts p off.
func mutate(p []byte, at int, mask []byte, insert bool) []byte {
	at %= len(p) + 1
	switch {
	case len(mask) == 0:
		if at == 0 {
			return p
		}
		return p[:at]
	case insert:
		return append(append(bytes.Clone(p[:at]), mask...), p[at:]...)
	}
	for i, m := range mask {
		if at+i < len(p) {
			p[at+i] ^= m
		}
	}
	return p
}

// FuzzAccess compares the lists with the plain definition.
func FuzzAccess(f *testing.F) {
	f.Add([]byte{10, 0, 0, 0, 8, 10, 1, 0, 0, 16}, []byte{10, 1, 2, 3})
	f.Fuzz(func(t *testing.T, list, addr []byte) {
		checkAccess(t, list, addr)
	})
}
