package nts

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
)

// What a request costs is bounded by its bytes. Opening it takes each byte through a cipher once or, inside the cookie and
// the encrypted part, twice; each cookie that is sealed for it, four times its own length, was paid for by a cookie or
// placeholder of that length in the request. The tests below count cookies by the nonces that are drawn for them, one
// each and one for the answer; ones that were sealed in vain count, too.

// sealedFor runs a request through the server and returns how many cookies were sealed and the reply.
func sealedFor(t interface{ Fatal(...any) }, s *testServer, pkt []byte) (v RequestVerdict, cookies int, reply []byte) {
	var f ntp.Fields
	if f.Trailer(pkt, 4) != nil {
		return Drop, 0, nil
	}
	v = s.req.Open(pkt, &f, s.ks, s.seal)
	if v != Valid {
		return v, 0, nil
	}
	var drawn counter
	reply, ok := s.req.AppendResponse(replyHeader(pkt), s.ks, s.seal, &drawn, len(pkt))
	if !ok {
		if drawn.n > 0 {
			t.Fatal("drawn for no answer")
		}
		return v, 0, nil
	}
	return v, drawn.n/maxNonce - 1, reply
}

// TestN02_CookiesArePaidFor: requests of any fields, known and unknown, fitting and not, in the clear and encrypted, up to
// the longest packet, get no more cookies than they have room for themselves, no more than eight, and no longer reply.
func TestN02_CookiesArePaidFor(t *testing.T) {
	for _, a := range algorithms {
		s := newTestServer(t, a)
		cookie := len(s.cookie())
		valid, most := 0, 0
		rapid.Check(t, func(t *rapid.T) {
			s.keys, s.rnd = testKeys(a, 2), random(byte(rapid.Uint8().Draw(t, "seed")))
			field := func(dst []byte, name string) []byte {
				types := []ntp.FieldType{ntp.FieldCookiePlaceholder, ntp.FieldCookiePlaceholder, 0x4242, ntp.FieldUniqueID}
				size := cookie
				if rapid.IntRange(0, 3).Draw(t, name+" fits") == 0 {
					size = rapid.IntRange(0, 300).Draw(t, name+" size")
				}
				return ntp.AppendField(dst, rapid.SampledFrom(types).Draw(t, name), make([]byte, size))
			}
			pkt := ntp.AppendField(header(), ntp.FieldUniqueID, testUID(1))
			pkt = ntp.AppendField(pkt, ntp.FieldCookie, s.cookie())
			for range rapid.IntRange(0, ntp.MaxFields).Draw(t, "clear") {
				pkt = field(pkt, "clear")
			}
			var inner []byte
			for range rapid.IntRange(0, 2*ntp.MaxFields).Draw(t, "encrypted") {
				inner = field(inner, "encrypted")
			}
			pkt = s.sealed(pkt, inner)
			if len(pkt) > ntp.MaxPacket {
				return // not read at all
			}
			v, cookies, reply := sealedFor(t, s, pkt)
			if v == Valid {
				valid++
			}
			most = max(most, cookies)
			if cookies > maxCookies || cookies*(fieldHeader+cookie) > len(pkt) || len(reply) > len(pkt) {
				t.Fatalf("%d bytes: %d cookies of %d, reply %d", len(pkt), cookies, cookie, len(reply))
			}
		})
		if valid < 5 || most < 3 {
			t.Errorf("%v: only %d valid requests, at most %d cookies: nothing was shown", a, valid, most)
		}
	}
}

// TestN02_LongestRequests: what fills the longest packet with as many fields as may be costs no more than its bytes.
func TestN02_LongestRequests(t *testing.T) {
	for _, a := range algorithms {
		s := newTestServer(t, a)
		size := len(s.cookie())
		start := func() []byte {
			return ntp.AppendField(ntp.AppendField(header(), ntp.FieldUniqueID, testUID(1)), ntp.FieldCookie, s.cookie())
		}
		fill := func(pkt []byte, t ntp.FieldType, value, fields int) []byte {
			for range fields {
				pkt = ntp.AppendField(pkt, t, make([]byte, value))
			}
			return pkt
		}
		fits := min((ntp.MaxPacket-len(start())-60)/(size+fieldHeader), ntp.MaxFields-3)
		inner := fill(nil, ntp.FieldCookiePlaceholder, size, fits)
		for name, tt := range map[string]struct {
			pkt   []byte
			want  RequestVerdict
			least int // cookies
		}{
			"placeholders":           {s.sealed(fill(start(), ntp.FieldCookiePlaceholder, size, fits), nil), Valid, min(maxCookies, fits+1)},
			"encrypted placeholders": {s.sealed(start(), inner), Valid, min(maxCookies, fits+1)},
			"unknown fields":         {s.sealed(fill(start(), 0x4242, 12, ntp.MaxFields-3), nil), Valid, 1},
			"long unknown fields":    {s.sealed(fill(start(), 0x4242, (ntp.MaxPacket-len(start())-60)/2&^3, 2), nil), Valid, 1},
			"encrypted unknown":      {s.sealed(start(), fill(nil, 0x4242, size, fits)), Valid, 1},
			"cookies":                {s.sealed(fill(start(), ntp.FieldCookie, size, fits-1), nil), Drop, 0},
			"short cookies":          {s.sealed(fill(start(), ntp.FieldCookie, 12, ntp.MaxFields-3), nil), Drop, 0},
			"too many fields":        {s.sealed(fill(start(), 0x4242, 12, ntp.MaxFields-2), nil), Drop, 0},
			"too many encrypted":     {s.sealed(start(), fill(nil, ntp.FieldCookiePlaceholder, 12, ntp.MaxFields+1)), Drop, 0},
		} {
			if len(tt.pkt) > ntp.MaxPacket {
				t.Fatalf("%v, %s: %d bytes", a, name, len(tt.pkt))
			}
			v, cookies, reply := sealedFor(t, s, tt.pkt)
			if v != tt.want || cookies < tt.least || cookies > max(1, tt.least) && tt.want == Valid ||
				cookies*(fieldHeader+size) > len(tt.pkt) || len(reply) > len(tt.pkt) {
				t.Errorf("%v, %s, %d bytes: verdict %v, %d cookies, reply %d; want %v, %d", a, name, len(tt.pkt), v, cookies, len(reply), tt.want, tt.least)
			}
		}
	}
}

// TestN06_WhatIsNoCookieCostsNoKey: a cookie with the id of no key, or of a size that none has, is not tried with any, and
// where no cookie opens no client's key is expanded.
func TestN06_WhatIsNoCookieCostsNoKey(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	for range 7 {
		s.ks = s.ks.Rotate(masterKey(t, byte(len(s.ks.keys)+1)))
	}
	good := s.request(0)
	if v := s.open(good); v != Valid {
		t.Fatal(v)
	}
	before, masters := s.seal.c2s, slices.Clone(s.seal.masters)
	for _, at := range []int{0, 3} { // of the id
		bad := flip(good, (ntp.HeaderLen+fieldHeader+32+fieldHeader+at)*8)
		if v := s.open(bad); v != SendNAK {
			t.Fatal(v)
		}
	}
	if !slices.Equal(s.seal.masters, masters) {
		t.Error("a key was tried for a cookie that has the id of none")
	}
	if v := s.open(flip(good, (ntp.HeaderLen+fieldHeader+32+fieldHeader+cookieHead+1)*8)); v != SendNAK {
		t.Fatal(v)
	}
	if s.seal.c2s != before {
		t.Error("a client's key was expanded for a cookie that did not open")
	}
}
