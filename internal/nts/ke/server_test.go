package ke

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/testca"
)

// testServer is a running server and what a test needs to talk to it.
type testServer struct {
	t    *testing.T
	ca   *testca.CA
	srv  *Server
	addr string
	set  atomic.Pointer[nts.KeySet]
	cert atomic.Pointer[tls.Certificate]
	log  *lockedBuffer
	stop func() error
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startServer runs a server on loopback until the test ends or stop is called.
func startServer(t *testing.T, edit func(*testServer, *ServerConfig)) *testServer {
	t.Helper()
	s := &testServer{t: t, ca: testca.New(t), log: new(lockedBuffer)}
	s.set.Store(testKeySet(t))
	leaf := s.ca.Leaf("time.test")
	s.cert.Store(&leaf)
	c := ServerConfig{Certificate: s.cert.Load, KeySet: s.set.Load, Rand: rand.Reader, Log: zerolog.New(s.log), HandshakeCPU: 100, Nice: -1}
	if edit != nil {
		edit(s, &c)
	}
	s.srv = NewServer(c)
	ln, err := accept.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.srv.Serve(ctx, ln) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if c := s.srv.Counters(); c.Accept.Panics != 0 || c.Kept != 0 || c.Accept.Open != 0 {
			t.Errorf("at the end: %d panics, %d kept, %d open", c.Accept.Panics, c.Kept, c.Accept.Open)
		}
	})
	return s
}

// dial opens a TLS connection; edit may change the client's side.
func (s *testServer) dial(edit func(*tls.Config)) *tls.Conn {
	s.t.Helper()
	conn, err := s.tryDial(edit)
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

func (s *testServer) tryDial(edit func(*tls.Config)) (*tls.Conn, error) {
	conf := ClientTLS("time.test", s.ca.Pool(), nil)
	if edit != nil {
		edit(conf)
	}
	raw, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { _ = raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Client(raw, conf)
	return conn, conn.Handshake()
}

// settled waits until no handshake of the prefix is under way at the server's end.
func (s *testServer) settled(prefix netip.Prefix) {
	s.t.Helper()
	s.wait("no handshake under way", func(Counters) bool {
		g := s.srv.gate
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.line.known.of(prefix, time.Since(g.start)).open == 0
	})
}

// ask sends one request on a new connection and returns everything until close_notify.
func (s *testServer) ask(hex string) []byte { s.t.Helper(); return s.askOn(s.dial(nil), hex) }

func (s *testServer) askOn(conn *tls.Conn, hex string) []byte {
	s.t.Helper()
	if _, err := conn.Write(wire(s.t, hex)); err != nil {
		s.t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	if err != nil {
		s.t.Errorf("not closed by close_notify: %v", err)
	}
	return b
}

// next sends one request on a kept connection and returns the one answer.
func (s *testServer) next(conn *tls.Conn, r *Reader, hex string) []byte {
	s.t.Helper()
	if _, err := conn.Write(wire(s.t, hex)); err != nil {
		s.t.Fatal(err)
	}
	msg, err := r.Next()
	if err != nil {
		s.t.Fatalf("no answer: %v", err)
	}
	return bytes.Clone(msg)
}

// wait polls until the counters are as wanted: outcomes are counted after the answer was sent.
func (s *testServer) wait(what string, ok func(Counters) bool) {
	s.t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok(s.srv.Counters()) {
			return
		}
	}
	s.t.Errorf("%s: %+v", what, s.srv.Counters())
}

const (
	hexKS01 = hexNP + hexAE15 + hexEOM
	hexErr0 = "80020002 0000 80000000"
	hexErr1 = "80020002 0001 80000000"
	hexErr2 = "80020002 0002 80000000"
)

func TestKS01_PlainExchange(t *testing.T) {
	for _, tc := range []struct {
		name, request string
		algorithm     aead.Algorithm
		echo          bool
	}{
		{"KS01 AEAD 15", hexKS01, aead.SIVCMAC256, false},
		{"client's order", hexNP + "80040004 0011000f" + hexEOM, aead.SIVCMAC512, false},
		{"AEAD 30 with record 1024 is echoed", hexNP + "80040004 001e000f 04000000" + hexEOM, aead.GCMSIV128, true},
		{"AEAD 30 without record 1024 gives way", hexNP + "80040004 001e000f" + hexEOM, aead.SIVCMAC256, false},
		{"AEAD 30 alone without record 1024", hexNP + "80040002 001e" + hexEOM, aead.GCMSIV128, false},
		{"record 1024 without AEAD 30", hexNP + hexAE15 + "04000000" + hexEOM, aead.SIVCMAC256, false},
		{"KS04 one of two protocols and algorithms", "80010004 ffff0000 80040004 ffff000f" + hexEOM, aead.SIVCMAC256, false},
		{"KS24 server and port of the client", hexNP + hexAE15 + "00060002 6869 00070002 0007" + hexEOM, aead.SIVCMAC256, false},
		{"B11 token, keep alive and deny change nothing", "000e0002 6869" + hexNP + hexAE15 + "000d0001 61 00080000 40000000" + hexEOM, aead.SIVCMAC256, false},
		{"bytes behind the request", hexKS01 + hexKS01, aead.SIVCMAC256, false},
		{"KS09 1024 bytes", hexNP + hexAE15 + "123403ec" + strings.Repeat("00", 1004) + hexEOM, aead.SIVCMAC256, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startServer(t, func(_ *testServer, c *ServerConfig) { c.NTPServer, c.NTPPort = "ntp.test", 1123 })
			conn := s.dial(nil)
			msg := s.askOn(conn, tc.request)
			r, fault := record.ParseResponse(msg, record.Offer{Protocols: []record.Protocol{0}, Algorithms: []aead.Algorithm{15, 17, 30}})
			if fault != record.None {
				t.Fatalf("%v in %x", fault, msg)
			}
			if r.Algorithm != tc.algorithm || r.CompliantExport != tc.echo || r.Server != "ntp.test" || r.Port != 1123 || r.KeepAlive {
				t.Errorf("%+v", r)
			}
			cs := conn.ConnectionState()
			want, err := ExportKeys(&cs, 0, tc.algorithm, tc.algorithm)
			if err != nil {
				t.Fatal(err)
			}
			s.checkCookies(r.Cookies, want)
			s.wait("served", func(c Counters) bool { return c.Of(Served) == 1 && c.Exports == 1 })
		})
	}
}

// checkCookies wants eight different cookies that hold the keys.
func (s *testServer) checkCookies(cookies [][]byte, want nts.Keys) {
	s.t.Helper()
	seen := map[string]bool{}
	for _, cookie := range cookies {
		seen[string(cookie)] = true
		var got nts.Keys
		if !nts.NewSealer().Open(s.set.Load(), cookie, &got) || got.Algorithm != want.Algorithm ||
			!got.C2S.Equal(want.C2S) || !got.S2C.Equal(want.S2C) {
			s.t.Error("cookie does not hold the keys")
		}
	}
	if len(seen) != 8 {
		s.t.Errorf("%d different cookies", len(seen))
	}
}

// The longest answer, eight cookies for the longest keys and a name of 253 bytes, is one TLS record, because NTPsec reads once
// (docs/rules/pool.md#one-record): crypto/tls hands out one at a time.
func TestD3_44_OneRecord(t *testing.T) {
	label := strings.Repeat("a", 62)
	s := startServer(t, func(_ *testServer, c *ServerConfig) {
		c.NTPServer, c.NTPPort = strings.Join([]string{label, label, label, label, "b"}, "."), 4123
	})
	conn := s.dial(nil)
	if _, err := conn.Write(wire(t, hexNP+"80040002 0011"+hexEOM)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16<<10)
	n, err := conn.Read(buf)
	if err != nil || n < 8*160+253 || !bytes.HasSuffix(buf[:n], wire(t, hexEOM)) {
		t.Errorf("%d bytes in the first record, %v", n, err)
	}
}

// TestKS_Answers are the requests whose whole answer is known beforehand.
func TestKS_Answers(t *testing.T) {
	s := startServer(t, nil)
	for _, tc := range []struct {
		name, request, answer string
		outcome               Outcome
	}{
		{"KS02 no common protocol", "80010002 ffff" + hexAE15 + hexEOM, "80010000 80000000", NoProtocol},
		{"KS02 without AEAD", "80010002 ffff" + hexEOM, "80010000 80000000", NoProtocol},
		{"KS03 no common AEAD", hexNP + "80040002 ffff" + hexEOM, hexNP + "80040000" + hexEOM, NoAlgorithm},
		{"KS05 lone end", hexEOM, hexErr1, BadRequest},
		{"KS06 next protocol twice", hexNP + hexNP + hexAE15 + hexEOM, hexErr1, BadRequest},
		{"KS06 not critical", "00010002 0000" + hexAE15 + hexEOM, hexErr1, BadRequest},
		{"KS06 next protocol empty", "80010000" + hexAE15 + hexEOM, hexErr1, BadRequest},
		{"KS06 next protocol of three bytes", "80010003 000000" + hexAE15 + hexEOM, hexErr1, BadRequest},
		{"KS06 AEAD twice", hexNP + hexAE15 + hexAE15 + hexEOM, hexErr1, BadRequest},
		{"KS06 AEAD absent", hexNP + hexEOM, hexErr1, BadRequest},
		{"KS06 AEAD empty", hexNP + "80040000" + hexEOM, hexErr1, BadRequest},
		{"KS06 AEAD of three bytes", hexNP + "80040003 000f00" + hexEOM, hexErr1, BadRequest},
		{"KS07 unknown critical", hexNP + hexAE15 + "c1230000" + hexEOM, hexErr0, UnknownCritical},
		{"KS08 error", hexNP + hexAE15 + "80020002 0000" + hexEOM, hexErr1, BadRequest},
		{"KS08 warning", hexNP + hexAE15 + "80030002 0000" + hexEOM, hexErr1, BadRequest},
		{"KS08 cookie", hexNP + hexAE15 + "00050004 00000000" + hexEOM, hexErr1, BadRequest},
		{"KS10 record length 65535, then nothing", "4123ffff 00", hexErr1, TooLarge},
		{"many records", strings.Repeat("41230000", 300), hexErr1, TooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := s.srv.Counters()
			if got := s.ask(tc.request); !bytes.Equal(got, wire(t, tc.answer)) {
				t.Errorf("answer %x, want %s", got, tc.answer)
			}
			s.wait(tc.outcome.String(), func(c Counters) bool {
				return c.Of(tc.outcome) == before.Of(tc.outcome)+1 && c.Exports == before.Exports
			})
		})
	}
}

func TestKS10_EndlessRequest(t *testing.T) {
	s := startServer(t, nil)
	conn := s.dial(nil)
	var sent int
	for chunk := bytes.Repeat(wire(t, "412303fc"+strings.Repeat("00", 1020)), 16); ; {
		n, err := conn.Write(chunk)
		if sent += n; err != nil || sent > 64<<20 {
			break
		}
	}
	if sent > 16<<20 {
		t.Errorf("server let %d bytes be sent", sent)
	}
	s.wait("too large", func(c Counters) bool { return c.Of(TooLarge) == 1 })
}

func TestKS11_ALPN(t *testing.T) {
	pool := testca.New(t).Leaf("pool.test")
	stranger := testca.New(t).Leaf("pool.test")
	s := startServer(t, func(_ *testServer, c *ServerConfig) {
		c.PoolLeaves = func() [][]byte { return [][]byte{pool.Leaf.Raw} }
	})
	for _, tc := range []struct {
		name   string
		alpn   []string
		cert   *tls.Certificate
		served bool
	}{
		{"no ALPN", nil, nil, false},
		{"no ALPN, certificate not listed", nil, &stranger, false},
		{"no ALPN, era-A pool", nil, &pool, true},
		{"ALPN", []string{ALPN}, nil, true},
		{"ALPN among others", []string{"h2", ALPN}, nil, true},
		{"ALPN http/1.1", []string{"http/1.1"}, nil, false},
		{"ALPN http/1.1 of a pool", []string{"http/1.1"}, &pool, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := s.srv.Counters()
			conn, err := s.tryDial(func(c *tls.Config) {
				c.NextProtos = tc.alpn
				if tc.cert != nil {
					c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return tc.cert, nil }
				}
			})
			var got []byte
			if err == nil {
				_, _ = conn.Write(wire(t, hexKS01))
				got, _ = io.ReadAll(conn)
			}
			if (len(got) > 0) != tc.served {
				t.Errorf("%d application bytes", len(got))
			}
			if !tc.served {
				s.wait("refused", func(c Counters) bool {
					return c.Of(NoALPN)+c.Of(HandshakeFailed) == before.Of(NoALPN)+before.Of(HandshakeFailed)+1 && c.Of(Served) == before.Of(Served)
				})
			}
		})
	}
}

func TestKS12_NotTLS13(t *testing.T) {
	s := startServer(t, func(s *testServer, c *ServerConfig) {
		c.Timeout, c.Log = time.Second, zerolog.New(s.log).Level(zerolog.InfoLevel)
	})
	for name, hello := range map[string]string{
		"SSLv2":  "802e0100020015000000100100800200800300800400800500800600400700c0" + strings.Repeat("ab", 16),
		"HTTP":   fmt.Sprintf("%x", "GET / HTTP/1.0\r\n\r\n"),
		"random": "d3adbeef" + strings.Repeat("5a", 60),
	} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = conn.Write(wire(t, hello))
		b, err := io.ReadAll(conn)
		if len(b) > 7 || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %x, %v", name, b, err) // at most a TLS alert
		}
		_ = conn.Close()
	}
	for v := uint16(tls.VersionTLS10); v <= tls.VersionTLS12; v++ {
		if _, err := s.tryDial(func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v }); err == nil {
			t.Errorf("TLS %x accepted", v)
		}
	}
	s.wait("failed", func(c Counters) bool { return c.Of(HandshakeFailed) == 6 })
	if s.log.String() != "" {
		t.Errorf("logged above debug: %s", s.log)
	}
}

// TestKS13_IdleConnections: a host full of silent connections, all from the address of the honest client.
func TestKS13_IdleConnections(t *testing.T) {
	s := startServer(t, func(_ *testServer, c *ServerConfig) { c.MaxConnections, c.Timeout = 64, time.Second })
	var idle []net.Conn
	for range 300 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	began := time.Now()
	if b := s.ask(hexKS01); len(b) < 800 || time.Since(began) > 2*time.Second {
		t.Errorf("%d bytes after %v", len(b), time.Since(began))
	}
	for _, c := range idle {
		_ = c.SetReadDeadline(began.Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); accept.IsTimeout(err) {
			t.Fatal("idle connection open after 5 s")
		}
	}
	if c := s.srv.Counters(); c.Accept.Evicted == 0 {
		t.Errorf("%+v", c.Accept)
	}
}

func TestKS15_PeersThatDoNotRead(t *testing.T) {
	s := startServer(t, func(_ *testServer, c *ServerConfig) { c.Timeout = 500 * time.Millisecond })
	t.Run("half-close after the request", func(t *testing.T) {
		conn := s.dial(nil)
		_, _ = conn.Write(wire(t, hexKS01))
		_ = conn.CloseWrite()
		_ = conn.NetConn().(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(conn); len(b) < 800 || err != nil {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})
	t.Run("half-close before the end of the request", func(t *testing.T) {
		conn := s.dial(nil)
		_, _ = conn.Write(wire(t, hexNP))
		_ = conn.CloseWrite()
		if b, err := io.ReadAll(conn); len(b) != 0 || err != nil {
			t.Errorf("%x, %v", b, err)
		}
		s.wait("closed early", func(c Counters) bool { return c.Of(ClosedEarly) == 1 })
	})
	t.Run("never reads", func(t *testing.T) {
		conn := s.dial(nil)
		_, _ = conn.Write(wire(t, hexKS01))
		began := time.Now()
		s.wait("closed", func(c Counters) bool { return c.Accept.Open == 0 })
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

func TestKS16_IncompleteRequest(t *testing.T) {
	s := startServer(t, func(_ *testServer, c *ServerConfig) { c.Timeout = 300 * time.Millisecond })
	for _, request := range []string{"", hexNP, hexNP + hexAE15 + "8000"} {
		began := time.Now()
		if got := s.ask(request); !bytes.Equal(got, wire(t, hexErr1)) {
			t.Errorf("%q: answer %x", request, got)
		}
		if d := time.Since(began); d < 200*time.Millisecond || d > 2*time.Second {
			t.Errorf("%q: closed after %v", request, d)
		}
	}
	s.wait("timed out", func(c Counters) bool { return c.Of(TimedOut) == 3 })
	t.Run("no client hello", func(t *testing.T) {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
		if b, err := io.ReadAll(conn); len(b) != 0 || accept.IsTimeout(err) {
			t.Errorf("%x, %v", b, err)
		}
		s.wait("handshake timeout", func(c Counters) bool { return c.Of(HandshakeTimeout) == 1 })
	})
}

func TestKS17_PrefixLimit(t *testing.T) {
	s := startServer(t, func(_ *testServer, c *ServerConfig) { c.PerPrefix = 2 })
	a, b := s.dial(nil), s.dial(nil)
	s.settled(netip.MustParsePrefix("127.0.0.1/32")) // until then b would make room
	if _, err := s.tryDial(nil); err == nil {
		t.Error("third connection of one address served")
	}
	if c := s.srv.Counters(); c.Accept.Prefix != 1 {
		t.Errorf("%+v", c.Accept)
	}
	for _, conn := range []*tls.Conn{a, b} {
		if msg := s.askOn(conn, hexKS01); len(msg) < 800 {
			t.Errorf("%d bytes", len(msg))
		}
	}
}

// TestKS18_GateIsNotHeldByTheSlow: handshakes that wait for their peers let others compute.
func TestKS18_GateIsNotHeldByTheSlow(t *testing.T) {
	s := startServer(t, nil)
	for range 20 {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write(wire(t, "16030100ff 0100")) // the start of a ClientHello
	}
	began := time.Now()
	for range 5 {
		if b := s.ask(hexKS01); len(b) < 800 {
			t.Errorf("%d bytes", len(b))
		}
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("took %v", d)
	}
	s.srv.gate.mu.Lock()
	defer s.srv.gate.mu.Unlock()
	if l := &s.srv.gate.line; l.busy != 0 || l.size != 0 {
		t.Errorf("%d places are still taken, %d wait", l.busy, l.size)
	}
}

func TestKS19_CertificateIsLookedUpPerHandshake(t *testing.T) {
	s := startServer(t, nil)
	s.ask(hexKS01)
	other := s.ca.Leaf("time.test")
	s.cert.Store(&other)
	conn := s.dial(nil)
	if got := conn.ConnectionState().PeerCertificates[0]; !got.Equal(other.Leaf) {
		t.Error("old certificate after the change")
	}
	s.askOn(conn, hexKS01)
	s.cert.Store(nil)
	if _, err := s.tryDial(nil); err == nil {
		t.Error("handshake without a certificate")
	}
}

func TestKS21_NoResumption(t *testing.T) {
	s := startServer(t, nil)
	cache := tls.NewLRUClientSessionCache(4)
	for range 3 {
		conn := s.dial(func(c *tls.Config) { c.SessionTicketsDisabled, c.ClientSessionCache = false, cache })
		if msg := s.askOn(conn, hexKS01); len(msg) < 800 {
			t.Errorf("%d bytes", len(msg))
		}
		if conn.ConnectionState().DidResume {
			t.Error("resumed")
		}
	}
	if _, ok := cache.Get("time.test"); ok {
		t.Error("server gave out a session ticket")
	}
}

func TestKS22_PeerTextIsEscaped(t *testing.T) {
	s := startServer(t, nil)
	evil := "\n\x1b[31mevil"
	if _, err := s.tryDial(func(c *tls.Config) { c.NextProtos = []string{evil} }); err == nil {
		t.Error("accepted")
	}
	conn, err := s.tryDial(func(c *tls.Config) { c.ServerName, c.InsecureSkipVerify = evil, true })
	if err != nil {
		t.Fatalf("SNI: %v", err)
	}
	_, _ = conn.Write(wire(t, hexEOM)) // a bad request, of which the log tells
	_, _ = io.ReadAll(conn)
	s.wait("both", func(c Counters) bool { return c.Of(HandshakeFailed) == 1 && c.Of(BadRequest) == 1 })
	for line := range strings.Lines(s.log.String()) {
		var fields map[string]string
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		for k, v := range fields {
			if strings.ContainsAny(v, "\n\x1b") {
				t.Errorf("%s holds raw bytes of the peer: %q", k, v)
			}
		}
	}
}

// TestP16_NoSecretsInTheLog: not even at trace level.
func TestP16_NoSecretsInTheLog(t *testing.T) {
	s := startServer(t, withToken)
	s.ask(hexKS01)
	s.ask("000e0002 6869 800a0000 80090000" + hexEOM)
	s.ask("000e0005 77726f6e67 800a0000" + hexEOM)
	s.wait("all", func(c Counters) bool { return c.Of(Unprivileged) == 1 })
	for _, secret := range []string{"hi\"", "6869", "wrong", "77726f6e67"} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("log holds %q: %s", secret, s.log)
		}
	}
}

func TestInternalError_WithoutCookieKeys(t *testing.T) {
	s := startServer(t, nil)
	s.set.Store(nil)
	if got := s.ask(hexKS01); !bytes.Equal(got, wire(t, hexErr2)) {
		t.Errorf("answer %x", got)
	}
}

func TestShutdown_FinishesTheExchange(t *testing.T) {
	s := startServer(t, nil)
	conn := s.dial(nil)
	done := make(chan error)
	go func() { done <- s.stop() }()
	time.Sleep(20 * time.Millisecond)
	if b := s.askOn(conn, hexKS01); len(b) < 800 {
		t.Errorf("%d bytes", len(b))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOutcomes_HaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range AllOutcomes() {
		if o.String() == "" || seen[o.String()] {
			t.Errorf("outcome %d: %q", o, o)
		}
		seen[o.String()] = true
	}
	if !cmp.Equal(len(seen), int(outcomes)) {
		t.Error("missing names")
	}
}
