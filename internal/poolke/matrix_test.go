package poolke

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/secret"
	"ntp-daemon/internal/server"
)

// ntpServer is our NTP server on a socket of its own, which opens cookies with the keys of set.
func ntpServer(t *testing.T, set func() *nts.KeySet) uint16 {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	clock := func() ntp.Timestamp { return ntp.FromTime(time.Now()) }
	view := &ntp.View{Stratum: 1, Reference: clock(), Precision: -20, Synchronized: true}
	responder := server.NewResponder(server.Config{Rand: rand.Reader, RequireNTS: server.Ignore})
	to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	done := make(chan struct{})
	go func() {
		defer close(done)
		in, out := make([]byte, 2048), make([]byte, 0, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(in)
			if err != nil {
				return
			}
			reply, _ := responder.Respond(out, view, set(), &server.Datagram{Data: in[:n], From: from, To: to, Received: clock()}, clock)
			if reply != nil {
				_, _ = conn.WriteToUDPAddrPort(reply, from)
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return to.Port()
}

// requireTime asks that port for the time with each of the session's cookies, and with one that an answer brought.
func requireTime(t *testing.T, s *nts.Session, port uint16) {
	t.Helper()
	conn, err := net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range s.Cookies() + 1 {
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		header, uid := make([]byte, 48), bytes.Repeat([]byte{byte(i + 1)}, 32)
		header[0] = 4<<3 | 3
		_, _ = rand.Read(header[40:])
		request, err := s.AppendRequest(header, uid, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		reply := make([]byte, 2048)
		n, err := conn.Read(reply)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		var f ntp.Fields
		if err := f.Trailer(reply[:n], 4); err != nil {
			t.Fatal(err)
		}
		if v := s.OpenResponse(reply[:n], &f, uid); v != nts.Authentic || !bytes.Equal(reply[24:32], header[40:48]) || reply[1] != 1 {
			t.Errorf("request %d: the answer is judged %v, stratum %d", i, v, reply[1])
		}
	}
}

// user sends a request and makes a session of the answer, with keys exported under the id of the algorithm.
func (w *testPool) user(request []byte, algorithms ...aead.Algorithm) (*nts.Session, record.Response) {
	w.t.Helper()
	conn := w.connect()
	if _, err := conn.Write(request); err != nil {
		w.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		w.t.Fatal(err)
	}
	r, fault := record.ParseResponse(answer, record.Offer{Protocols: []record.Protocol{record.NTPv4}, Algorithms: algorithms})
	if fault != record.None {
		w.t.Fatalf("%v: %x", fault, answer)
	}
	cs := conn.ConnectionState()
	keys, err := ke.ExportKeys(&cs, r.Protocol, r.Algorithm, r.Algorithm)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := nts.NewSession(nts.SessionParams{Keys: keys, Cookies: r.Cookies})
	if err != nil {
		w.t.Fatal(err)
	}
	return s, r
}

// eraMember is a time source of one era, which refuses every other one as its programs do, seals real cookies and keeps
// connections if those programs did.
func eraMember(era record.Dialect, token string, set *nts.KeySet, port uint16) script {
	cookies := func(keys nts.Keys) (list [][]byte) {
		sealer := nts.NewSealer()
		for range record.MaxCookies {
			list = append(list, sealer.Seal(nil, set, &keys, rand.Reader))
		}
		return list
	}
	return func(_, _ int, req *record.Request, _ <-chan struct{}) ([]byte, bool) {
		keep := req.KeepAlive && era != record.Cert4000
		switch {
		case req.Dialect != era || req.WantNames || era == record.Cert4000 && req.WantProtocols:
			return error0, false
		case era != record.Cert4000 && string(req.Token) != token:
			return error1, false
		case req.Kind == record.Support:
			r := record.SupportResponse{Algorithms: []aead.Algorithm{aead.SIVCMAC512, aead.SIVCMAC256}, KeepAlive: keep, Dialect: era}
			if era != record.Cert4000 {
				r.Protocols = []record.Protocol{record.NTPv4}
				return r.Append(nil), keep
			}
			// The first era goes on with a negotiation of its own.
			own := record.Response{Algorithm: aead.SIVCMAC256, Cookies: cookies(nts.Keys{Algorithm: aead.SIVCMAC256, C2S: make([]byte, 32), S2C: make([]byte, 32)})}
			list := r.Append(nil)
			return own.Append(list[:len(list)-4]), false
		}
		n := len(req.Keys) / 2
		r := record.Response{
			Algorithm: req.Algorithms[0], Port: port, KeepAlive: keep, Dialect: era,
			Cookies: cookies(nts.Keys{Algorithm: req.Algorithms[0], C2S: secret.Bytes(req.Keys[:n]), S2C: secret.Bytes(req.Keys[n:])}),
		}
		return r.Append(nil), keep
	}
}

// docs/rules/pool.md#dialects: time sources of the three dialects, set or detected, of our own program and of others' that know no other dialect; users
// who know nothing of pools and users who deny in either number or in both: each combination gives a source of time, with
// every algorithm that both know. Keys only ever go out in the dialect that was found.
func TestD3_49_Matrix(t *testing.T) {
	const token = "0123456789abcdef"
	name := func(number, s string) string {
		return number + fmt.Sprintf("%04x", len(s)) + hex.EncodeToString([]byte(s))
	}
	type member struct {
		story   string
		dialect record.Dialect // that the time source speaks
		set     bool           // the pool is told, else it finds out
		ours    bool           // our own server, which understands all of them; else one of that era alone
	}
	var members []member
	for _, d := range []record.Dialect{record.Cert4000, record.Token4000, record.IANA} {
		for _, set := range []bool{true, false} {
			for _, ours := range []bool{true, false} {
				if d == record.Token4000 && ours && !set {
					continue // ours is found to speak IANA numbers
				}
				how, who := "detected", "that era's program"
				if set {
					how = "set"
				}
				if ours {
					who = "our server"
				}
				members = append(members, member{fmt.Sprintf("%v, %s, %s", d, how, who), d, set, ours})
			}
		}
	}
	users := []struct{ story, denies string }{
		{"plain RFC 8915", ""},
		{"deny in the number of the first eras", name("4003", "spare.example")},
		{"deny in the registered number", name("000d", "spare.example")},
		{"deny in both numbers", name("000d", "spare.example") + name("4003", "spare.example")},
	}
	for _, m := range members {
		t.Run(m.story, func(t *testing.T) {
			w := newTestPool(t)
			var port uint16
			var f *fakeTS
			theirs := token
			if m.dialect == record.Cert4000 {
				theirs = ""
			}
			if m.ours {
				w.real("member.example", theirs, func(c *ke.ServerConfig) {
					port = ntpServer(t, c.KeySet)
					c.NTPPort, c.NoOldNumbers = port, m.dialect == record.IANA
				})
			} else {
				master, err := nts.NewMasterKey(rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				set := nts.NewKeySet(master, 1)
				port = ntpServer(t, func() *nts.KeySet { return set })
				f = w.fake("member.example", eraMember(m.dialect, token, set, port), nil)
				if !m.set {
					theirs = token // with a token the pool tries every dialect
				}
				if theirs != "" {
					w.cfg.Backends[0].Tokens = []secret.Bytes{secret.Bytes(theirs)}
				}
			}
			if m.set {
				w.cfg.Backends[0].Dialect = m.dialect
			}
			w.real("spare.example", token, nil)
			w.start()
			for _, u := range users {
				for _, a := range []aead.Algorithm{aead.SIVCMAC256, aead.SIVCMAC512} {
					w.pool.turn.Store(0) // a user who denies nothing begins with the first one
					s, r := w.user(unhex(fmt.Sprintf("80010002 0000 80040002 %04x", uint16(a))+u.denies+"80000000"), a)
					if r.Server != "member.example" || r.Port != port || r.Algorithm != a {
						t.Fatalf("%s, %v: %s:%d, %v", u.story, a, r.Server, r.Port, r.Algorithm)
					}
					requireTime(t, s, r.Port)
				}
			}
			if got := w.pool.snap.Load().upstreams[0].observed(&w.cfg.Backends[0], time.Now()).Dialect; got != m.dialect.String() {
				t.Errorf("it is spoken to in dialect %s", got)
			}
			// Whoever denies the time source itself gets the other one, in each number.
			for _, number := range []string{"4003", "000d"} {
				if _, r := w.user(unhex("80010002 0000 80040002 000f"+name(number, "MEMBER.example.")+"80000000"), 15); r.Server != "spare.example" {
					t.Errorf("denied by %s, and handed out: %s", number, r.Server)
				}
			}
			if f == nil {
				return
			}
			requests, keys, _ := f.seen()
			for _, r := range requests {
				if r.Kind == record.FixedKey && r.Dialect != m.dialect {
					t.Errorf("keys went out in dialect %v", r.Dialect)
				}
			}
			if len(keys) != 2*len(users) || len(slices.Compact(slices.Sorted(slices.Values(keys)))) != len(keys) {
				t.Errorf("%d keys of %d users", len(keys), 2*len(users))
			}
		})
	}
}

// docs/rules/key-exchange.md#aead-30: each algorithm that our server has, through the pool, for the users that there are: those who send record 1024 as chrony
// from 4.6.1 on does, and those who do not. The keys are exported under the id of the algorithm that was chosen, and the
// cookies give the time with them.
func TestD3_48_AlgorithmsThroughThePool(t *testing.T) {
	w := newTestPool(t)
	var port uint16
	w.real("ts.example", "0123456789abcdef", func(c *ke.ServerConfig) {
		port = ntpServer(t, c.KeySet)
		c.NTPPort = port
	})
	w.start()
	for _, tt := range []struct {
		story, request string
		want           aead.Algorithm
		echo           bool
	}{
		{"15", "80040002 000f", 15, false},
		{"16", "80040002 0010", 16, false},
		{"17", "80040002 0011", 17, false},
		{"ntpd-rs: 17, 15", "80040004 0011000f", 17, false},
		{"V21, chrony 4.6.1 and later: 30, 15 and 1024", "80040004 001e000f 04000000", 30, true},
		{"1024 in front of the algorithms", "04000000 80040004 001e000f", 30, true},
		{"chrony 4.4 to 4.6: 30, 15 without 1024", "80040004 001e000f", 15, false},
		{"30, 17 without 1024", "80040004 001e0011", 17, false},
		{"30 alone, without 1024", "80040002 001e", 30, false},
		{"30 alone, with 1024", "80040002 001e 04000000", 30, true},
		{"1024, but another one is wanted more", "80040004 000f001e 04000000", 15, false},
		{"31, which our server has not, and 15", "80040004 001f000f", 15, false},
	} {
		t.Run(tt.story, func(t *testing.T) {
			s, r := w.user(unhex("80010002 0000"+tt.request+"80000000"), 15, 16, 17, 30)
			if r.Algorithm != tt.want || r.CompliantExport != tt.echo || r.Port != port {
				t.Fatalf("%v, echo %v, port %d", r.Algorithm, r.CompliantExport, r.Port)
			}
			requireTime(t, s, port)
		})
	}
	answer, _ := w.ask(unhex("80010002 0000 80040002 001e 04000000 80000000"))
	if head := unhex("80010002 0000 80040002 001e 04000000 0005"); !bytes.HasPrefix(answer, head) {
		t.Errorf("the echo stands elsewhere: %x", answer[:min(len(answer), 32)])
	}
	if answer, _ := w.ask(unhex("80010002 0000 80040004 001e000f 04000001 00 80000000")); !bytes.Equal(answer, error1) {
		t.Errorf("1024 with a body: %x", answer)
	}
}

// AEAD 31 is nothing our server has, but the pool knows its key size, so a time source that lists it may serve it: the keys
// that leave are the user's, exported under id 31.
func TestD3_48_AlgorithmOfOthers(t *testing.T) {
	w := newTestPool(t)
	f := w.fake("ts.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		if req.Kind == record.Support {
			return support(true, aead.GCMSIV256), true
		}
		return cookies(aead.GCMSIV256, nil), true
	}, nil)
	w.start()
	conn := w.connect()
	if _, err := conn.Write(unhex("80010002 0000 80040002 001f 80000000")); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(answer, unhex("80010002 0000 80040002 001f 0005")) {
		t.Fatalf("%x, %v", answer, err)
	}
	cs := conn.ConnectionState()
	want, err := ke.ExportKeys(&cs, record.NTPv4, aead.GCMSIV256, aead.GCMSIV256)
	if err != nil {
		t.Fatal(err)
	}
	if _, keys, _ := f.seen(); len(keys) != 1 || keys[0] != hex.EncodeToString(want.C2S)+hex.EncodeToString(want.S2C) {
		t.Error("other keys were sent")
	}
}
