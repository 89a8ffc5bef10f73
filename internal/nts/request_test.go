package nts

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
)

// innerFields decrypts a reply with the client's key and returns the encrypted fields.
func innerFields(t *testing.T, k Keys, reply []byte) []ntp.Field {
	t.Helper()
	var f, inner ntp.Fields
	if err := f.Trailer(reply, 4); err != nil {
		t.Fatal(err)
	}
	outer, at, ok := splitFields(&f)
	if !ok {
		t.Fatal("reply without authenticator")
	}
	if n, _ := count(outer, ntp.FieldCookie); n != 0 {
		t.Fatal("cookie in clear")
	}
	auth, ok := parseAuthenticator(at.Value)
	if !ok {
		t.Fatal("malformed authenticator")
	}
	c, err := newCipher(k.Algorithm, k.S2C)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := c.Open(nil, auth.nonce, auth.sealed, reply[:at.Offset])
	if err != nil {
		t.Fatal(err)
	}
	if err := inner.Inner(plain); err != nil {
		t.Fatal(err)
	}
	return inner.All()
}

func TestN01_AsManyCookiesAsFieldsAllEncryptedNotLonger(t *testing.T) {
	for _, a := range algorithms {
		for k := range 8 {
			t.Run(fmt.Sprintf("%v, %d placeholders", a, k), func(t *testing.T) {
				s := newTestServer(t, a)
				pkt := s.request(k)
				if v := s.open(pkt); v != Valid {
					t.Fatalf("verdict %v", v)
				}
				reply := s.answer(pkt)
				if len(reply) == 0 || len(reply) > len(pkt) {
					t.Fatalf("reply %d bytes, request %d", len(reply), len(pkt))
				}
				fields := innerFields(t, s.keys, reply)
				if len(fields) != k+1 {
					t.Fatalf("%d encrypted fields, want %d cookies", len(fields), k+1)
				}
				seen := map[string]bool{}
				for _, f := range fields {
					var k Keys
					if f.Type != ntp.FieldCookie || !s.seal.Open(s.ks, f.Value, &k) || !sameKeys(k, s.keys) {
						t.Errorf("field %#x of %d bytes is no cookie of ours", f.Type, len(f.Value))
					}
					seen[string(f.Value)] = true
				}
				if len(seen) != k+1 {
					t.Error("a cookie twice")
				}
			})
		}
	}
}

// counter counts what is drawn from it: every cookie sealed draws its nonce.
type counter struct{ n int }

func (c *counter) Read(b []byte) (int, error) { c.n += len(b); return len(b), nil }

func TestN02_ManyPlaceholdersCostNoMoreThanSeven(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	if v := s.open(s.request(7)); v != Valid {
		t.Fatal(v)
	}
	var seven counter
	s.req.AppendResponse(replyHeader(s.request(7)), s.ks, s.seal, &seven, 2000)
	for _, k := range []int{8, 13, 14, 33, 200} {
		pkt := s.request(k)
		v := s.open(pkt)
		if k > 13 && v != Drop {
			t.Errorf("%d placeholders: %v, want the field cap to drop", k, v)
		}
		if k > 13 {
			continue
		}
		var drawn counter
		reply, ok := s.req.AppendResponse(replyHeader(pkt), s.ks, s.seal, &drawn, len(pkt))
		if n := len(innerFields(t, s.keys, reply)); !ok || n != 8 || drawn.n != seven.n {
			t.Errorf("%d placeholders: %d cookies, %d random bytes, want those of seven: %d", k, n, drawn.n, seven.n)
		}
	}
}

func TestN03_PlaceholderOfOtherLengthGetsNoCookie(t *testing.T) {
	for _, delta := range []int{-4, 4, -100, 40} {
		s := newTestServer(t, aead.SIVCMAC256)
		pkt := ntp.AppendField(header(), ntp.FieldUniqueID, testUID(1))
		cookie := s.cookie()
		pkt = ntp.AppendField(pkt, ntp.FieldCookie, cookie)
		pkt = ntp.AppendField(pkt, ntp.FieldCookiePlaceholder, make([]byte, len(cookie)))
		pkt = ntp.AppendField(pkt, ntp.FieldCookiePlaceholder, make([]byte, len(cookie)+delta))
		pkt = s.sealed(pkt, nil)
		if v := s.open(pkt); v != Valid || s.req.Cookies != 2 {
			t.Errorf("%+d: %v, %d cookies", delta, v, s.req.Cookies)
		}
		if reply := s.answer(pkt); len(reply) > len(pkt) {
			t.Errorf("%+d: reply %d bytes, request %d", delta, len(reply), len(pkt))
		}
	}
}

// TestN03_EncryptedPlaceholdersCount: RFC 8915 §5.5 lets a client hide them.
func TestN03_EncryptedPlaceholdersCount(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	cookie := s.cookie()
	pkt := ntp.AppendField(header(), ntp.FieldUniqueID, testUID(1))
	pkt = ntp.AppendField(pkt, ntp.FieldCookie, cookie)
	var inner []byte
	for range 3 {
		inner = innerField(inner, ntp.FieldCookiePlaceholder, make([]byte, len(cookie)))
	}
	pkt = s.sealed(pkt, inner)
	if v := s.open(pkt); v != Valid || s.req.Cookies != 4 {
		t.Fatalf("%v, %d cookies", v, s.req.Cookies)
	}
	if reply := s.answer(pkt); len(reply) != len(pkt) || len(innerFields(t, s.keys, reply)) != 4 {
		t.Errorf("reply %d bytes, request %d", len(reply), len(pkt))
	}
}

// story is a request made field by field and what may come of it.
type story struct {
	name string
	make func(s *testServer) []byte
	want RequestVerdict
}

func run(t *testing.T, stories []story) {
	t.Helper()
	for _, tt := range stories {
		t.Run(tt.name, func(t *testing.T) {
			s := newTestServer(t, aead.SIVCMAC256)
			if v := s.open(tt.make(s)); v != tt.want {
				t.Errorf("verdict %v, want %v", v, tt.want)
			}
		})
	}
}

func TestN04_CookieTwiceLateOrHidden(t *testing.T) {
	uid := func() []byte { return ntp.AppendField(header(), ntp.FieldUniqueID, testUID(1)) }
	run(t, []story{
		{"two cookies", func(s *testServer) []byte {
			pkt := ntp.AppendField(uid(), ntp.FieldCookie, s.cookie())
			return s.sealed(ntp.AppendField(pkt, ntp.FieldCookie, s.cookie()), nil)
		}, Drop},
		{"cookie after the authenticator", func(s *testServer) []byte {
			return ntp.AppendField(s.sealed(uid(), nil), ntp.FieldCookie, s.cookie())
		}, Drop},
		{"cookie only in the ciphertext", func(s *testServer) []byte {
			return s.sealed(uid(), innerField(nil, ntp.FieldCookie, s.cookie()))
		}, Drop},
		{"no authenticator", func(s *testServer) []byte { return ntp.AppendField(uid(), ntp.FieldCookie, s.cookie()) }, Drop},
		{"placeholder only", func(s *testServer) []byte {
			return ntp.AppendField(uid(), ntp.FieldCookiePlaceholder, make([]byte, 104))
		}, Drop},
		{"authenticator only", func(s *testServer) []byte { return s.sealed(header(), nil) }, Drop},
	})
}

func TestN05_UniqueIdentifier(t *testing.T) {
	with := func(ids ...[]byte) func(s *testServer) []byte {
		return func(s *testServer) []byte {
			pkt := header()
			for _, id := range ids {
				pkt = ntp.AppendField(pkt, ntp.FieldUniqueID, id)
			}
			return s.sealed(ntp.AppendField(pkt, ntp.FieldCookie, s.cookie()), nil)
		}
	}
	run(t, []story{
		{"missing", with(), Drop},
		{"28 bytes", with(make([]byte, 28)), Drop},
		{"twice", with(testUID(1), testUID(1)), Drop},
		{"32 bytes", with(testUID(1)), Valid},
		{"1000 bytes", with(make([]byte, 1000)), Valid},
		{"after the authenticator", func(s *testServer) []byte {
			pkt := s.sealed(ntp.AppendField(header(), ntp.FieldCookie, s.cookie()), nil)
			return ntp.AppendField(pkt, ntp.FieldUniqueID, testUID(1))
		}, Drop},
	})
	t.Run("1000 bytes are echoed", func(t *testing.T) {
		s := newTestServer(t, aead.SIVCMAC256)
		pkt := with(bytes.Repeat([]byte{7}, 1000))(s)
		s.open(pkt)
		reply := s.answer(pkt)
		if len(reply) > len(pkt) || !bytes.Contains(reply, bytes.Repeat([]byte{7}, 1000)) {
			t.Errorf("reply of %d bytes to %d", len(reply), len(pkt))
		}
	})
	t.Run("alone in a plain request", func(t *testing.T) {
		s := newTestServer(t, aead.SIVCMAC256)
		pkt := ntp.AppendField(header(), ntp.FieldUniqueID, testUID(1))
		if v := s.open(pkt); v != NotNTS || !bytes.Equal(s.req.UID, testUID(1)) {
			t.Fatalf("verdict %v", v)
		}
		if reply := s.req.AppendUID(replyHeader(pkt)); len(reply) != 84 || !bytes.Equal(reply[48:], pkt[48:]) {
			t.Errorf("echo %x", reply[48:])
		}
		if v := s.open(header()); v != NotNTS || s.req.UID != nil || len(s.req.AppendUID(nil)) != 0 {
			t.Error("unique identifier of an earlier request kept")
		}
	})
}

func TestN06_BadCookies(t *testing.T) {
	with := func(cookie []byte) []byte {
		pkt := ntp.AppendField(header(), ntp.FieldUniqueID, testUID(1))
		return append(pkt, rawField(ntp.FieldCookie, cookie)...)
	}
	check := func(name string, s *testServer, pkt []byte) {
		t.Helper()
		if v := s.open(pkt); v != SendNAK && v != Drop {
			t.Errorf("%s: %v", name, v)
		}
	}
	s := newTestServer(t, aead.SIVCMAC256)
	for _, n := range []int{0, 4, 12, 20, 24, 36, 40, 68, 72, 100, 104, 108, 168, 172, 1000} {
		check(fmt.Sprintf("%d bytes", n), s, s.sealed(with(make([]byte, n)), nil))
	}
	for _, n := range []uint16{5, 25, 26, 0, 0xFFFF} {
		pkt := with(make([]byte, 104))
		binary.BigEndian.PutUint16(pkt[86:], n)
		check(fmt.Sprintf("field length %d", n), s, s.sealed(pkt, nil))
	}
	good := s.cookie()
	for bit := range len(good) * 8 {
		if v := s.open(s.sealed(with(flip(good, bit)), nil)); v != SendNAK {
			t.Fatalf("bit %d: %v", bit, v)
		}
	}
	for n := range good { // no panic, and no keys, at any length
		if s.seal.Open(s.ks, good[:n], new(Keys)) {
			t.Fatalf("cookie cut to %d bytes opens", n)
		}
	}
	if s.seal.Open(s.ks, make([]byte, 60000), new(Keys)) {
		t.Error("60 kB open")
	}
	t.Run("NTS off", func(t *testing.T) {
		s := newTestServer(t, aead.SIVCMAC256)
		pkt := s.request(0)
		s.ks = nil
		if v := s.open(pkt); v != SendNAK {
			t.Errorf("verdict %v", v)
		}
		if _, ok := s.req.AppendResponse(nil, nil, s.seal, s.rnd, 2000); ok {
			t.Error("answered without keys")
		}
	})
}

func TestN07_AuthenticatorLengths(t *testing.T) {
	base := func(s *testServer) []byte {
		pkt := ntp.AppendField(header(), ntp.FieldUniqueID, testUID(1))
		return ntp.AppendField(pkt, ntp.FieldCookie, s.cookie())
	}
	for _, tt := range []struct{ nonce, ct uint16 }{
		{0, 16}, {0xFFFF, 16}, {16, 0}, {16, 15}, {16, 0xFFFF}, {0xFFFF, 0xFFFF}, {0xFFF0, 16}, {0xFFFD, 3},
		{0x8000, 0x8000}, {0, 0}, {1, 16}, {15, 16}, {17, 16}, {32, 16}, {16, 17}, {16, 32}, {0, 32},
	} {
		s := newTestServer(t, aead.SIVCMAC256)
		pkt := base(s)
		at := len(pkt)
		pkt = s.sealed(pkt, nil)
		binary.BigEndian.PutUint16(pkt[at+4:], tt.nonce)
		binary.BigEndian.PutUint16(pkt[at+6:], tt.ct)
		if v := s.open(pkt); v != Drop && v != SendNAK {
			t.Errorf("nonce %d, ciphertext %d: %v", tt.nonce, tt.ct, v)
		}
	}
	t.Run("empty nonce with a right tag", func(t *testing.T) {
		// A peer that leaves the nonce out of S2V makes a tag that would verify.
		s := newTestServer(t, aead.SIVCMAC256)
		pkt := base(s)
		c, _ := newCipher(s.keys.Algorithm, s.keys.C2S)
		body := append([]byte{0, 0, 0, 16}, c.Seal(nil, nil, nil, pkt)...)
		pkt = append(pkt, rawField(ntp.FieldAuthenticator, append(body, make([]byte, 16)...))...)
		if v := s.open(pkt); v != Drop {
			t.Errorf("verdict %v", v)
		}
	})
	t.Run("field of 8 bytes", func(t *testing.T) {
		s := newTestServer(t, aead.SIVCMAC256)
		pkt := base(s)
		if v := s.open(append(pkt, rawField(ntp.FieldAuthenticator, []byte{0, 16, 0, 16})...)); v != Drop {
			t.Errorf("verdict %v", v)
		}
	})
	t.Run("every short value", func(t *testing.T) {
		value := append([]byte{0, 16, 0, 16}, make([]byte, 32)...)
		for n := range value {
			if _, ok := parseAuthenticator(value[:n]); ok {
				t.Errorf("%d bytes parse", n)
			}
		}
	})
}

func TestN08_ShortNonceNeedsPadding(t *testing.T) {
	for _, tt := range []struct {
		algorithm aead.Algorithm
		nonce     int
		padding   int
		want      RequestVerdict
	}{
		{aead.SIVCMAC256, 8, 0, Drop},
		{aead.SIVCMAC256, 8, 4, Drop},
		{aead.SIVCMAC256, 8, 8, Valid},
		{aead.SIVCMAC256, 1, 12, Valid},
		{aead.SIVCMAC256, 13, 0, Valid},
		{aead.SIVCMAC512, 8, 0, Drop},
		{aead.SIVCMAC512, 32, 0, Valid},
		{aead.GCMSIV128, 12, 0, Valid},
		{aead.GCMSIV128, 12, 4, Valid},
		{aead.GCMSIV128, 16, 0, SendNAK}, // not a nonce of this algorithm
	} {
		s := newTestServer(t, tt.algorithm)
		pkt := ntp.AppendField(header(), ntp.FieldUniqueID, testUID(1))
		pkt = ntp.AppendField(pkt, ntp.FieldCookie, s.cookie())
		nonce := draw(s.rnd, tt.nonce)
		sealed := make([]byte, 16)
		if tt.algorithm != aead.GCMSIV128 || tt.nonce == 12 {
			c, _ := newCipher(s.keys.Algorithm, s.keys.C2S)
			sealed = c.Seal(nil, nonce, nil, pkt)
		}
		body := append([]byte{0, byte(tt.nonce), 0, 16}, nonce...)
		body = append(body, make([]byte, pad4(tt.nonce)-tt.nonce)...)
		body = append(append(body, sealed...), make([]byte, tt.padding)...)
		pkt = append(pkt, rawField(ntp.FieldAuthenticator, body)...)
		if v := s.open(pkt); v != tt.want {
			t.Errorf("%v, nonce %d, padding %d: %v, want %v", tt.algorithm, tt.nonce, tt.padding, v, tt.want)
		} else if v == Valid && len(s.answer(pkt)) > len(pkt) {
			t.Errorf("%v, nonce %d: reply longer than request", tt.algorithm, tt.nonce)
		}
	}
}

func TestN09_AnyFlippedBit(t *testing.T) {
	for _, a := range algorithms {
		s := newTestServer(t, a)
		for _, pkt := range [][]byte{s.request(0), s.request(1), s.request(7)} {
			for bit := range len(pkt) * 8 {
				flipped := flip(pkt, bit)
				switch v := s.open(flipped); {
				case v == Valid:
					t.Fatalf("%v: bit %d of byte %d: valid", a, bit%8, bit/8)
				case v == NotNTS && clientRequest(flipped[0]):
					t.Fatalf("%v: bit %d of byte %d: taken for a plain request", a, bit%8, bit/8)
				}
			}
		}
	}
}

func TestN10_FieldsAfterTheAuthenticatorAreIgnored(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	pkt := s.request(1)
	want := len(pkt)
	pkt = ntp.AppendField(pkt, ntp.FieldCookiePlaceholder, make([]byte, 104))
	pkt = ntp.AppendField(pkt, 0x7777, []byte("not to be echoed"))
	if v := s.open(pkt); v != Valid || s.req.Cookies != 2 {
		t.Fatalf("%v, %d cookies", v, s.req.Cookies)
	}
	if reply := s.answer(pkt); len(reply) != want || bytes.Contains(reply, []byte("not to be echoed")) {
		t.Errorf("reply %d bytes, want %d", len(reply), want)
	}
}

func TestN11_EncryptedFieldsMalformedOrNested(t *testing.T) {
	with := func(inner []byte) func(s *testServer) []byte {
		return func(s *testServer) []byte {
			pkt := ntp.AppendField(header(), ntp.FieldUniqueID, testUID(1))
			return s.sealed(ntp.AppendField(pkt, ntp.FieldCookie, s.cookie()), inner)
		}
	}
	run(t, []story{
		{"cut field", with([]byte{1, 4, 0, 8}), Drop},
		{"length 0", with([]byte{1, 4, 0, 0}), Drop},
		{"odd length", with([]byte{1, 4, 0, 5, 0, 0, 0, 0}), Drop},
		{"three bytes", with([]byte{1, 4, 0}), Drop},
		{"17 fields", with(bytes.Repeat([]byte{9, 9, 0, 4}, 17)), Drop},
		{"nested authenticator", with(rawField(ntp.FieldAuthenticator, make([]byte, 36))), Drop},
		{"unknown field of four bytes", with([]byte{9, 9, 0, 4}), Valid},
	})
}

func TestN12_NAKFormat(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	pkt := s.request(0)
	pkt = flip(pkt, len(pkt)*8-1)
	if v := s.open(pkt); v != SendNAK {
		t.Fatalf("verdict %v", v)
	}
	h, _ := ntp.ParseHeader(pkt)
	nak := s.req.AppendNAK(nil, &h)
	if len(nak) != 84 || len(nak) > len(pkt) {
		t.Fatalf("%d bytes", len(nak))
	}
	if nak[0] != 0xe4 || nak[1] != 0 || string(nak[12:16]) != "NTSN" || !bytes.Equal(nak[24:32], pkt[40:48]) {
		t.Errorf("header %x", nak[:48])
	}
	if !bytes.Equal(nak[4:12], make([]byte, 8)) || !bytes.Equal(nak[16:24], make([]byte, 8)) || !bytes.Equal(nak[32:48], make([]byte, 16)) {
		t.Errorf("the NAK tells more than that it is one: %x", nak[:48])
	}
	var f ntp.Fields
	if err := f.Trailer(nak, 4); err != nil || len(f.All()) != 1 || f.All()[0].Type != ntp.FieldUniqueID {
		t.Errorf("fields %v %v", f.All(), err)
	}
	if !bytes.Equal(nak[48:84], pkt[48:84]) {
		t.Error("unique identifier not echoed")
	}
}

func TestN22_CookieWithKeysOfAnotherSize(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	for _, tt := range []struct {
		algorithm aead.Algorithm
		size      int
	}{{15, 64}, {15, 16}, {17, 32}, {30, 32}, {16, 32}, {31, 32}, {0, 32}, {99, 64}} {
		k := Keys{Algorithm: tt.algorithm, C2S: make([]byte, tt.size), S2C: make([]byte, tt.size)}
		if got := s.seal.Seal(nil, s.ks, &k, s.rnd); len(got) != 0 {
			t.Errorf("%v with %d bytes: sealed", tt.algorithm, tt.size)
		}
		s.seal.pack(&k)
		cookie := s.seal.appendCookie(nil, s.ks, make([]byte, 16))
		if s.seal.Open(s.ks, cookie, new(Keys)) {
			t.Errorf("%v with %d bytes: opened", tt.algorithm, tt.size)
		}
	}
}

func TestN23_NoNTSOutsideClientRequestsOfVersion4(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	for _, first := range []byte{0x1b, 0x21, 0x25, 0x24, 0x26, 0x2b, 0x13} { // v3, modes 1 5 4 6, v5, v2
		pkt := ntp.AppendField(header(), ntp.FieldUniqueID, testUID(1))
		pkt[0] = first
		pkt = s.sealed(ntp.AppendField(pkt, ntp.FieldCookie, s.cookie()), nil)
		var f ntp.Fields
		if err := f.Trailer(pkt, 4); err != nil {
			t.Fatal(err)
		}
		if v := s.req.Open(pkt, &f, s.ks, s.seal); v != NotNTS || s.req.UID != nil {
			t.Errorf("first byte %#x: %v, UID %x", first, v, s.req.UID)
		}
	}
}

func TestAppendResponse_Limit(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	pkt := s.request(7)
	if v := s.open(pkt); v != Valid {
		t.Fatal(v)
	}
	for limit := range len(pkt) + 10 {
		dst := replyHeader(pkt)
		reply, ok := s.req.AppendResponse(dst, s.ks, s.seal, s.rnd, limit)
		if ok != (limit >= 48+36+40) {
			t.Fatalf("limit %d: %v", limit, ok)
		}
		if !ok && len(reply) != len(dst) {
			t.Fatalf("limit %d: refused and still appended", limit)
		}
		if ok && (len(reply) > limit || len(innerFields(t, s.keys, reply)) != min(8, (limit-124)/108)) {
			t.Fatalf("limit %d: %d bytes", limit, len(reply))
		}
	}
}

// Nothing is sealed twice under one nonce: not two replies to one client, and not two cookies under one master key.
func TestServer_NoncesNeverRepeat(t *testing.T) {
	for _, a := range algorithms {
		s := newTestServer(t, a)
		seen := map[string]bool{string(make([]byte, 12)): true, string(make([]byte, 16)): true}
		fresh := func(what string, nonce []byte) {
			if seen[string(nonce)] {
				t.Fatalf("%v: nonce of a %s, %x, is zero or was used before", a, what, nonce)
			}
			seen[string(nonce)] = true
		}
		pkt := s.request(7)
		if v := s.open(pkt); v != Valid {
			t.Fatal(v)
		}
		for range 100 {
			reply := s.answer(pkt)
			var f ntp.Fields
			if err := f.Trailer(reply, 4); err != nil {
				t.Fatal(err)
			}
			all := f.All()
			at, ok := parseAuthenticator(all[len(all)-1].Value)
			if !ok || len(at.nonce) != a.NonceSize() {
				t.Fatalf("%v: authenticator %x", a, all[len(all)-1].Value)
			}
			fresh("reply", at.nonce)
			for _, field := range innerFields(t, s.keys, reply) {
				fresh("cookie", field.Value[cookieID:cookieHead])
			}
		}
		if len(seen) < 902 {
			t.Errorf("%v: %d nonces", a, len(seen))
		}
	}
}

type noRandom struct{}

func (noRandom) Read([]byte) (int, error) { return 0, fmt.Errorf("no random numbers") }

func TestServer_WithoutRandomNumbers(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	pkt := s.request(0)
	s.open(pkt)
	if reply, ok := s.req.AppendResponse(replyHeader(pkt), s.ks, s.seal, noRandom{}, len(pkt)); ok || len(reply) != 48 {
		t.Error("reply without a random nonce")
	}
	if len(s.seal.Seal(nil, s.ks, &s.keys, noRandom{})) != 0 {
		t.Error("cookie without a random nonce")
	}
	if _, err := NewMasterKey(noRandom{}); err == nil {
		t.Error("master key without random numbers")
	}
}

// TestServer_DoesNotAllocate: clients take turns, so that no cipher object can be reused for the next packet.
func TestServer_DoesNotAllocate(t *testing.T) {
	for _, a := range algorithms {
		s := newTestServer(t, a)
		var packets [][]byte
		for client := range byte(5) {
			s.keys = testKeys(a, 10+client)
			packets = append(packets, s.request(int(client)+2))
		}
		var f ntp.Fields
		head, i := replyHeader(packets[0]), 0
		dst := make([]byte, 0, ntp.MaxPacket)
		step := func() {
			pkt := packets[i%len(packets)]
			i++
			if f.Trailer(pkt, 4) != nil || s.req.Open(pkt, &f, s.ks, s.seal) != Valid {
				t.Fatal("request not valid")
			}
			if _, ok := s.req.AppendResponse(append(dst, head...), s.ks, s.seal, s.rnd, len(pkt)); !ok {
				t.Fatal("no reply")
			}
		}
		step()
		if n := testing.AllocsPerRun(200, step); n != 0 {
			t.Errorf("%v: %v allocations per request", a, n)
		}
	}
}

func BenchmarkServer(b *testing.B) {
	for _, a := range algorithms {
		for _, k := range []int{0, 7} {
			b.Run(fmt.Sprintf("%v/cookies=%d", a, k+1), func(b *testing.B) {
				s := newTestServer(b, a)
				pkt := s.request(k)
				var f ntp.Fields
				head, dst := replyHeader(pkt), make([]byte, 0, ntp.MaxPacket)
				b.ReportAllocs()
				for b.Loop() {
					_ = f.Trailer(pkt, 4)
					_ = s.req.Open(pkt, &f, s.ks, s.seal)
					_, _ = s.req.AppendResponse(append(dst, head...), s.ks, s.seal, s.rnd, len(pkt))
				}
			})
		}
	}
}

// BenchmarkCookie opens a cookie and seals one, for clients that take turns, so that nothing is remembered of the last.
func BenchmarkCookie(b *testing.B) {
	for _, a := range algorithms {
		s := newTestServer(b, a)
		var cookies [4][]byte
		for i := range cookies {
			s.keys = testKeys(a, byte(i))
			cookies[i] = s.cookie()
		}
		var k Keys
		dst, i := make([]byte, 0, maxCookieSize), 0
		b.Run(fmt.Sprintf("%v/open", a), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				i++
				if !s.seal.Open(s.ks, cookies[i%len(cookies)], &k) {
					b.Fatal("does not open")
				}
			}
		})
		b.Run(fmt.Sprintf("%v/open and seal", a), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				i++
				if !s.seal.Open(s.ks, cookies[i%len(cookies)], &k) || len(s.seal.Seal(dst, s.ks, &k, s.rnd)) == 0 {
					b.Fatal("no cookie")
				}
			}
		})
	}
}
