package nts

import (
	"bytes"
	"errors"
	"testing"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
)

// FuzzRequestOpen gives a server with known keys the trailer of a request: as it is, and with a cookie and a right
// authenticator added, so that the code behind the cryptography is reached. No reply may be longer than its
// request, and none may be valid that the key did not seal.
func FuzzRequestOpen(f *testing.F) {
	s := newTestServer(f, aead.SIVCMAC256)
	for _, k := range []int{0, 1, 7} {
		f.Add(s.request(k)[48:], []byte{}, uint8(0), uint8(0x23))
	}
	uid := ntp.AppendField(nil, ntp.FieldUniqueID, testUID(1))
	f.Add(uid, rawField(ntp.FieldCookiePlaceholder, make([]byte, 104)), uint8(1), uint8(0x23))
	f.Add(uid, rawField(ntp.FieldAuthenticator, make([]byte, 36)), uint8(3), uint8(0x23))
	f.Add(append(uid, rawField(ntp.FieldCookiePlaceholder, make([]byte, 168))...), []byte{1, 2, 3}, uint8(2), uint8(0x1b))
	f.Add([]byte{4, 4, 0, 8, 0xff, 0xff, 0xff, 0xff}, []byte{}, uint8(0), uint8(0x23))
	f.Fuzz(func(t *testing.T, trailer, inner []byte, how, first uint8) {
		if len(trailer)+len(inner) > ntp.MaxPacket-300 {
			return
		}
		s := newTestServer(t, algorithms[how>>1%4])
		pkt := append(header(), trailer...)
		pkt[0] = first
		if how&1 == 1 {
			pkt = s.sealed(append(pkt, rawField(ntp.FieldCookie, s.cookie())...), inner)
		}
		v := s.open(pkt)
		if v == Valid && !verifies(s.req.Keys.Algorithm, s.req.Keys.C2S, pkt) {
			t.Fatalf("valid without the key: %x", pkt)
		}
		switch v {
		case Valid:
			if s.req.Cookies < 1 || s.req.Cookies > 8 {
				t.Fatalf("%d cookies", s.req.Cookies)
			}
			reply := s.answer(pkt)
			if reply == nil || len(reply) > len(pkt) {
				t.Fatalf("reply %d bytes to %d", len(reply), len(pkt))
			}
			s.keys = s.req.Keys.clone() // a cookie from the seeds may hold other keys
			c := s.session(t, 1)
			uid := bytes.Clone(s.req.UID)
			if v := judge(t, c, reply, uid); v != Authentic {
				t.Fatalf("client: %v", v)
			}
		case SendNAK:
			h, _ := ntp.ParseHeader(pkt)
			if nak := s.req.AppendNAK(nil, &h); len(nak) > len(pkt) {
				t.Fatalf("NAK %d bytes to %d", len(nak), len(pkt))
			}
		case NotNTS:
			if echo := s.req.AppendUID(make([]byte, 48)); len(echo) > len(pkt) {
				t.Fatalf("echo %d bytes to %d", len(echo), len(pkt))
			}
		}
	})
}

// verifies reports whether the first authenticator of a packet is right, checked without the code under test.
func verifies(a aead.Algorithm, key, pkt []byte) bool {
	var f ntp.Fields
	if f.Trailer(pkt, 4) != nil {
		return false
	}
	_, at, _ := splitFields(&f)
	auth, ok := parseAuthenticator(at.Value)
	if !ok {
		return false
	}
	c, _ := newCipher(a, key)
	_, err := c.Open(nil, auth.nonce, auth.sealed, pkt[:at.Offset])
	return err == nil
}

// FuzzOpenResponse gives a client the trailer of a reply, raw or with the fields sealed by the right key. Only a
// sealed reply may change the jar, which never holds more than eight cookies or one that cannot be sent.
func FuzzOpenResponse(f *testing.F) {
	s := newTestServer(f, aead.SIVCMAC256)
	uid := ntp.AppendField(nil, ntp.FieldUniqueID, testUID(1))
	f.Add(uid, []byte{}, uint8(0), []byte("NTSN"))
	f.Add(uid, innerField(nil, ntp.FieldCookie, make([]byte, 104)), uint8(1), []byte{0, 0, 0, 1})
	f.Add(uid, bytes.Repeat(innerField(nil, ntp.FieldCookie, make([]byte, 16)), 16), uint8(3), []byte{})
	f.Add(uid, innerField(nil, ntp.FieldCookie, nil), uint8(7), []byte{})
	f.Add(s.reply(testUID(1), nil, nil)[48:], []byte{}, uint8(0), []byte{})
	f.Fuzz(func(t *testing.T, trailer, inner []byte, how uint8, refid []byte) {
		if len(trailer)+len(inner) > ntp.MaxPacket-200 {
			return
		}
		s := newTestServer(t, algorithms[how>>1%4])
		c := s.session(t, 2)
		pkt := append(replyHeader(header()), trailer...)
		copy(pkt[12:16], refid)
		if how&0x10 != 0 {
			pkt[1] = 0
		}
		if how&1 == 1 {
			sealer, _ := newCipher(s.keys.Algorithm, s.keys.S2C)
			pkt = appendAuthenticator(pkt, sealer, draw(s.rnd, s.keys.Algorithm.NonceSize()), inner)
		}
		before := append([]byte(nil), c.jar.slots[0][:]...)
		v := judge(t, c, pkt, testUID(1))
		if v == Authentic && !verifies(s.keys.Algorithm, s.keys.S2C, pkt) {
			t.Fatalf("authentic without the key: %x", pkt)
		}
		if v != Authentic && (c.Cookies() != 2 || !bytes.Equal(before, c.jar.slots[0][:])) {
			t.Fatalf("%v changed the jar", v)
		}
		for i := range c.Cookies() {
			if !usableCookie(c.jar.at(i)) {
				t.Fatalf("cookie of %d bytes kept", len(c.jar.at(i)))
			}
		}
		if c.Cookies() > 8 {
			t.Fatalf("%d cookies", c.Cookies())
		}
		if next, err := c.AppendRequest(header(), testUID(2), s.rnd); err != nil || len(next) > MaxRequest {
			t.Fatalf("next request %d bytes, %v", len(next), err)
		}
	})
}

// FuzzCookieOpen: no input but a cookie that the keys sealed opens, in neither layout.
func FuzzCookieOpen(f *testing.F) {
	other := newTestServer(f, aead.SIVCMAC256)
	other.ks = NewKeySet(masterKey(f, 77), 7)
	f.Add(other.cookie(), uint16(0))
	f.Add(make([]byte, 168), uint16(9))
	f.Add([]byte{}, uint16(0))
	foreign, _, err := UnmarshalKeySet(foreignFile(1, 5, 1, 2, 2), noon, 7)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte{0, 0, 0, 6, 0, 82}, make([]byte, 98)...), uint16(0))
	f.Fuzz(func(t *testing.T, junk []byte, bit uint16) {
		s := newTestServer(t, algorithms[len(junk)%4])
		good := s.cookie()
		var k Keys
		if !s.seal.Open(s.ks, good, &k) || !sameKeys(k, s.keys) {
			t.Fatal("good cookie does not open")
		}
		if s.seal.Open(s.ks, flip(good, int(bit)%(len(good)*8)), &k) {
			t.Fatalf("opens with bit %d flipped", bit)
		}
		if s.seal.Open(foreign, junk, &k) || s.seal.Open(s.ks, junk, &k) {
			t.Fatalf("%x opens", junk)
		}
	})
}

// FuzzUnmarshalKeySet: any file loads whole or is refused with ErrKeyFile; what loads is written and read again
// as the same.
func FuzzUnmarshalKeySet(f *testing.F) {
	f.Add(NewKeySet(masterKey(f, 1), 3).Rotate(masterKey(f, 2)).Marshal(noon), uint8(3))
	f.Add(foreignFile(1, 5, 1, 2, 2), uint8(7))
	f.Add(foreignFile(1, 5, 2, 2, 2), uint8(7))
	f.Add([]byte(keyFileMagic), uint8(0))
	f.Add([]byte{}, uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, stale uint8) {
		ks, rotated, err := UnmarshalKeySet(b, noon, int(stale))
		if err != nil {
			if !errors.Is(err, ErrKeyFile) || ks != nil {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(ks.keys) < 1 || len(ks.keys) > int(stale)+1 || rotated.After(noon) {
			t.Fatalf("%d keys, rotated %v", len(ks.keys), rotated)
		}
		again, at, err := UnmarshalKeySet(ks.Marshal(rotated), noon, int(stale))
		if err != nil || !at.Equal(rotated) || len(again.keys) != len(ks.keys) {
			t.Fatalf("read again: %v", err)
		}
		keys := testKeys(aead.SIVCMAC256, 1)
		if !NewSealer().Open(again, NewSealer().Seal(nil, ks, &keys, random(1)), new(Keys)) {
			t.Fatal("cookie lost")
		}
	})
}
