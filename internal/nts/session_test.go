package nts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
)

func TestNewSession_FiltersCookies(t *testing.T) { // what KC10 and KC11 need of this package
	keys := testKeys(aead.SIVCMAC256, 1)
	sized := func(sizes ...int) (all [][]byte) {
		for i, n := range sizes {
			all = append(all, draw(random(byte(i)), n))
		}
		return all
	}
	many := make([][]byte, 5000)
	for i := range many {
		many[i] = []byte(fmt.Sprintf("cookie %05d", i))
	}
	for _, tt := range []struct {
		name    string
		cookies [][]byte
		want    int
	}{
		{"none", nil, 0},
		{"empty", sized(0), 0},
		{"1 byte", sized(1), 0},
		{"no multiple of four", sized(5, 6, 7, 102), 0},
		{"too long", sized(352, 4096, 65532), 0},
		{"65535 bytes beside a good one", sized(65535, 100), 1},
		{"shortest and longest", sized(4, 348), 2},
		{"eight", sized(100, 100, 100, 100, 100, 100, 100, 100), 8},
		{"nine", sized(100, 100, 100, 100, 100, 100, 100, 100, 100), 8},
		{"5000", many, 8},
		{"one cookie twice", [][]byte{many[0], many[0]}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := NewSession(SessionParams{Keys: keys, Cookies: tt.cookies})
			if tt.want == 0 {
				if !errors.Is(err, ErrNoCookies) {
					t.Fatalf("error %v", err)
				}
				return
			}
			if err != nil || s.Cookies() != tt.want {
				t.Fatalf("%v cookies, error %v, want %d", s.Cookies(), err, tt.want)
			}
			if tt.name == "5000" && !bytes.Equal(s.jar.at(7), many[7]) {
				t.Error("not the first eight kept")
			}
		})
	}
}

func TestNewSession_BadKeys(t *testing.T) {
	good := testKeys(aead.SIVCMAC256, 1)
	cookies := [][]byte{make([]byte, 100)}
	for name, p := range map[string]SessionParams{
		"no keys":       {},
		"wrong size":    {Keys: Keys{Algorithm: 17, C2S: good.C2S, S2C: good.S2C}},
		"unknown":       {Keys: Keys{Algorithm: 99, C2S: good.C2S, S2C: good.S2C}},
		"not built":     {Keys: Keys{Algorithm: 31, C2S: good.C2S, S2C: good.S2C}},
		"bad alternate": {Keys: good, Alternate: &Keys{Algorithm: 30}},
	} {
		p.Cookies = cookies
		if _, err := NewSession(p); !errors.Is(err, ErrKeys) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAppendRequest_Refusals(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	c := s.session(t, 1)
	if pkt, err := c.AppendRequest(header(), make([]byte, 31), s.rnd); !errors.Is(err, ErrUniqueID) || len(pkt) != 48 {
		t.Errorf("short identifier: %v", err)
	}
	if pkt, err := c.AppendRequest(header(), testUID(1), noRandom{}); err == nil || len(pkt) != 48 || c.Cookies() != 1 {
		t.Errorf("no random numbers: %v, %d cookies", err, c.Cookies())
	}
	if _, err := c.AppendRequest(header(), testUID(1), s.rnd); err != nil || c.Cookies() != 0 {
		t.Errorf("%v, %d cookies", err, c.Cookies())
	}
	if pkt, err := c.AppendRequest(header(), testUID(1), s.rnd); !errors.Is(err, ErrNoCookies) || len(pkt) != 48 {
		t.Errorf("empty jar: %v", err)
	}
}

// exchange lets the session ask and the site answer.
func exchange(t *testing.T, s *testServer, c *Session, uid []byte) (request, reply []byte) {
	t.Helper()
	request, err := c.AppendRequest(header(), uid, s.rnd)
	if err != nil {
		t.Fatal(err)
	}
	if v := s.open(request); v != Valid {
		t.Fatalf("server: %v", v)
	}
	return request, s.answer(request)
}

func TestSession_RefillsTheJar(t *testing.T) {
	for _, a := range algorithms {
		for held := 1; held <= 8; held++ {
			s := newTestServer(t, a)
			c := s.session(t, held)
			_, reply := exchange(t, s, c, testUID(1))
			if v := judge(t, c, reply, testUID(1)); v != Authentic {
				t.Fatalf("%v: %v", a, v)
			}
			fields := (MaxRequest - 48 - 36 - authenticatorSize(a, 0)) / (4 + cookieSize(a)) // 8, but 7 and 6 for 16 and 17
			want := min(8, held-1+fields)
			if c.Cookies() != want {
				t.Errorf("%v, %d cookies before: %d after, want %d", a, held, c.Cookies(), want)
			}
		}
	}
}

// TestSession_Stock: a session that keeps fewer cookies asks for no more.
func TestSession_Stock(t *testing.T) {
	for stock := 1; stock <= 8; stock++ {
		s := newTestServer(t, aead.SIVCMAC256)
		c, err := NewSession(SessionParams{Keys: s.keys, Cookies: s.cookies(1), Stock: stock})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_, reply := exchange(t, s, c, testUID(1))
			if v := judge(t, c, reply, testUID(1)); v != Authentic || c.Cookies() != stock {
				t.Errorf("stock %d: %v, %d cookies", stock, v, c.Cookies())
			}
		}
	}
	if c, err := NewSession(SessionParams{Keys: newTestServer(t, aead.SIVCMAC256).keys, Cookies: newTestServer(t, aead.SIVCMAC256).cookies(8), Stock: 2}); err != nil || c.Cookies() != 2 {
		t.Errorf("%d cookies, %v", c.Cookies(), err)
	}
}

func TestN13_NAKWithoutRightIdentifierIsIgnored(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	c := s.session(t, 8)
	request, _ := exchange(t, s, c, testUID(1))
	h, _ := ntp.ParseHeader(request)
	nak := s.req.AppendNAK(nil, &h)
	before := fmt.Sprint(c.jar)
	for name, tt := range map[string]struct {
		pkt  []byte
		want ResponseVerdict
	}{
		"right":            {nak, NAK},
		"no identifier":    {nak[:48], Unauthentic},
		"wrong identifier": {flip(nak, 60*8), WrongUID},
		"identifier longer": {ntp.AppendField(nak[:48:48], ntp.FieldUniqueID,
			append(testUID(1), 0, 0, 0, 0)), WrongUID},
		"identifier twice": {append(bytes.Clone(nak), nak[48:]...), Malformed},
		"other kiss":       {append([]byte(nil), bytes.Replace(nak, []byte("NTSN"), []byte("RATE"), 1)...), Unauthentic},
		"not stratum 0":    {flip(nak, 8), Unauthentic},
	} {
		if v := judge(t, c, tt.pkt, testUID(1)); v != tt.want {
			t.Errorf("%s: %v, want %v", name, v, tt.want)
		}
		if fmt.Sprint(c.jar) != before {
			t.Errorf("%s: jar changed", name)
		}
	}
}

func TestN15_PlainForgedAndReplayedReplies(t *testing.T) {
	for _, a := range algorithms {
		s := newTestServer(t, a)
		c := s.session(t, 8)
		_, first := exchange(t, s, c, testUID(1))
		if v := judge(t, c, first, testUID(1)); v != Authentic {
			t.Fatal(v)
		}
		_, reply := exchange(t, s, c, testUID(2))
		before := fmt.Sprint(c.jar)
		unchanged := func(name string, pkt []byte, want ResponseVerdict) {
			t.Helper()
			if v := judge(t, c, pkt, testUID(2)); v != want {
				t.Errorf("%v: %s: %v, want %v", a, name, v, want)
			}
			if fmt.Sprint(c.jar) != before {
				t.Errorf("%v: %s: jar changed", a, name)
			}
		}
		unchanged("plain reply", reply[:48], Unauthentic)
		unchanged("identifier only", reply[:84], Unauthentic)
		unchanged("replay of an earlier reply", first, WrongUID)
		other := newTestServer(t, a)
		other.keys.S2C = testKeys(a, 99).S2C
		other.req = s.req
		other.req.Keys = other.keys
		forged, _ := other.req.AppendResponse(reply[:48:48], s.ks, other.seal, s.rnd, 2000)
		unchanged("wrong S2C", forged, Unauthentic)
		for bit := range len(reply) * 8 {
			if v := judge(t, c, flip(reply, bit), testUID(2)); v == Authentic || v == NAK {
				t.Fatalf("%v: bit %d: %v", a, bit, v)
			}
		}
		if fmt.Sprint(c.jar) != before {
			t.Errorf("%v: a damaged reply changed the jar", a)
		}
		if v := judge(t, c, reply, testUID(2)); v != Authentic {
			t.Errorf("%v: right reply: %v", a, v)
		}
	}
}

// reply is a reply of the site with any encrypted and clear fields.
func (s *testServer) reply(uid, clearFields, inner []byte) []byte {
	c, err := newCipher(s.keys.Algorithm, s.keys.S2C)
	if err != nil {
		panic(err)
	}
	pkt := ntp.AppendField(replyHeader(header()), ntp.FieldUniqueID, uid)
	return appendAuthenticator(append(pkt, clearFields...), c, draw(s.rnd, s.keys.Algorithm.NonceSize()), inner)
}

func TestN16_CookiesInReplies(t *testing.T) {
	cookieFields := func(n, size int) (b []byte) {
		for i := range n {
			b = innerField(b, ntp.FieldCookie, draw(random(byte(100+i)), size))
		}
		return b
	}
	for _, tt := range []struct {
		name         string
		clear, inner []byte
		want         ResponseVerdict
		cookies      int // held after, of 3 before the request
	}{
		{"none", nil, nil, Authentic, 2},
		{"in clear", cookieFields(3, 100), nil, Authentic, 2},
		{"in clear and encrypted", cookieFields(3, 100), cookieFields(1, 64), Authentic, 3},
		{"6 asked for, 6 sent", nil, cookieFields(6, 100), Authentic, 8},
		{"more than asked for", nil, cookieFields(12, 100), Authentic, 8},
		{"100 of 16 bytes", nil, cookieFields(16, 16), Authentic, 8},
		{"100 of 16 bytes, over the cap", nil, cookieFields(80, 16), Malformed, 2},
		{"zero length", nil, cookieFields(2, 0), Authentic, 2},
		{"352 bytes", nil, cookieFields(2, 352), Authentic, 2},
		{"long and good", nil, append(cookieFields(1, 352), cookieFields(1, 100)...), Authentic, 3},
		{"one cookie thrice", nil, bytes.Repeat(cookieFields(1, 100), 3), Authentic, 3},
		{"nested authenticator", nil, append(cookieFields(1, 100), rawField(ntp.FieldAuthenticator, make([]byte, 40))...), Malformed, 2},
		{"cut field", nil, cookieFields(1, 100)[:50], Malformed, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTestServer(t, aead.SIVCMAC256)
			c := s.session(t, 3)
			if _, err := c.AppendRequest(header(), testUID(1), s.rnd); err != nil {
				t.Fatal(err)
			}
			reply := s.reply(testUID(1), tt.clear, tt.inner)
			if v := judge(t, c, reply, testUID(1)); v != tt.want || c.Cookies() != tt.cookies {
				t.Errorf("%v, %d cookies; want %v, %d", v, c.Cookies(), tt.want, tt.cookies)
			}
		})
	}
	t.Run("the first eight of nine", func(t *testing.T) {
		s := newTestServer(t, aead.SIVCMAC256)
		c := s.session(t, 3)
		inner := cookieFields(9, 100)
		if v := judge(t, c, s.reply(testUID(1), nil, inner), testUID(1)); v != Authentic || c.Cookies() != 8 {
			t.Fatalf("%v, %d cookies", v, c.Cookies())
		}
		for i := range 8 {
			if got, want := c.jar.at(i), inner[i*104+4:][:100]; !bytes.Equal(got, want) {
				t.Errorf("cookie %d: %x, want %x", i, got, want)
			}
		}
	})
	t.Run("4 kB cookie", func(t *testing.T) { // longer than any packet that is looked at
		s := newTestServer(t, aead.SIVCMAC256)
		c := s.session(t, 3)
		reply := s.reply(testUID(1), nil, cookieFields(1, 4096))
		if _, err := ntp.ParseHeader(reply); err == nil {
			t.Error("packet cap does not hold")
		}
		if judge(t, c, reply, testUID(1)); c.Cookies() != 3 {
			t.Errorf("%d cookies", c.Cookies())
		}
	})
}

func TestN17_NoCookieTwiceInThousandPolls(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	c := s.session(t, 8)
	loss := random(9)
	sent := map[string]bool{}
	polls := 0
	for i := range 1000 {
		held := c.Cookies()
		if held == 0 {
			c = s.session(t, 8) // a key exchange
			held = 8
		}
		uid := draw(s.rnd, 32)
		pkt, err := c.AppendRequest(header(), uid, s.rnd)
		if err != nil {
			t.Fatal(err)
		}
		polls++
		var f ntp.Fields
		if err := f.Trailer(pkt, 4); err != nil {
			t.Fatal(err)
		}
		_, cookie := count(f.All(), ntp.FieldCookie)
		placeholders, first := count(f.All(), ntp.FieldCookiePlaceholder)
		if placeholders != 8-held {
			t.Fatalf("poll %d: %d placeholders with %d cookies", i, placeholders, held)
		}
		if placeholders > 0 && !bytes.Equal(first, make([]byte, len(cookie))) {
			t.Fatalf("poll %d: placeholder %x", i, first)
		}
		if sent[string(cookie)] {
			t.Fatalf("poll %d: cookie sent before", i)
		}
		sent[string(cookie)] = true
		if loss.Uint64()%10 < 2 || s.open(pkt) != Valid {
			continue
		}
		judge(t, c, s.answer(pkt), uid)
	}
	if len(sent) != polls {
		t.Errorf("%d cookies in %d polls", len(sent), polls)
	}
}

func TestN18_RequestSizes(t *testing.T) {
	for _, tt := range []struct {
		algorithm aead.Algorithm
		cookie    int
		fields    int // cookie and placeholders of a session with one cookie
		size      int
	}{
		{aead.SIVCMAC256, 104, 8, 988},
		{aead.SIVCMAC256, 100, 8, 956},
		{aead.SIVCMAC512, 168, 6, 1156},
		{aead.GCMSIV128, 72, 8, 728},
		{aead.SIVCMAC256, 348, 3, 1180},
	} {
		c, err := NewSession(SessionParams{Keys: testKeys(tt.algorithm, 1), Cookies: [][]byte{draw(random(1), tt.cookie)}})
		if err != nil {
			t.Fatal(err)
		}
		pkt, err := c.AppendRequest(header(), testUID(1), random(2))
		if err != nil {
			t.Fatal(err)
		}
		if len(pkt) != tt.size || len(pkt) > 1232 {
			t.Errorf("cookie of %d bytes: packet of %d bytes, want %d", tt.cookie, len(pkt), tt.size)
		}
		if want := 48 + 36 + tt.fields*(4+tt.cookie) + authenticatorSize(tt.algorithm, 0); len(pkt) != want {
			t.Errorf("cookie of %d bytes: %d bytes, want those of %d cookie fields, %d", tt.cookie, len(pkt), tt.fields, want)
		}
	}
}

func TestN24_SmallestExchangeOfAEAD30(t *testing.T) {
	s := newTestServer(t, aead.GCMSIV128)
	request, reply := exchange(t, s, s.session(t, 8), testUID(1))
	if len(request) > 200 || len(reply) > 200 {
		t.Errorf("request %d, reply %d bytes", len(request), len(reply))
	}
}

func TestSwitchAlternate(t *testing.T) {
	s := newTestServer(t, aead.GCMSIV128)
	wrong := testKeys(aead.GCMSIV128, 50)
	right := s.keys.clone()
	c, err := NewSession(SessionParams{Keys: wrong, Alternate: &right, Cookies: s.cookies(8)})
	if err != nil {
		t.Fatal(err)
	}
	right.C2S.Wipe() // the session must have its own copy
	pkt, _ := c.AppendRequest(header(), testUID(1), s.rnd)
	if v := s.open(pkt); v != SendNAK {
		t.Fatalf("wrong context: %v", v)
	}
	if !c.SwitchAlternate() {
		t.Fatal("no alternate")
	}
	_, reply := exchange(t, s, c, testUID(2))
	if v := judge(t, c, reply, testUID(2)); v != Authentic {
		t.Errorf("after the switch: %v", v)
	}
	if c.SwitchAlternate() || s.session(t, 1).SwitchAlternate() {
		t.Error("switched twice, or to nothing")
	}
}

// TestPackets_OfAnotherImplementation compares whole packets with those of testdata/generate.py.
func TestPackets_OfAnotherImplementation(t *testing.T) {
	var file struct {
		Exchanges []struct {
			Algorithm                            aead.Algorithm
			C2S, S2C, UID, Nonce, Request, Reply string
			Cookies, Fresh                       []string
		}
	}
	b, err := os.ReadFile("testdata/packets.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	for i, e := range file.Exchanges {
		p := SessionParams{Keys: Keys{Algorithm: e.Algorithm, C2S: unhex(t, e.C2S), S2C: unhex(t, e.S2C)}}
		for _, c := range e.Cookies {
			p.Cookies = append(p.Cookies, unhex(t, c))
		}
		c, err := NewSession(p)
		if err != nil {
			t.Fatal(err)
		}
		want := unhex(t, e.Request)
		got, err := c.AppendRequest(want[:48:48], unhex(t, e.UID), bytes.NewReader(unhex(t, e.Nonce)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d: request %v\n got %x\nwant %x", i, err, got, want)
		}
		if v := judge(t, c, unhex(t, e.Reply), unhex(t, e.UID)); v != Authentic {
			t.Errorf("%d: reply %v", i, v)
		}
		if c.Cookies() != 8 || !bytes.Equal(c.jar.at(7), unhex(t, e.Fresh[len(e.Fresh)-1])) {
			t.Errorf("%d: %d cookies", i, c.Cookies())
		}
	}
}

func TestNothingPrintsSecrets(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	marked := bytes.Repeat([]byte{0xb7}, 32)
	keys := Keys{Algorithm: 15, C2S: marked, S2C: marked}
	params := SessionParams{Keys: keys, Cookies: [][]byte{bytes.Repeat([]byte{0xb7}, 100)}}
	c, _ := NewSession(params)
	m, _ := NewMasterKey(bytes.NewReader(bytes.Repeat([]byte{0xb7}, 64)))
	s.ks = NewKeySet(m, 1)
	s.seal.Seal(nil, s.ks, &keys, s.rnd)
	for _, v := range []any{keys, &keys, params, &params, c, m, &m, s.ks, s.seal} {
		texts := []string{}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			texts = append(texts, fmt.Sprintf(verb, v))
		}
		j, _ := json.Marshal(v)
		for _, text := range append(texts, string(j)) {
			for _, leak := range []string{"b7b7", "B7B7", "0xb7", "183", "t7e3", "\xb7\xb7", `\xb7`} {
				if bytes.Contains([]byte(text), []byte(leak)) {
					t.Errorf("%T: %s", v, text)
				}
			}
		}
	}
}

// TestSession_Unspend: a request that never left gives its cookie back, as the oldest, once; what follows goes on as if there had
// been no such request, also around the end of the jar.
func TestSession_Unspend(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	c := s.session(t, 8)
	for round := range 20 { // the oldest cookie wanders through all slots
		want := bytes.Clone(c.jar.at(0))
		held := c.Cookies()
		for range 9 { // more often than there are cookies
			if _, err := c.AppendRequest(make([]byte, 48), testUID(1), random(1)); err != nil {
				t.Fatal(err)
			}
			c.Unspend()
			c.Unspend()
			if c.Cookies() != held || !bytes.Equal(c.jar.at(0), want) {
				t.Fatalf("round %d: %d cookies, want %d, the oldest the one that was not sent", round, c.Cookies(), held)
			}
		}
		_, reply := exchange(t, s, c, testUID(1))
		if v := judge(t, c, reply, testUID(1)); v != Authentic {
			t.Fatalf("round %d: %v", round, v)
		}
		c.Unspend() // the jar is full again: nothing to take back
		if c.Cookies() != 8 {
			t.Fatalf("%d cookies in a jar of 8", c.Cookies())
		}
	}
}

// TestN18_TooLong: each time that a request did not fit the path, the next asks for at most half as many cookies and none is lost;
// a shortened session fills its jar all the same, and one whose shortest request does not fit empties it.
func TestN18_TooLong(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC256)
	c := s.session(t, 1)
	var lengths []int
	request := func() {
		b, err := c.AppendRequest(make([]byte, 48), testUID(1), random(1))
		if err != nil {
			t.Fatal(err)
		}
		lengths = append(lengths, len(b))
	}
	for range 3 {
		request()
		c.TooLong()
		if c.Cookies() != 1 {
			t.Fatalf("%d cookies after %d requests that did not leave", c.Cookies(), len(lengths))
		}
	}
	request() // asks for none
	c.Unspend()
	one := fieldHeader + len(c.jar.at(0))
	for i, asked := range []int{7, 3, 1, 0} {
		if want := lengths[3] + asked*one; lengths[i] != want {
			t.Errorf("request %d has %d bytes, want %d", i, lengths[i], want)
		}
	}
	request()
	c.TooLong()
	if c.Cookies() != 0 {
		t.Errorf("%d cookies, though no request fits", c.Cookies())
	}

	c = s.session(t, 1)
	request()
	c.TooLong()
	for range 3 {
		if _, reply := exchange(t, s, c, testUID(1)); judge(t, c, reply, testUID(1)) != Authentic {
			t.Fatal("refused")
		}
	}
	if c.Cookies() != 8 {
		t.Errorf("%d cookies after three replies to requests for three", c.Cookies())
	}
}
