package poolke

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/testca"
)

// afterKeys sends one user to a pool whose first time source answers keys as given and whose second
// is healthy. It returns what the user saw and requires that nobody else got his keys.
func afterKeys(t *testing.T, s script) (answer []byte, w *testPool) {
	t.Helper()
	w = newTestPool(t)
	bad, good := w.fake("bad.example", s, nil), w.fake("good.example", healthy, nil)
	w.cfg.AnswerTimeout = 500 * time.Millisecond
	w.start()
	answer, keys := w.ask(request15)
	_, badKeys, _ := bad.seen()
	_, goodKeys, _ := good.seen()
	if !slices.Contains(badKeys, keys) || len(slices.Compact(badKeys)) != 1 {
		t.Errorf("the first time source got the keys %d times, or other keys", len(badKeys))
	}
	if len(goodKeys) != 0 {
		t.Error("a second time source got keys of the same TLS session")
	}
	return answer, w
}

// P02, P03, docs/rules/pool.md#time-source-answers: whatever is wrong with the answer to keys, the user sees error 2
// and no second time source is tried.
func TestP02_P03_D3_23_D3_25_D3_26_BadAnswers(t *testing.T) {
	with := func(edit func(*record.Response)) []byte { return cookies(aead.SIVCMAC256, edit) }
	before := func(records string) []byte { return append(unhex(records), with(nil)...) }
	flood := make([][]byte, 5000)
	for i := range flood {
		flood[i] = make([]byte, 104)
	}
	for _, tt := range []struct {
		story  string
		answer []byte
	}{
		{"P02: other protocol", with(func(r *record.Response) { r.Protocol = 0x8001 })},
		{"P02: other AEAD", with(func(r *record.Response) { r.Algorithm = aead.SIVCMAC512 })},
		{"two AEADs", unhex("80010002 0000 80040004 000f0011 00050004 01020304 80000000")},
		{"no AEAD", unhex("80010002 0000 00050004 01020304 80000000")},
		{"P02: no cookies", with(func(r *record.Response) { r.Cookies = nil })},
		{"empty cookie", with(func(r *record.Response) { r.Cookies = [][]byte{{}} })},
		{"cookie of 351 bytes", with(func(r *record.Response) { r.Cookies = [][]byte{make([]byte, 351)} })},
		{"P02: 5000 cookies", with(func(r *record.Response) { r.Cookies = flood })},
		{"P02: 64 KiB", with(func(r *record.Response) { r.Cookies = [][]byte{make([]byte, 65535), make([]byte, 100)} })},
		{"P03: error 0", error0},
		{"P03: error 1", error1},
		{"P03: private error", unhex("80020002 f000 80000000")},
		{"V17: era-A error", unhex("80020002 0000 80010002 0000 80000000")},
		{"warning", before("80030002 0001")},
		{"unknown critical record", before("c1230000")},
		{"B1: list in an answer", before("800a0004 000f0020")},
		{"empty server name", before("80060000")},
		{"control character", before("80060003 610a62")},
		{"loopback", before("80060009 3132372e302e302e31")},
		{"the pool itself", before("8006000c 706f6f6c2e6578616d706c65")},
		{"two servers", before("80060001 61 80060001 61")},
		{"port 0", before("80070002 0000")},
		{"two ports", before("80070002 007b 80070002 007b")},
		{"half an answer", with(nil)[:300]},
		{"65535 announced", unhex("0005ffff 0102")},
		{"no TLS data at all", nil},
		{"nonsense", []byte("HTTP/1.1 200 OK\r\n\r\n")},
	} {
		t.Run(tt.story, func(t *testing.T) {
			answer, w := afterKeys(t, fixed(func(<-chan struct{}) []byte { return tt.answer }))
			if !bytes.Equal(answer, error2) {
				t.Errorf("the user sees %x", answer)
			}
			w.requireCount(ServerFailed, 1)
		})
	}
}

// P02 and P03: what is tolerated is not forwarded.
func TestP02_P03_D3_23_ToleratedAnswers(t *testing.T) {
	for _, tt := range []struct {
		story  string
		answer []byte
	}{
		{"P02: nine cookies", cookies(aead.SIVCMAC256, func(r *record.Response) { r.Cookies = append(r.Cookies, make([]byte, 104)) })},
		{"P03: keep-alive in both numbers, unknown, token, 1024", append(unhex("00080000 40000000 05550003 010203 000e0002 6869 04000000"), cookies(aead.SIVCMAC256, nil)...)},
	} {
		t.Run(tt.story, func(t *testing.T) {
			w := newTestPool(t)
			w.fake("ts.example", fixed(func(<-chan struct{}) []byte { return tt.answer }), nil)
			w.start()
			answer, _ := w.ask(request15)
			want := cookies(aead.SIVCMAC256, func(r *record.Response) { r.KeepAlive, r.Server, r.Port = false, "ts.example", 123 })
			if !bytes.Equal(answer, want) {
				t.Errorf("the user sees %x", answer)
			}
		})
	}
}

// P05 (a), docs/rules/pool.md#keys-once: failures after the keys went out.
func TestP05_D3_01_AfterKeys(t *testing.T) {
	for story, s := range map[string]script{
		"hangs":      fixed(func(hung <-chan struct{}) []byte { <-hung; return nil }),
		"closes":     fixed(func(<-chan struct{}) []byte { return nil }),
		"half":       fixed(func(<-chan struct{}) []byte { return cookies(aead.SIVCMAC256, nil)[:500] }),
		"then error": fixed(func(<-chan struct{}) []byte { return error2 }),
	} {
		t.Run(story, func(t *testing.T) {
			start := time.Now()
			if answer, _ := afterKeys(t, s); !bytes.Equal(answer, error2) || time.Since(start) > 3*time.Second {
				t.Errorf("after %v the user sees %x", time.Since(start), answer)
			}
		})
	}
}

// P05 (a): a kept connection that dies under the keys is replaced once, at the same time source.
func TestP05_D3_01_ResendToTheSameMember(t *testing.T) {
	w := newTestPool(t)
	f := w.fake("ts.example", func(c, n int, req *record.Request, _ <-chan struct{}) ([]byte, bool) {
		if c == 0 && n > 0 {
			return nil, false
		}
		return healthy(c, n, req, nil)
	}, nil)
	good := w.fake("good.example", healthy, nil)
	w.start()
	answer, keys := w.ask(request15)
	if !bytes.HasPrefix(answer, unhex("80010002 0000 80040002 000f")) {
		t.Errorf("the user sees %x", answer)
	}
	_, got, _ := f.seen()
	if _, other, _ := good.seen(); !slices.Equal(got, []string{keys, keys}) || len(other) != 0 {
		t.Errorf("sent %d times, and %d times to another", len(got), len(other))
	}
}

// P05 (b), P06, docs/rules/pool.md#errors: failures before the keys go out cost the user nothing but time.
func TestP05_P06_D3_02_BeforeKeys(t *testing.T) {
	foreign := testca.New(t)
	support := func(answer []byte, hang bool) script {
		return func(_, _ int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
			if req.Kind != record.Support {
				t.Error("keys went to a time source that did not answer")
			}
			if hang {
				<-hung
			}
			return answer, false
		}
	}
	for _, tt := range []struct {
		story string
		add   func(w *testPool) *fakeTS
	}{
		{"dead", func(w *testPool) *fakeTS { w.dead("bad.example"); return nil }},
		{"hangs", func(w *testPool) *fakeTS { return w.fake("bad.example", support(nil, true), nil) }},
		{"closes", func(w *testPool) *fakeTS { return w.fake("bad.example", support(nil, false), nil) }},
		{"half answers", func(w *testPool) *fakeTS { return w.fake("bad.example", support(unhex("c0010008 000f"), false), nil) }},
		{"refuses", func(w *testPool) *fakeTS { return w.fake("bad.example", support(error1, false), nil) }},
		{"warns", func(w *testPool) *fakeTS {
			return w.fake("bad.example", support(unhex("80030002 0001 80000000"), false), nil)
		}},
		{"P06: other name", func(w *testPool) *fakeTS {
			return w.fake("bad.example", support(nil, false), func(c *tls.Config) { c.Certificates[0] = w.ca.Leaf("worse.example") })
		}},
		{"P06: foreign authority", func(w *testPool) *fakeTS {
			return w.fake("bad.example", support(nil, false), func(c *tls.Config) { c.Certificates[0] = foreign.Leaf("bad.example") })
		}},
		{"TLS 1.2", func(w *testPool) *fakeTS {
			return w.fake("bad.example", support(nil, false), func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 })
		}},
	} {
		t.Run(tt.story, func(t *testing.T) {
			w := newTestPool(t)
			w.cfg.AnswerTimeout, w.cfg.Timeout = 300*time.Millisecond, 2*time.Second
			bad := tt.add(w)
			w.fake("good.example", healthy, nil)
			w.start()
			r, err := w.keyExchange([]aead.Algorithm{15})
			if err != nil || r.Server != "good.example" {
				t.Errorf("got %q, %v", r.Server, err)
			}
			if bad == nil {
				return
			}
			requests, keys, _ := bad.seen()
			if len(keys) != 0 || strings.HasPrefix(tt.story, "P06") && len(requests) != 0 {
				t.Errorf("%d requests, %d with keys", len(requests), len(keys))
			}
		})
	}
}

// P06 and P09: with nobody left, the user sees error 2.
func TestP06_P09_NobodyLeft(t *testing.T) {
	for story, add := range map[string]func(w *testPool){
		"P09: empty list": func(*testPool) {},
		"all dead":        func(w *testPool) { w.dead("a.example"); w.dead("b.example") },
		"P06: certificate of another": func(w *testPool) {
			w.fake("a.example", healthy, func(c *tls.Config) { c.Certificates[0] = w.ca.Leaf("b.example") })
		},
	} {
		t.Run(story, func(t *testing.T) {
			w := newTestPool(t)
			add(w)
			w.start()
			if answer, _ := w.ask(request15); !bytes.Equal(answer, error2) {
				t.Errorf("the user sees %x", answer)
			}
			got := w.log.lines(t)
			if n := len(got); n < 2 || got[n-2] != "pool could not find a valid KE server" || got[n-1] != "could not find a valid KE server" {
				t.Errorf("log: %q", got)
			}
		})
	}
}

// docs/rules/pool.md#limits: time sources that swallow everything; the user's budget is the limit and he is told.
func TestBudgetExceeded(t *testing.T) {
	w := newTestPool(t)
	hang := func(_, _ int, _ *record.Request, hung <-chan struct{}) ([]byte, bool) { <-hung; return nil, false }
	for i := range 4 {
		w.fake(fmt.Sprintf("hole%d.example", i), hang, nil)
	}
	w.cfg.Timeout = 2 * time.Second
	w.start()
	start := time.Now()
	answer, _ := w.ask(request15)
	if took := time.Since(start); !bytes.Equal(answer, error2) || took > 4*time.Second {
		t.Errorf("after %v the user sees %x", took, answer)
	}
}

// A time source that fails is asked last until the pool itself has had an answer; no user but the first tries it, and
// after three failures in a row its breaker opens.
func TestBreakerSparesUsers(t *testing.T) {
	w := newTestPool(t)
	w.dead("dead.example")
	w.fake("good.example", healthy, nil)
	w.start()
	checks := func() int {
		return strings.Count(w.log.String(), fmt.Sprintf("checking supported algorithms for 'dead.example:%d'", w.cfg.Backends[0].Port))
	}
	for range 20 {
		if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
			t.Fatal(err)
		}
	}
	if n := checks(); n != 1 {
		t.Errorf("%d users had to try the dead time source", n)
	}
	w.look(0, breakerFailures)
	if n := strings.Count(w.log.String(), "time source fails repeatedly"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// A user who arrives with no time left must not get a healthy time source into trouble.
func TestSlowUserIsNotBlamedOnTheTimeSource(t *testing.T) {
	w := newTestPool(t)
	slow := func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		time.Sleep(100 * time.Millisecond)
		return healthy(c, n, req, hung)
	}
	w.fake("a.example", slow, nil)
	w.cfg.Timeout, w.cfg.RequestTimeout, w.cfg.HandshakeTimeout = 500*time.Millisecond, 2*time.Second, 2*time.Second
	w.start()
	for range breakerFailures + 1 {
		conn := w.connect()
		time.Sleep(400 * time.Millisecond)
		_, _ = conn.Write(request15)
		_, _ = conn.Read(make([]byte, 100))
	}
	if w.pool.snap.Load().upstreams[0].open() {
		t.Error("users who dawdled opened the breaker")
	}
	if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
		t.Error(err)
	}
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
