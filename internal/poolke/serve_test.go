package poolke

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/secret"
)

// The demo of the seed: the first time source of the list is dead, the second is ours and knows the
// pool by its certificate. The lines and their order are those of docs/rules/log.md#pool-lines.
func TestSeedLog(t *testing.T) {
	w := newTestPool(t)
	w.dead("localhost")
	w.real("localhost", "", nil)
	w.start()
	if _, err := w.keyExchange([]aead.Algorithm{aead.SIVCMAC512, aead.SIVCMAC256}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"listening on 'Ok(127.0.0.1:" + strconv.Itoa(int(w.addr.Port())) + ")'",
		"received records from the client",
		fmt.Sprintf("checking supported algorithms for 'localhost:%d'", w.cfg.Backends[0].Port),
		fmt.Sprintf("checking supported algorithms for 'localhost:%d'", w.cfg.Backends[1].Port),
		"established connection to the server",
		"received supported algorithms from the NTS KE server",
		"fetching cookies from the NTS KE server",
		"received cookies from the NTS KE server",
		"wrote records for client",
	}
	eventually(t, func() bool { return len(w.log.lines(t)) >= len(want) }) // the last line is written behind the answer
	if got := w.log.lines(t); !slices.Equal(got, want) {
		t.Errorf("log:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// P01: through the front end to our own server, in every way a time source can know the pool and for
// every AEAD: protocol, AEAD, eight cookies, Server and Port; and the cookies open an NTP request.
func TestP01_ThroughThePool(t *testing.T) {
	for _, token := range []string{"", "0123456789abcdef"} {
		for _, a := range []aead.Algorithm{aead.SIVCMAC256, aead.SIVCMAC384, aead.SIVCMAC512, aead.GCMSIV128} {
			t.Run(fmt.Sprintf("%v, token %q", a, token), func(t *testing.T) {
				w := newTestPool(t)
				server, set := w.real("ts1.example", token, nil)
				w.start()
				r, err := w.keyExchange([]aead.Algorithm{a})
				if err != nil {
					t.Fatal(err)
				}
				if r.Server != "ts1.example" || !r.ServerGiven || r.Port != 123 || r.Algorithm != a || r.Session.Cookies() != 8 {
					t.Errorf("got %+v, %d cookies", r, r.Session.Cookies())
				}
				requireAuthentic(t, r.Session, set)
				eventually(t, func() bool { c := server.Counters(); return c.Of(ke.FixedServed) == 1 })
				if n := server.Counters().Exports; n != 0 {
					t.Errorf("the time source exported keys of its own %d times", n)
				}
			})
		}
	}
}

// requireAuthentic sends one NTP request of the session through the server's side of NTS and back.
func requireAuthentic(t *testing.T, s *nts.Session, set *nts.KeySet) {
	t.Helper()
	header := make([]byte, 48)
	header[0] = 4<<3 | 3
	uid := bytes.Repeat([]byte{7}, 32)
	pkt, err := s.AppendRequest(header, uid, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var f ntp.Fields
	if err := f.Trailer(pkt, 4); err != nil {
		t.Fatal(err)
	}
	var req nts.Request
	sealer := nts.NewSealer()
	if v := req.Open(pkt, &f, set, sealer); v != nts.Valid {
		t.Fatalf("the time source judges the request %v", v)
	}
	reply := make([]byte, 48, 2048)
	reply[0] = 4<<3 | 4
	reply, ok := req.AppendResponse(reply, set, sealer, rand.Reader, len(pkt))
	if !ok {
		t.Fatal("no reply")
	}
	if err := f.Trailer(reply, 4); err != nil {
		t.Fatal(err)
	}
	if v := s.OpenResponse(reply, &f, uid); v != nts.Authentic {
		t.Errorf("the client judges the reply %v", v)
	}
}

// The user gets exactly the records that docs/rules/pool.md#answer-anew lists, in one TLS record.
func TestD3_29_D3_44_AnswerOnTheWire(t *testing.T) {
	w := newTestPool(t)
	w.fake("ts1.example", healthy, nil)
	w.start()
	want := "800100020000" + "80040002000f"
	for i := range 8 {
		want += "00050068" + hex.EncodeToString(bytes.Repeat([]byte{byte(i + 1)}, 104))
	}
	want += "8006000b" + hex.EncodeToString([]byte("ts1.example")) + "80070002007b" + "80000000"
	conn := w.connect()
	if _, err := conn.Write(request15); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf) // docs/rules/pool.md#one-record: one read, because NTPsec reads once
	if got := hex.EncodeToString(buf[:n]); err != nil || got != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
	if n, err := conn.Read(buf); n != 0 || err == nil || err.Error() != "EOF" {
		t.Errorf("after the answer: %d bytes, %v; want close_notify", n, err)
	}
}

// docs/rules/pool.md#common-algorithm: each user gets a time source that has an AEAD in common with him, in his order.
func TestNegotiatesPerTimeSource(t *testing.T) {
	w := newTestPool(t)
	only := func(algorithms ...aead.Algorithm) func(*ke.ServerConfig) {
		return func(c *ke.ServerConfig) { c.Algorithms = algorithms }
	}
	w.real("ts15.example", "t", only(aead.SIVCMAC256))
	w.real("ts17.example", "t", only(aead.SIVCMAC512, aead.SIVCMAC256))
	w.start()
	for range 4 {
		r, err := w.keyExchange([]aead.Algorithm{aead.SIVCMAC512})
		if err != nil || r.Server != "ts17.example" {
			t.Errorf("user of 17: %v, %v", r.Server, err)
		}
	}
	for _, tt := range []struct{ story, request, answer string }{
		{"KS03: unknown AEAD", "80010002 0000 80040002 ffff 80000000", "80010002 0000 80040000 80000000"},
		{"known AEAD that nobody has", "80010002 0000 80040002 001e 80000000", "80010002 0000 80040000 80000000"},
		{"KS02: unknown protocol", "80010002 ffff 80040002 000f 80000000", "80010000 80000000"},
	} {
		if got, _ := w.ask(unhex(tt.request)); !bytes.Equal(got, unhex(tt.answer)) {
			t.Errorf("%s: %x", tt.story, got)
		}
	}
	if answer, _ := w.ask(unhex("80010004 ffff0000 80040004 ffff000f 80000000")); !bytes.HasPrefix(answer, unhex("80010002 0000 80040002 000f 0005")) {
		t.Errorf("KS04: %x", answer)
	}
}

// P04: sizes that a lying time source states lead to nothing.
func TestP04_LyingKeySizes(t *testing.T) {
	w := newTestPool(t)
	w.fake("liar.example", func(_, _ int, req *record.Request, _ <-chan struct{}) ([]byte, bool) {
		if req.Kind == record.Support {
			return unhex("c0010018 000f0000 00111fe1 ffff0020 001e0020 0010ffff 00200040 80000000"), false
		}
		return cookies(aead.SIVCMAC256, nil), false
	}, nil)
	w.start()
	for _, request := range []string{
		"80010002 0000 80040002 000f 80000000", "80010002 0000 80040002 0011 80000000", "80010002 0000 80040002 ffff 80000000",
		"80010002 0000 80040002 001e 80000000", "80010002 0000 80040002 0020 80000000",
	} {
		if got, _ := w.ask(unhex(request)); !bytes.Equal(got, unhex("80010002 0000 80040000 80000000")) {
			t.Errorf("%s: %x", request, got)
		}
	}
}

// The list rotates by one per user; what a time source can do is asked once and connections are kept.
func TestRotationAndReuse(t *testing.T) {
	w := newTestPool(t)
	a, b := w.fake("a.example", healthy, nil), w.fake("b.example", healthy, nil)
	w.start()
	for i := range 10 {
		r, err := w.keyExchange([]aead.Algorithm{15})
		if want := []string{"a.example", "b.example"}[i%2]; err != nil || r.Server != want {
			t.Errorf("user %d: %q, %v", i, r.Server, err)
		}
	}
	for _, f := range []*fakeTS{a, b} {
		if requests, keys, conns := f.seen(); len(requests) != 6 || len(keys) != 5 || conns != 1 {
			t.Errorf("%s: %d requests, %d of them with keys, %d connections", f.name, len(requests), len(keys), conns)
		}
	}
}

// Many users at once ask a new time source once.
func TestOneUserAsksForAll(t *testing.T) {
	w := newTestPool(t)
	f := w.fake("a.example", healthy, nil)
	w.start()
	errs := make(chan error)
	for range 20 {
		go func() { _, err := w.keyExchange([]aead.Algorithm{15}); errs <- err }()
	}
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	requests, keys, _ := f.seen()
	if len(keys) != 20 || len(requests) != 21 {
		t.Errorf("%d requests, %d of them with keys", len(requests), len(keys))
	}
	slices.Sort(keys)
	if len(slices.Compact(keys)) != 20 {
		t.Error("two users had the same keys")
	}
}

// P16: neither the log at its loudest nor any form of the configuration shows a token, a key, a
// cookie or a denied name.
func TestP16_NothingSecretIsShown(t *testing.T) {
	w := newTestPool(t)
	token := "token-of-the-pool-0123456789"
	w.real("ts1.example", token, nil)
	w.fake("ts2.example", fixed(func(<-chan struct{}) []byte { return error1 }), nil)
	w.start()
	var secrets [][]byte
	for range 4 {
		w.look(1, 1) // it answers questions, so it gets users again
		answer, keys := w.ask(unhex("80010002 0000 80040002 000f 000d 000e 73656372 65742e65 78616d70 6c65 80000000"))
		secrets = append(secrets, unhex(keys[:64]), unhex(keys[64:]))
		r, fault := record.ParseResponse(answer, record.Offer{Protocols: []record.Protocol{0}, Algorithms: []aead.Algorithm{15}})
		if fault == record.None {
			secrets = append(secrets, r.Cookies...)
		}
	}
	w.requireCount(Served, 2)
	w.requireCount(ServerFailed, 2)
	secrets = append(secrets, []byte(token), []byte("secret.example"))
	shown := w.log.String() + fmt.Sprintf("%v %+v %#v", w.cfg, w.cfg, w.cfg.Backends) + fmt.Sprint(w.pool.tally.read())
	for _, s := range secrets {
		for _, form := range []string{string(s), hex.EncodeToString(s), base64Of(s), fmt.Sprintf("%v", []byte(s)), fmt.Sprintf("%X", s)} {
			if strings.Contains(shown, form) {
				t.Errorf("shown: %q", form)
			}
		}
	}
	if len(secrets) < 10 || !strings.Contains(shown, "completed") {
		t.Error("the test shows nothing")
	}
	var _ secret.Bytes = w.cfg.Backends[0].Tokens[0]
}

// A pool that stops lets the user under way finish, takes no new one, and leaves nothing behind.
func TestDrain(t *testing.T) {
	w := newTestPool(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	w.fake("a.example", fixed(func(hung <-chan struct{}) []byte {
		close(asked)
		<-answer
		return cookies(aead.SIVCMAC256, nil)
	}), nil)
	w.start()
	result := make(chan error)
	go func() { _, err := w.keyExchange([]aead.Algorithm{15}); result <- err }()
	<-asked
	w.stop()
	for { // until the listener is closed
		conn, err := w.dial(t.Context(), "", "")
		if err != nil {
			break
		}
		_ = conn.Close()
		time.Sleep(time.Millisecond)
	}
	close(answer)
	if err := <-result; err != nil {
		t.Errorf("the user under way: %v", err)
	}
	if err := <-w.done; err != nil {
		t.Error(err)
	}
	w.done <- nil
}
