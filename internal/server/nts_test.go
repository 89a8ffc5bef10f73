package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
)

var algorithms = []aead.Algorithm{aead.SIVCMAC256, aead.SIVCMAC384, aead.SIVCMAC512, aead.GCMSIV128}

// noTime fails unless the verdict is one of those that tell nobody the time.
func noTime(t *testing.T, b *bench, p []byte) Verdict {
	t.Helper()
	reply, verdict := b.ask(p)
	if verdict == Answered || verdict == AnsweredNTS {
		t.Errorf("time was told: %v", verdict)
	}
	if len(reply) >= 48 && (reply[1] != 0 || !bytes.Equal(reply[16:24], make([]byte, 8)) || !bytes.Equal(reply[32:48], make([]byte, 16))) {
		t.Errorf("%v with a stratum or stamps: %x", verdict, reply[:48])
	}
	if len(reply) > len(p) {
		t.Errorf("reply of %d bytes to a request of %d", len(reply), len(p))
	}
	return verdict
}

func TestN01_OneCookieForEachPlaceholder(t *testing.T) {
	for _, a := range algorithms {
		if !a.Supported() {
			t.Errorf("%v not supported", a)
			continue
		}
		for k := range 8 {
			t.Run(fmt.Sprintf("%v %d", a, k), func(t *testing.T) {
				c := newNTSClient(t, a)
				b := c.bench(Config{})
				p := c.request(k)
				reply := b.expect(t, p, AnsweredNTS, -1)
				cookies, ok := c.open(reply)
				if !ok {
					t.Fatal("reply does not verify")
				}
				if len(cookies) != k+1 {
					t.Errorf("%d cookies, want %d", len(cookies), k+1)
				}
				seen := map[string]bool{}
				for _, x := range cookies {
					if !c.holds(x) || seen[string(x)] {
						t.Errorf("cookie %x", x)
					}
					seen[string(x)] = true
				}
				h := parse(t, reply)
				if h.Stratum != 2 || h.Origin != testXmt || !h.Receive.Before(h.Transmit) || h.Leap != ntp.LeapNone {
					t.Errorf("header %+v", h)
				}
			})
		}
	}
}

// The production client and the production server understand each other until the jar is full.
func TestN01_WithSession(t *testing.T) {
	for _, a := range algorithms {
		c := newNTSClient(t, a)
		b := c.bench(Config{})
		session, err := nts.NewSession(nts.SessionParams{Keys: c.keys, Cookies: [][]byte{c.cookie()}})
		if err != nil {
			t.Fatal(err)
		}
		for round := range 3 {
			p, err := session.AppendRequest(header(0x23), c.uid, &c.rnd)
			if err != nil {
				t.Fatal(err)
			}
			reply := b.expect(t, p, AnsweredNTS, -1)
			var f ntp.Fields
			if err := f.Trailer(reply, 4); err != nil {
				t.Fatal(err)
			}
			if v := session.OpenResponse(reply, &f, c.uid); v != nts.Authentic {
				t.Errorf("%v round %d: %v", a, round, v)
			}
		}
		if session.Cookies() < 6 {
			t.Errorf("%v: %d cookies in the end", a, session.Cookies())
		}
	}
}

func TestN02_CookieLimit(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	b := c.bench(Config{})
	for _, k := range []int{8, 9, 12, 33, 200} {
		p := c.request(k)
		if len(p) > ntp.MaxPacket {
			b.expect(t, p, TooLong, 0)
			p = p[:ntp.MaxPacket]
		}
		reply, _ := b.ask(p)
		cookies, _ := c.open(reply)
		if len(cookies) > 8 || k == 8 && len(cookies) != 8 {
			t.Errorf("%d placeholders: %d cookies", k, len(cookies))
		}
	}
}

func TestN03_PlaceholderOfAnotherSize(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	b := c.bench(Config{})
	for _, d := range []int{-100, -4, 4, 100} {
		cookie := c.cookie()
		p := ntp.AppendField(c.start(), ntp.FieldCookie, cookie)
		p = ntp.AppendField(p, ntp.FieldCookiePlaceholder, make([]byte, max(len(cookie)+d, 12)))
		p = c.seal(p, 16, nil, 0)
		reply := b.expect(t, p, AnsweredNTS, -1)
		if cookies, ok := c.open(reply); !ok || len(cookies) != 1 {
			t.Errorf("%+d bytes: %d cookies, %v", d, len(cookies), ok)
		}
	}
}

func TestN04_CookieInTheWrongPlace(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	b := c.bench(Config{})
	two := ntp.AppendField(ntp.AppendField(c.start(), ntp.FieldCookie, c.cookie()), ntp.FieldCookie, c.cookie())
	noTime(t, b, c.seal(two, 16, nil, 0))
	noTime(t, b, ntp.AppendField(c.seal(c.start(), 16, nil, 0), ntp.FieldCookie, c.cookie()))
	noTime(t, b, c.seal(c.start(), 16, innerField(ntp.FieldCookie, c.cookie()), 0))
	noTime(t, b, ntp.AppendField(c.start(), ntp.FieldCookie, c.cookie()))
	noTime(t, b, c.seal(c.start(), 16, nil, 0))
	noTime(t, b, ntp.AppendField(c.start(), ntp.FieldCookiePlaceholder, make([]byte, 104)))
}

func TestN05_UniqueID(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	b := c.bench(Config{})
	with := func(ids ...[]byte) []byte {
		p := header(0x23)
		for _, id := range ids {
			p = ntp.AppendField(p, ntp.FieldUniqueID, id)
		}
		return c.seal(ntp.AppendField(p, ntp.FieldCookie, c.cookie()), 16, nil, 0)
	}
	noTime(t, b, with())
	noTime(t, b, with(make([]byte, 28)))
	noTime(t, b, with(c.uid, c.uid))
	long := bytes.Repeat([]byte{7}, 1000)
	reply := b.expect(t, with(long), AnsweredNTS, -1)
	if !bytes.Equal(reply[52:1052], long) {
		t.Error("long unique identifier not echoed")
	}
}

func TestN06_HostileCookies(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	for _, keys := range []*nts.KeySet{c.set, nil} {
		name := "NTS on"
		if keys == nil {
			name = "NTS off"
		}
		t.Run(name, func(t *testing.T) {
			b := c.bench(Config{})
			b.keys = keys
			for _, n := range []int{0, 4, 12, 20, 24, 100, 104, 108, 350, 352, 1500} {
				p := field(c.start(), ntp.FieldCookie, n+4, make([]byte, n)) // not padded to 16 bytes
				noTime(t, b, c.seal(p, 16, nil, 0))
			}
			for _, n := range []int{5, 25, 26} {
				noTime(t, b, c.seal(field(c.start(), ntp.FieldCookie, n, make([]byte, 104)), 16, nil, 0))
			}
			noTime(t, b, append(ntp.AppendField(c.start(), ntp.FieldCookie, make([]byte, 60000)), 1, 2, 3))
			good := c.cookie()
			for bit := range len(good) * 8 {
				bad := bytes.Clone(good)
				bad[bit/8] ^= 1 << (bit % 8)
				if v := noTime(t, b, c.seal(ntp.AppendField(c.start(), ntp.FieldCookie, bad), 16, nil, 0)); v != AnsweredNAK {
					t.Fatalf("bit %d: %v", bit, v)
				}
			}
		})
	}
	b := c.bench(Config{})
	b.keys = nil
	if v := noTime(t, b, c.request(0)); v != AnsweredNAK {
		t.Errorf("good request, NTS off: %v", v)
	}
	stranger := newNTSClient(t, aead.SIVCMAC256)
	stranger.rnd = 42
	master, _ := nts.NewMasterKey(&stranger.rnd)
	stranger.set = nts.NewKeySet(master, 0)
	if v := noTime(t, c.bench(Config{}), stranger.request(0)); v != AnsweredNAK {
		t.Errorf("cookie of another server: %v", v)
	}
}

func TestN07_HostileAuthenticators(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	b := c.bench(Config{})
	good := c.request(0)
	at := len(good) - 40 // the authenticator: 4 + 4 + 16 + 16
	for _, nonce := range []uint16{0, 1, 15, 17, 32, 0x7fff, 0x8000, 0xfff0, 0xfffc, 0xffff} {
		for _, sealed := range []uint16{0, 1, 15, 17, 32, 0x7fff, 0x8000, 0xfff0, 0xfffc, 0xffff} {
			p := bytes.Clone(good)
			binary.BigEndian.PutUint16(p[at+4:], nonce)
			binary.BigEndian.PutUint16(p[at+6:], sealed)
			noTime(t, b, p)
			p = bytes.Clone(good)
			binary.BigEndian.PutUint16(p[at+4:], nonce)
			noTime(t, b, p)
			p = bytes.Clone(good)
			binary.BigEndian.PutUint16(p[at+6:], sealed)
			noTime(t, b, p)
		}
	}
	for _, n := range []int{8, 12, 16, 20, 24, 28, 32, 36} {
		p := bytes.Clone(good[:at+n])
		binary.BigEndian.PutUint16(p[at+2:], uint16(n))
		noTime(t, b, p)
	}
}

func TestN08_ShortNonce(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	b := c.bench(Config{})
	p := ntp.AppendField(c.start(), ntp.FieldCookie, c.cookie())
	if v := noTime(t, b, c.seal(p, 8, nil, 0)); v != BadNTS {
		t.Errorf("short nonce without padding: %v", v)
	}
	p = ntp.AppendField(c.start(), ntp.FieldCookie, c.cookie())
	reply := b.expect(t, c.seal(p, 8, nil, 8), AnsweredNTS, -1)
	if _, ok := c.open(reply); !ok {
		t.Error("reply does not verify")
	}
}

func TestN09_EveryBit(t *testing.T) {
	for _, a := range []aead.Algorithm{aead.SIVCMAC256, aead.GCMSIV128} {
		c := newNTSClient(t, a)
		b := c.bench(Config{})
		good := c.request(1)
		b.expect(t, good, AnsweredNTS, -1)
		for bit := range len(good) * 8 {
			p := bytes.Clone(good)
			p[bit/8] ^= 1 << (bit % 8)
			noTime(t, b, p)
			if t.Failed() {
				t.Fatalf("%v: bit %d of %d", a, bit, len(good)*8)
			}
		}
	}
}

func TestN10_FieldsBehindTheAuthenticator(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	b := c.bench(Config{})
	p := c.request(0)
	p = ntp.AppendField(p, ntp.FieldCookiePlaceholder, make([]byte, 104))
	p = ntp.AppendField(p, 0x4242, make([]byte, 28))
	reply := b.expect(t, p, AnsweredNTS, -1)
	if cookies, ok := c.open(reply); !ok || len(cookies) != 1 {
		t.Errorf("%d cookies, %v", len(cookies), ok)
	}
	for _, x := range fieldTypes(reply) {
		if x == 0x4242 || x == ntp.FieldCookiePlaceholder {
			t.Errorf("field %04x echoed", x)
		}
	}
}

func TestN11_HostileEncryptedFields(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	b := c.bench(Config{})
	for name, inner := range map[string][]byte{
		"length 0":             {0x42, 0x42, 0, 0},
		"length beyond":        {0x42, 0x42, 0, 8},
		"cut off":              {0x42, 0x42},
		"nested authenticator": innerField(ntp.FieldAuthenticator, make([]byte, 36)),
		"17 fields":            bytes.Repeat([]byte{0x42, 0x42, 0, 4}, 17),
	} {
		p := ntp.AppendField(c.start(), ntp.FieldCookie, c.cookie())
		if v := noTime(t, b, c.seal(p, 16, inner, 0)); v != BadNTS {
			t.Errorf("%s: %v", name, v)
		}
	}
	// Placeholders may be encrypted.
	p := ntp.AppendField(c.start(), ntp.FieldCookie, c.cookie())
	p = c.seal(p, 16, innerField(ntp.FieldCookiePlaceholder, make([]byte, len(c.cookie()))), 0)
	if cookies, ok := c.open(b.expect(t, p, AnsweredNTS, -1)); !ok || len(cookies) != 2 {
		t.Errorf("encrypted placeholder: %d cookies, %v", len(cookies), ok)
	}
}

func TestN12_NAK(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	b := c.bench(Config{})
	p := c.request(3)
	p[2] = 127
	p[len(p)-1] ^= 1
	reply := b.expect(t, p, AnsweredNAK, 84)
	h := parse(t, reply)
	if reply[0] != 0xe4 || h.Stratum != 0 || h.RefID != ntp.KissNTSN || h.Origin != testXmt || h.Poll != 17 {
		t.Errorf("NAK %x", reply)
	}
	if types := fieldTypes(reply); len(types) != 1 || types[0] != ntp.FieldUniqueID || !bytes.Equal(reply[52:], c.uid) {
		t.Errorf("fields %04x", types)
	}
}

func TestN19_OldKeysOpenUntilTheyLeaveTheSet(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	old := c.request(0)
	b := c.bench(Config{})
	for rotation, want := range []Verdict{AnsweredNTS, AnsweredNTS, AnsweredNAK} {
		master, _ := nts.NewMasterKey(&c.rnd)
		b.keys = b.keys.Rotate(master)
		if _, v := b.ask(old); v != want {
			t.Errorf("after %d rotations: %v", rotation+1, v)
		}
	}
}

func TestN23_OnlyInClientRequestsOfV4(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	b := c.bench(Config{Versions: VersionSet(1, 2, 3, 4)})
	for first := range 256 {
		if first>>3&7 == 4 && first&7 == 3 {
			continue
		}
		p := c.start()
		p[0] = byte(first)
		p = c.seal(ntp.AppendField(p, ntp.FieldCookie, c.cookie()), 16, nil, 0)
		if reply, v := b.ask(p); reply != nil {
			t.Errorf("first byte %02x: %v", first, v)
		}
	}
}

func TestRespond_NTSWithAccessAndRequire(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	for _, action := range []Action{Ignore, Deny} {
		c.bench(Config{RequireNTS: action}).expect(t, c.request(0), AnsweredNTS, -1)
	}
	deny := Config{Access: mustAccess(t, Rule{prefixes("192.0.2.0/24"), Deny}, nil)}
	b := c.bench(deny)
	reply := b.expect(t, c.request(0), DeniedNTS, -1)
	if _, ok := c.open(reply); !ok {
		t.Error("DENY is not authentic")
	}
	checkKiss(t, reply[:48], ntp.KissDENY)
	b = c.bench(deny)
	b.keys = nil
	checkKiss(t, b.expect(t, c.request(0), Denied, 48), ntp.KissDENY)
}

func TestS11_UnsynchronisedNTS(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	b := c.bench(Config{})
	b.view = nil
	reply := b.expect(t, c.request(0), AnsweredNTS, -1)
	if _, ok := c.open(reply); !ok || reply[0]>>6 != 3 || reply[1] != 0 {
		t.Errorf("reply %x", reply[:48])
	}
}

func TestRespond_NTSAllocatesNothing(t *testing.T) {
	for _, a := range algorithms {
		c := newNTSClient(t, a)
		b := c.bench(Config{})
		bad := c.request(0)
		bad[len(bad)-1] ^= 1
		for name, p := range map[string][]byte{"1 cookie": c.request(0), "8 cookies": c.request(7), "NAK": bad} {
			if n := testing.AllocsPerRun(200, func() { b.ask(p) }); n != 0 {
				t.Errorf("%v %s: %v allocations", a, name, n)
			}
		}
	}
}

func BenchmarkRespond_NTS(b *testing.B) {
	for _, a := range algorithms {
		for _, k := range []int{0, 7} {
			b.Run(fmt.Sprintf("AEAD%d cookies%d", a, k+1), func(b *testing.B) {
				c := newNTSClient(b, a)
				s := c.bench(Config{Rand: rand.NewChaCha8([32]byte{1})}) // the daemon's generator
				p := c.request(k)
				b.ReportAllocs()
				for b.Loop() {
					if _, v := s.ask(p); v != AnsweredNTS {
						b.Fatal(v)
					}
				}
			})
		}
	}
}

func BenchmarkRespond_NAK(b *testing.B) {
	c := newNTSClient(b, aead.SIVCMAC256)
	s := c.bench(Config{})
	p := c.request(7)
	p[len(p)-1] ^= 1
	b.ReportAllocs()
	for b.Loop() {
		if _, v := s.ask(p); v != AnsweredNAK {
			b.Fatal(v)
		}
	}
}
