package poolke

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/secret"
	"ntp-daemon/internal/testca"
)

// Cases of docs/pool-cases.md that no other test shows as a whole, through a running pool.

// requireServedBy asks as one user and wants cookies that lead to that time source.
func (w *testPool) requireServedBy(name string) {
	w.t.Helper()
	if r, err := w.keyExchange([]aead.Algorithm{15}); err != nil || r.Server != name {
		w.t.Errorf("served by %q, %v; want %s", r.Server, err, name)
	}
}

// requireFault wants that time source to be blamed for that class of failure, which observers see.
func (w *testPool) requireFault(nth int, class string) {
	w.t.Helper()
	u := w.pool.snap.Load().upstreams[nth]
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fault != class || u.breaker.failures == 0 {
		w.t.Errorf("%s is blamed for %q, %d failures; want %q", u.backend, u.fault, u.breaker.failures, class)
	}
}

// A time source whose name does not exist, and one whose packets nobody answers: the next one serves, after the time for
// connecting at most, and users after the first who met it do not wait any more; the pool's own questions open the breaker.
func TestD3_02_D3_20_NameAndBlackHole(t *testing.T) {
	for _, tt := range []struct {
		story, class string
		dial         func(ctx context.Context) error
	}{
		{"no such name", "name", func(context.Context) error {
			return &net.DNSError{Err: "no such host", Name: "bad.example", IsNotFound: true}
		}},
		{"black hole", "timeout", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
	} {
		t.Run(tt.story, func(t *testing.T) {
			w := newTestPool(t)
			w.cfg.Backends = append(w.cfg.Backends, pool.Backend{Domain: "bad.example", Port: 4460, Weight: 1})
			w.fake("good.example", healthy, nil)
			w.cfg.ConnectTimeout = 300 * time.Millisecond
			w.startWith(Deps{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if strings.HasPrefix(address, "bad.") {
					return nil, tt.dial(ctx)
				}
				return (&net.Dialer{}).DialContext(ctx, network, address)
			}})
			for range breakerFailures {
				began := time.Now()
				w.requireServedBy("good.example") // the list turns, so one of two users meets the bad one first
				w.requireServedBy("good.example")
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("two users took %v", took)
				}
			}
			w.requireFault(0, tt.class)
			if u := w.look(0, breakerFailures-1); !u.breaker.open() {
				t.Errorf("after %d failures its breaker is closed", u.breaker.failures)
			}
		})
	}
}

// A time source whose certificate is no good gets neither token nor keys, is blamed for it, and the user is served by
// another one.
func TestD3_21_CertificatesOfTimeSources(t *testing.T) {
	other := testca.New(t)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		story, class string
		cert         func(ca *testca.CA) tls.Certificate
	}{
		{"other name", "certificate", func(ca *testca.CA) tls.Certificate { return ca.Leaf("other.example") }},
		{"untrusted", "certificate", func(*testca.CA) tls.Certificate { return other.Leaf("bad.example") }},
		{"expired", "certificate", func(ca *testca.CA) tls.Certificate {
			return ca.Custom(p256, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, "bad.example")
		}},
		{"not yet valid", "certificate", func(ca *testca.CA) tls.Certificate {
			return ca.Custom(p256, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, "bad.example")
		}},
		{"weak key", "certificate", func(ca *testca.CA) tls.Certificate { return ca.Custom(weak, func(*x509.Certificate) {}, "bad.example") }},
	} {
		t.Run(tt.story, func(t *testing.T) {
			w := newTestPool(t)
			bad := w.fake("bad.example", healthy, func(c *tls.Config) { c.Certificates[0] = tt.cert(w.ca) })
			w.cfg.Backends[0].Tokens = []secret.Bytes{secret.Bytes("0123456789abcdef")}
			w.fake("good.example", healthy, nil)
			w.start()
			w.requireServedBy("good.example")
			if requests, _, _ := bad.seen(); len(requests) != 0 {
				t.Errorf("it was asked %d times", len(requests))
			}
			w.requireFault(0, tt.class)
		})
	}
}

// A time source that answers something else than it was asked is blamed, and after three such answers users are spared it.
func TestD3_24_LiarIsAvoided(t *testing.T) {
	w := newTestPool(t)
	w.fake("liar.example", fixed(func(<-chan struct{}) []byte {
		return cookies(aead.SIVCMAC256, func(r *record.Response) { r.Algorithm = aead.SIVCMAC512 })
	}), nil)
	w.fake("good.example", healthy, nil)
	w.start()
	failed := 0
	for range 20 {
		if answer, _ := w.ask(request15); bytes.Equal(answer, error2) {
			failed++
		}
		if u := w.pool.snap.Load().upstreams[0]; !u.breaker.open() {
			w.look(0, 1) // it answers the pool's own questions, so it gets users again
		}
	}
	if failed != breakerFailures {
		t.Errorf("%d of 20 users were sent to the liar, want %d", failed, breakerFailures)
	}
	w.requireFault(0, "answer")
}

// What becomes of the Server record of a time source: it goes to the user as it is, or the user gets error 2 and the time
// source is blamed; it is never replaced in silence.
func TestD3_27_ServerRecord(t *testing.T) {
	for _, tt := range []struct {
		story, name string
		names       []string
		good        bool
	}{
		{"its domain in capitals, with a trailing dot", "TS.Example.", nil, true},
		{"another name, seed-style entry", "ntp.elsewhere.example", nil, true},
		{"an A-label", "xn--zeit-3ra.example", nil, true},
		{"public IPv4", "198.51.100.4", nil, true},
		{"public IPv6", "2001:500:8f::53", nil, true},
		{"a name on its list", "ntp.ts.example", []string{"ntp.ts.example"}, true},
		{"a private address on its list", "10.1.2.3", []string{"10.1.2.3"}, true},
		{"a name that is not on its list", "ntp.elsewhere.example", []string{"ntp.ts.example"}, false},
		{"a U-label", "zeït.example", nil, false},
		{"300 bytes", strings.Repeat("a.", 150), nil, false},
		{"control character", "a\x07.example", nil, false},
		{"NUL", "ts.example\x00", nil, false},
		{"localhost", "localhost", nil, false},
		{"private", "192.168.1.1", nil, false},
		{"link-local", "fe80::1", nil, false},
		{"the pool itself", "Pool.Example.", nil, false},
	} {
		t.Run(tt.story, func(t *testing.T) {
			w := newTestPool(t)
			w.fake("ts.example", fixed(func(<-chan struct{}) []byte {
				return cookies(aead.SIVCMAC256, func(r *record.Response) { r.Server = tt.name })
			}), nil)
			w.cfg.Backends[0].Names = tt.names
			w.start()
			answer, _ := w.ask(request15)
			r, fault := record.ParseResponse(answer, record.Offer{Protocols: []record.Protocol{0}, Algorithms: []aead.Algorithm{15}})
			switch {
			case tt.good && (fault != record.None || r.Server != tt.name):
				t.Errorf("the user got %q, %v", r.Server, fault)
			case !tt.good && !bytes.Equal(answer, error2):
				t.Errorf("the user got %x", answer)
			case !tt.good:
				w.requireFault(0, "answer")
			}
		})
	}
}

// Port and Server records in a time source's answer: none of them means its domain and 123; one is passed on; more than one,
// or port 0, is a fault of the time source.
func TestD3_28_D3_29_PortAndServerRecords(t *testing.T) {
	for _, tt := range []struct {
		story, records string
		server         string
		port           uint16 // 0: error 2
	}{
		{"neither", "", "ts.example", 123},
		{"port 65535", "80070002 ffff", "ts.example", 65535},
		{"port 1, server", "80070002 0001 80060009 6e74702e6578616d70", "ntp.examp", 1},
		{"port 0", "80070002 0000", "", 0},
		{"two ports", "80070002 007b 80070002 007b", "", 0},
		{"two servers", "8006000a 74732e6578616d706c65 8006000a 74732e6578616d706c65", "", 0},
		{"port of three bytes", "80070003 00007b", "", 0},
	} {
		t.Run(tt.story, func(t *testing.T) {
			w := newTestPool(t)
			w.fake("ts.example", fixed(func(<-chan struct{}) []byte {
				return append(unhex(tt.records), cookies(aead.SIVCMAC256, nil)...)
			}), nil)
			w.start()
			answer, _ := w.ask(request15)
			if tt.port == 0 {
				if !bytes.Equal(answer, error2) {
					t.Errorf("the user got %x", answer)
				}
				return
			}
			r, fault := record.ParseResponse(answer, record.Offer{Protocols: []record.Protocol{0}, Algorithms: []aead.Algorithm{15}})
			if fault != record.None || r.Server != tt.server || r.Port != tt.port {
				t.Errorf("the user got %q, port %d, %v", r.Server, r.Port, fault)
			}
		})
	}
}

// What does not speak TLS 1.3 and ntske/1 is told so by the alert that TLS has for it, and gets no data.
func TestD3_41_D3_42_Alerts(t *testing.T) {
	w := newTestPool(t)
	w.fake("ts.example", healthy, nil)
	w.start()
	for _, tt := range []struct {
		story string
		conf  *tls.Config
		alert tls.AlertError // 0: none
	}{
		{"TLS 1.2", &tls.Config{NextProtos: []string{ke.ALPN}, MaxVersion: tls.VersionTLS12}, 70}, // protocol_version
		{"other ALPN", &tls.Config{NextProtos: []string{"h2"}}, 120},                              // no_application_protocol
		{"an address for a name", &tls.Config{NextProtos: []string{ke.ALPN}, ServerName: "127.0.0.1"}, 0},
		{"an unknown name", &tls.Config{NextProtos: []string{ke.ALPN}, ServerName: "nobody.example"}, 0},
		{"capitals and a trailing dot", &tls.Config{NextProtos: []string{ke.ALPN}, ServerName: "POOL.Example."}, 0},
	} {
		t.Run(tt.story, func(t *testing.T) {
			raw, err := w.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
			conf := tt.conf.Clone()
			conf.InsecureSkipVerify = true // the names are the point, not whether they are believed
			conn := tls.Client(raw, conf)
			err = conn.Handshake()
			if tt.alert != 0 {
				if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(tt.alert.Error(), "tls: ")) {
					t.Errorf("%v, want alert %d (%v)", err, uint8(tt.alert), tt.alert)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(request15); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(conn); err != nil || !bytes.HasPrefix(got, request15[:6]) {
				t.Errorf("%x, %v", got, err)
			}
		})
	}
}

// The longest answer that a user can get, eight cookies of 350 bytes and a name of 253, is one TLS record: crypto/tls hands out
// one at a time, so all of it comes with the first read.
func TestD3_44_OneRecord(t *testing.T) {
	label := strings.Repeat("a", 62)
	name := strings.Join([]string{label, label, label, label, "b"}, ".")
	w := newTestPool(t)
	w.fake("ts.example", fixed(func(<-chan struct{}) []byte {
		return cookies(aead.SIVCMAC256, func(r *record.Response) {
			r.Server = name
			for i := range r.Cookies {
				r.Cookies[i] = bytes.Repeat([]byte{byte(i)}, 350)
			}
		})
	}), nil)
	w.start()
	conn := w.connect()
	if _, err := conn.Write(request15); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16<<10)
	n, err := conn.Read(buf)
	if err != nil || n < 8*350+len(name) || !bytes.HasSuffix(buf[:n], unhex("80000000")) {
		t.Errorf("%d bytes in the first record, %v", n, err)
	}
}

// A pool on its own list answers itself as it answers every user who asks like a pool, so it is a time source that refuses;
// nothing goes round.
func TestD3_46_PoolOnItsOwnList(t *testing.T) {
	w := newTestPool(t)
	ln := w.listen()
	self := w.list("pool.example", ln.Addr().(*net.TCPAddr).AddrPort())
	self.Tokens = []secret.Bytes{secret.Bytes("0123456789abcdef")}
	w.fake("good.example", healthy, nil)
	w.startWith(Deps{Listen: func(context.Context, string) (net.Listener, error) { return ln, nil }})
	for range 2 * breakerFailures {
		w.requireServedBy("good.example")
	}
	w.requireFault(0, "refused")
	if n := w.pool.tally.read()[Served.String()]; n > 2*breakerFailures {
		t.Errorf("%d exchanges served for %d users", n, 2*breakerFailures)
	}
}

// A pool whose clock is decades behind believes no certificate: users get error 2, the keys stay here, and observers see why.
func TestD3_47_WrongClock(t *testing.T) {
	w := newTestPool(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := w.fake("ts.example", healthy, func(c *tls.Config) {
		c.Certificates[0] = w.ca.Custom(key, func(c *x509.Certificate) { c.NotBefore = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) }, "ts.example")
	})
	w.startWith(Deps{Now: func() time.Time { return time.Date(2004, 1, 1, 0, 0, 0, 0, time.UTC) }})
	if answer, _ := w.ask(request15); !bytes.Equal(answer, error2) {
		t.Errorf("the user got %x", answer)
	}
	if requests, _, _ := f.seen(); len(requests) != 0 {
		t.Errorf("it was asked %d times", len(requests))
	}
	w.requireFault(0, "certificate")
}

// A connection that is kept and whose other end is gone without a word: the request that went into it is not answered, the
// user is told in time, and the next one has a connection that works.
func TestD3_37_HalfOpenConnection(t *testing.T) {
	w := newTestPool(t)
	gone := make(chan struct{})
	f := w.fake("ts.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		select {
		case <-gone:
			if c == 0 {
				<-hung // swallowed
			}
		default:
		}
		return healthy(c, n, req, hung)
	}, nil)
	w.cfg.AnswerTimeout = 300 * time.Millisecond
	w.start()
	w.requireServedBy("ts.example")
	close(gone)
	began := time.Now()
	if answer, _ := w.ask(request15); !bytes.Equal(answer, error2) || time.Since(began) > 3*time.Second {
		t.Errorf("after %v the user got %x", time.Since(began), answer)
	}
	w.requireServedBy("ts.example")
	if _, keys, _ := f.seen(); len(slices.Compact(keys)) != 3 {
		t.Errorf("%d keys", len(keys))
	}
}
