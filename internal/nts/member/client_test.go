package member

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/secret"
	"ntp-daemon/internal/testca"
)

// script answers the n-th request (from 0) of the c-th connection (from 0). A nil answer closes the
// connection without a byte; keep leaves it open for the next request.
type script func(c, n int, request []byte) (answer []byte, keep bool)

// fakeServer is a time source that follows a script and writes down what it was sent.
type fakeServer struct {
	addr netip.AddrPort
	ca   *testca.CA

	mu       sync.Mutex
	requests []string // hex
	conns    int
	leaf     []byte // client certificate of the last connection
	open     []net.Conn
}

// startServer serves the script for "ts.example" on loopback; edit may change its TLS side.
func startServer(t *testing.T, s script, edit func(*testca.CA, *tls.Config)) *fakeServer {
	t.Helper()
	f := &fakeServer{ca: testca.New(t)}
	conf := ke.ServerTLS(nil, nil)
	conf.GetCertificate = nil
	conf.Certificates = []tls.Certificate{f.ca.Leaf("ts.example")}
	conf.ClientAuth = tls.RequestClientCert
	if edit != nil {
		edit(f.ca, conf)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().(*net.TCPAddr).AddrPort()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			c := f.enter(raw)
			wg.Go(func() { f.serve(c, tls.Server(raw, conf), s) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); f.hangUp(); wg.Wait() })
	return f
}

func (f *fakeServer) enter(raw net.Conn) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = append(f.open, raw)
	f.conns++
	return f.conns - 1
}

// hangUp closes every connection.
func (f *fakeServer) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.open {
		_ = c.Close()
	}
}

func (f *fakeServer) serve(c int, conn *tls.Conn, s script) {
	defer conn.Close()
	if conn.Handshake() != nil {
		return
	}
	f.mu.Lock()
	if certs := conn.ConnectionState().PeerCertificates; len(certs) > 0 {
		f.leaf = certs[0].Raw
	}
	f.mu.Unlock()
	r := ke.NewReader(conn, record.RequestLimits)
	for n := 0; ; n++ {
		msg, err := r.Next()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.requests = append(f.requests, hex.EncodeToString(msg))
		f.mu.Unlock()
		answer, keep := s(c, n, msg)
		if _, err := conn.Write(answer); err != nil || answer == nil || !keep {
			return
		}
	}
}

// seen returns the requests so far in hex and the number of connections.
func (f *fakeServer) seen() ([]string, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests), f.conns
}

// member is a Client for the fake; edit may change its configuration.
func (f *fakeServer) member(t *testing.T, edit func(*Config)) *Client {
	cfg := Config{
		Backend: pool.Backend{
			Domain: "ts.example", Port: f.addr.Port(), Addresses: []netip.Addr{f.addr.Addr()},
			Tokens: []secret.Bytes{secret.Bytes("hi")},
		},
		Roots: func() (*x509.CertPool, error) { return f.ca.Pool(), nil }, AnswerTimeout: 2 * time.Second,
	}
	if edit != nil {
		edit(&cfg)
	}
	m := New(cfg)
	t.Cleanup(m.Close)
	return m
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// The information requests of docs/rules/pool.md#vectors with record 1024, which says that the pool honours it; V7
// also with the Keep Alive that docs/rules/pool.md#dialect-detection permits.
var (
	v5 = "000e00026869" + "800a0000" + "80090000" + "04000000" + "00080000" + "80000000"
	v6 = "400500026869" + "c0010000" + "c0040000" + "04000000" + "40000000" + "80000000"
	v7 = "c0010000" + "04000000" + "40000000" + "80000000"
)

// Answers of the eras, as their programs write them (docs/rules/pool.md#eras).
var (
	errorCode = func(code byte) []byte { return unhex("80020002 00" + hex.EncodeToString([]byte{code}) + "80000000") }
	eraAError = unhex("80020002 0000 80010002 0000 80000000")
	eraAList  = append(append(unhex("c0010008 00110040 000f0020 80010002 0000 00040002 000f"),
		bytes.Repeat(append(unhex("00050068"), make([]byte, 104)...), 8)...), unhex("80000000")...)
	eraBList   = unhex("c0010008 000f0020 00110040 c0040002 0000 40000000 80000000")
	chronyList = unhex("c0040002 0000 c0010008 000f0020 001e0010 40000000 80000000")
	eraCList   = unhex("800a0008 000f0020 00110040 80090002 0000 00080000 80000000")
)

// speaks answers one information request and treats the others as the era does.
func speaks(request string, list, otherwise []byte) script {
	return func(_, _ int, got []byte) ([]byte, bool) {
		if hex.EncodeToString(got) == request {
			return list, true
		}
		return otherwise, false
	}
}

// TestMemberDialects: what is found, and that it takes information requests only.
func TestMemberDialects(t *testing.T) {
	both := []aead.Algorithm{aead.SIVCMAC256, aead.SIVCMAC512}
	for _, tt := range []struct {
		story    string
		ts       script
		edit     func(*Config)
		dialect  record.Dialect
		algs     []aead.Algorithm
		requests []string
		err      error
	}{
		{"era C", speaks(v5, eraCList, errorCode(0)), nil, record.IANA, both, []string{v5}, nil},
		{"era B, ntpd-rs 1.8", speaks(v6, eraBList, errorCode(0)), nil, record.Token4000, both, []string{v5, v6}, nil},
		{"era B, chrony", speaks(v6, chronyList, errorCode(0)), nil, record.Token4000,
			[]aead.Algorithm{aead.SIVCMAC256, aead.GCMSIV128}, []string{v5, v6}, nil},
		{"era A from 1.2.2", speaks(v7, eraAList, eraAError), nil, record.Cert4000,
			[]aead.Algorithm{aead.SIVCMAC512, aead.SIVCMAC256}, []string{v5, v6, v7}, nil},
		{"era A up to 1.2.1 hangs up", speaks(v7, eraAList, nil), nil, record.Cert4000,
			[]aead.Algorithm{aead.SIVCMAC512, aead.SIVCMAC256}, []string{v5, v6, v7}, nil},
		{"no token, so the certificate dialect only", speaks(v7, eraAList, eraAError),
			func(c *Config) { c.Tokens = nil }, record.Cert4000,
			[]aead.Algorithm{aead.SIVCMAC512, aead.SIVCMAC256}, []string{v7}, nil},
		{"era fixed by the operator", speaks(v6, eraBList, errorCode(0)),
			func(c *Config) { c.Dialect = record.Token4000 }, record.Token4000, both, []string{v6}, nil},
		{"wrong token ends the search", speaks(v6, eraBList, errorCode(1)), nil, 0, nil, []string{v5}, ErrRefused},
		{"the second token is accepted", speaks(strings.Replace(v5, "6869", "686f", 1), eraCList, errorCode(1)),
			func(c *Config) { c.Tokens = append(c.Tokens, secret.Bytes("ho")) }, record.IANA, both,
			[]string{v5, strings.Replace(v5, "6869", "686f", 1)}, nil},
		{"unknown dialect is not asked with every token", speaks(v7, eraAList, eraAError),
			func(c *Config) { c.Tokens = append(c.Tokens, secret.Bytes("ho")) }, record.Cert4000,
			[]aead.Algorithm{aead.SIVCMAC512, aead.SIVCMAC256}, []string{v5, v6, v7}, nil},
		{"knows no pool at all", speaks("", nil, errorCode(0)), nil, 0, nil, []string{v5, v6, v7}, ErrDialect},
		{"internal error says nothing about dialects", speaks("", nil, errorCode(2)), nil, 0, nil, []string{v5}, record.PeerError},
		{"list of protocols missing", speaks(v5, unhex("800a0004 000f0020 80000000"), nil), nil, 0, nil, []string{v5}, record.Missing},
		{"warning", speaks(v5, unhex("800a0004 000f0020 80090002 0000 80030002 0001 80000000"), nil), nil, 0, nil, []string{v5}, record.PeerWarning},
		{"P04: sizes 0, 8161, 65535, unknown AEAD, another size for a known one",
			speaks(v5, unhex("800a0018 000f0000 00111fe1 ffff0020 001e0010 0010ffff 001f0010 80090002 0000 80000000"), nil), nil,
			record.IANA, []aead.Algorithm{aead.GCMSIV128}, []string{v5}, nil},
	} {
		t.Run(tt.story, func(t *testing.T) {
			f := startServer(t, tt.ts, nil)
			m := f.member(t, tt.edit)
			connected := 0
			s, err := m.Supports(t.Context(), func() { connected++ })
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if got, _ := f.seen(); !slices.Equal(got, tt.requests) {
				t.Errorf("requests %v\nwant     %v", got, tt.requests)
			}
			if s.Dialect != tt.dialect || !slices.Equal(s.Algorithms, tt.algs) || connected != 1 {
				t.Errorf("got %v %v, %d times connected", s.Dialect, s.Algorithms, connected)
			}
			if err != nil {
				return
			}
			if !slices.Equal(s.Protocols, []record.Protocol{record.NTPv4}) {
				t.Errorf("protocols %v", s.Protocols)
			}
			if _, err := m.Supports(t.Context(), nil); err != nil {
				t.Fatalf("second time: %v", err)
			}
			if got, _ := f.seen(); len(got) != len(tt.requests)+1 || got[len(got)-1] != tt.requests[len(tt.requests)-1] {
				t.Errorf("the dialect was not remembered: %v", got)
			}
		})
	}
}

func TestClient_DialectChanges(t *testing.T) {
	upgraded := false
	f := startServer(t, func(_, _ int, got []byte) ([]byte, bool) {
		switch hex.EncodeToString(got) {
		case v5:
			if upgraded {
				return eraCList, false
			}
		case v6:
			if !upgraded {
				upgraded = true
				return eraBList, false
			}
		}
		return errorCode(0), false
	}, nil)
	m := f.member(t, nil)
	for _, want := range []record.Dialect{record.Token4000, record.IANA, record.IANA} {
		if s, err := m.Supports(t.Context(), nil); err != nil || s.Dialect != want {
			t.Errorf("got %v, %v; want %v", s.Dialect, err, want)
		}
	}
}

// P06, docs/rules/pool.md#time-source-keys: whatever is wrong with the certificate, not one byte of ours is sent.
func TestP06_D3_21_MemberCertificate(t *testing.T) {
	other := testca.New(t)
	rsa1024, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		story string
		cert  func(*testca.CA) tls.Certificate
	}{
		{"other name", func(ca *testca.CA) tls.Certificate { return ca.Leaf("ts.example.org", "example") }},
		{"no name", func(ca *testca.CA) tls.Certificate { return ca.Leaf() }},
		{"untrusted authority", func(*testca.CA) tls.Certificate { return other.Leaf("ts.example") }},
		{"expired", func(ca *testca.CA) tls.Certificate {
			return ca.Custom(p256, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, "ts.example")
		}},
		{"not yet valid", func(ca *testca.CA) tls.Certificate {
			return ca.Custom(p256, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, "ts.example")
		}},
		{"weak key", func(ca *testca.CA) tls.Certificate {
			return ca.Custom(rsa1024, func(*x509.Certificate) {}, "ts.example")
		}},
	} {
		t.Run(tt.story, func(t *testing.T) {
			f := startServer(t, speaks(v5, eraCList, nil), func(ca *testca.CA, c *tls.Config) {
				c.Certificates = []tls.Certificate{tt.cert(ca)}
			})
			m := f.member(t, nil)
			if _, err := m.Supports(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "TLS") {
				t.Errorf("Supports: %v", err)
			}
			_, err := m.FixedKey(t.Context(), Support{}, record.NTPv4, func() (nts.Keys, error) {
				t.Error("keys were asked for")
				return nts.Keys{}, nil
			})
			if err == nil {
				t.Error("FixedKey succeeded")
			}
			if got, _ := f.seen(); len(got) != 0 {
				t.Errorf("sent %v", got)
			}
		})
	}
}

func TestClient_WithoutALPNGetsNoToken(t *testing.T) {
	f := startServer(t, speaks(v7, eraAList, nil), func(_ *testca.CA, c *tls.Config) { c.NextProtos = nil })
	s, err := f.member(t, nil).Supports(t.Context(), nil)
	if got, _ := f.seen(); err != nil || s.Dialect != record.Cert4000 || !slices.Equal(got, []string{v7}) {
		t.Errorf("got %v, %v, requests %v", s.Dialect, err, got)
	}
	only := f.member(t, func(c *Config) { c.Dialect = record.IANA })
	if _, err := only.Supports(t.Context(), nil); !errors.Is(err, ErrALPN) {
		t.Errorf("token dialect only: %v", err)
	}
	_, err = only.FixedKey(t.Context(), Support{Dialect: record.IANA}, record.NTPv4, func() (nts.Keys, error) {
		t.Error("keys were asked for")
		return nts.Keys{}, nil
	})
	if !errors.Is(err, ErrALPN) {
		t.Errorf("fixed key: %v", err)
	}
}

// The certificate goes out although the time source names an authority that did not sign it.
func TestClient_PresentsItsCertificate(t *testing.T) {
	foreign := testca.New(t)
	f := startServer(t, speaks(v7, eraAList, nil), func(_ *testca.CA, c *tls.Config) { c.ClientCAs = foreign.Pool() })
	own := testca.New(t).Leaf("pool.example")
	m := f.member(t, func(c *Config) {
		c.Tokens, c.Certificate = nil, func() *tls.Certificate { return &own }
	})
	if _, err := m.Supports(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !bytes.Equal(f.leaf, own.Certificate[0]) {
		t.Error("the time source did not get our certificate")
	}
}

func someKeys() (nts.Keys, error) {
	k := nts.Keys{Algorithm: aead.SIVCMAC256, C2S: make(secret.Bytes, 32), S2C: make(secret.Bytes, 32)}
	for i := range 32 {
		k.C2S[i], k.S2C[i] = byte(i), byte(32+i)
	}
	return k, nil
}

// fixedAnswer is a time source's answer with n cookies of 104 bytes, keeping the connection or not.
func fixedAnswer(n int, keep bool) []byte {
	r := record.Response{Algorithm: aead.SIVCMAC256, KeepAlive: keep, Dialect: record.IANA}
	for i := range n {
		r.Cookies = append(r.Cookies, bytes.Repeat([]byte{byte(i + 1)}, 104))
	}
	return r.Append(nil)
}

// The requests of docs/rules/pool.md#vectors: V11, V12 and V13 (with Keep Alive).
func TestClient_FixedKeyRequest(t *testing.T) {
	k := "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" + "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
	for _, tt := range []struct {
		dialect record.Dialect
		want    string
	}{
		{record.IANA, "000e00026869800c0040" + k + "8001000200008004000200" + "0f0008000080000000"},
		{record.Token4000, "400500026869c0020040" + k + "8001000200008004000200" + "0f4000000080000000"},
		{record.Cert4000, "800100020000000400020" + "00fc0020040" + k + "4000000080000000"},
	} {
		f := startServer(t, func(int, int, []byte) ([]byte, bool) { return fixedAnswer(8, false), false }, nil)
		s := Support{Dialect: tt.dialect, token: secret.Bytes("hi")}
		resp, err := f.member(t, nil).FixedKey(t.Context(), s, record.NTPv4, someKeys)
		if err != nil || len(resp.Cookies) != 8 {
			t.Errorf("%v: %d cookies, %v", tt.dialect, len(resp.Cookies), err)
		}
		if got, _ := f.seen(); !slices.Equal(got, []string{tt.want}) {
			t.Errorf("%v:\ngot  %v\nwant %v", tt.dialect, got, tt.want)
		}
	}
}

func TestClient_KeepsConnections(t *testing.T) {
	silent := unhex("800a0004 000f0020 80090002 0000 80000000") // a list without Keep Alive
	f := startServer(t, func(_, n int, got []byte) ([]byte, bool) {
		switch {
		case hex.EncodeToString(got) != v5:
			return fixedAnswer(8, true), true
		case n == 0:
			return eraCList, true
		}
		return silent, true
	}, nil)
	m := f.member(t, nil)
	s, err := m.Supports(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var first [][]byte
	for range 10 {
		resp, err := m.FixedKey(t.Context(), s, record.NTPv4, someKeys)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = resp.Cookies
		}
		if s, err = m.Supports(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if requests, conns := f.seen(); conns != 1 || len(requests) != 21 {
		t.Errorf("%d requests on %d connections", len(requests), conns)
	}
	if first[3][0] != 4 {
		t.Error("the cookies of one user were overwritten by the next")
	}
}

// docs/rules/pool.md#idle-connections: a kept connection that the time source closed while it was idle costs the user
// nothing.
func TestD3_37_KeptConnectionClosedWhileIdle(t *testing.T) {
	f := startServer(t, func(int, int, []byte) ([]byte, bool) { return eraCList, true }, nil)
	m := f.member(t, nil)
	for range 3 {
		if _, err := m.Supports(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		f.hangUp()
		// Wait until the end of the stream has arrived, so that the look at the idle connection sees it.
		deadline := time.Now().Add(2 * time.Second)
		for nothingToRead(m.idle[0].raw) && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
	}
	if requests, conns := f.seen(); conns != 3 || len(requests) != 3 {
		t.Errorf("%d requests on %d connections", len(requests), conns)
	}
}

// P05, docs/rules/pool.md#keys-once: a kept connection that dies under the request is replaced once, by one to the same
// time source; a fresh connection that dies is not.
func TestP05_D3_01_OneResendToTheSameMember(t *testing.T) {
	dying := true
	f := startServer(t, func(c, n int, got []byte) ([]byte, bool) {
		switch {
		case hex.EncodeToString(got) == v5:
			return eraCList, true
		case dying && n > 0: // on a kept connection
			return nil, false
		case !dying:
			return nil, false
		}
		return fixedAnswer(8, false), false
	}, nil)
	m := f.member(t, nil)
	s, err := m.Supports(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	take := func() (nts.Keys, error) { taken++; return someKeys() }
	if _, err := m.FixedKey(t.Context(), s, record.NTPv4, take); err != nil || taken != 2 {
		t.Fatalf("keys taken %d times, %v", taken, err)
	}
	dying, taken = false, 0
	if _, err := m.FixedKey(t.Context(), s, record.NTPv4, take); !errors.Is(err, io.EOF) || taken != 1 {
		t.Errorf("fresh connection: keys taken %d times, %v", taken, err)
	}
}

// docs/rules/pool.md#idle-connections: a time source that answers too late costs one timeout, and its answer reaches
// nobody.
func TestD3_39_LateAnswerIsNeverDelivered(t *testing.T) {
	release := make(chan struct{})
	f := startServer(t, func(c, n int, got []byte) ([]byte, bool) {
		if hex.EncodeToString(got) == v5 {
			return eraCList, true
		}
		if c == 0 {
			<-release
			return fixedAnswer(1, true), true
		}
		return fixedAnswer(8, true), true
	}, nil)
	m := f.member(t, func(c *Config) { c.AnswerTimeout = 100 * time.Millisecond })
	s, err := m.Supports(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := m.FixedKey(t.Context(), s, record.NTPv4, someKeys); err == nil || time.Since(start) > 2*time.Second {
		t.Fatalf("after %v: %v", time.Since(start), err)
	}
	close(release)
	resp, err := m.FixedKey(t.Context(), s, record.NTPv4, someKeys)
	if err != nil || len(resp.Cookies) != 8 {
		t.Errorf("the next user got %d cookies, %v", len(resp.Cookies), err)
	}
}

// Bytes behind an answer spoil the connection: they would be read as the next user's answer.
func TestD3_38_SurplusSpoilsTheConnection(t *testing.T) {
	f := startServer(t, func(_, _ int, got []byte) ([]byte, bool) {
		return append(slices.Clone(eraCList), eraCList...), true
	}, nil)
	m := f.member(t, nil)
	for range 2 {
		if _, err := m.Supports(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, conns := f.seen(); conns != 2 {
		t.Errorf("%d connections", conns)
	}
}

// P02: what is wrong with an answer to keys is named, and the connection is not used again.
func TestP02_D3_24_MemberAnswers(t *testing.T) {
	answer := func(change func(*record.Response)) []byte {
		r := record.Response{Algorithm: aead.SIVCMAC256, Cookies: [][]byte{make([]byte, 104)}, KeepAlive: true, Dialect: record.IANA}
		change(&r)
		return r.Append(nil)
	}
	flood := make([][]byte, 5000)
	for i := range flood {
		flood[i] = make([]byte, 104)
	}
	for _, tt := range []struct {
		story  string
		answer []byte
		want   error
	}{
		{"other AEAD", answer(func(r *record.Response) { r.Algorithm = aead.SIVCMAC512 }), record.NotOffered},
		{"other protocol", answer(func(r *record.Response) { r.Protocol = 0x8001 }), record.NotOffered},
		{"no cookies", answer(func(r *record.Response) { r.Cookies = nil }), record.NoCookies},
		{"empty cookie", answer(func(r *record.Response) { r.Cookies = [][]byte{{}} }), record.BadCookie},
		{"oversize cookie", answer(func(r *record.Response) { r.Cookies = [][]byte{make([]byte, 351)} }), record.BadCookie},
		{"5000 cookies", answer(func(r *record.Response) { r.Cookies = flood }), record.TooMany},
		{"64 KiB in few records", answer(func(r *record.Response) { r.Cookies = [][]byte{make([]byte, 60000), make([]byte, 6000)} }), record.TooLong},
		{"P03: error 1", errorCode(1), record.PeerError},
		{"P03: private error", unhex("80020002 f001 80000000"), record.PeerError},
		{"P03: unknown critical record", append(unhex("c1230000"), answer(func(*record.Response) {})...), record.UnknownCritical},
		{"port 0", append(unhex("80070002 0000"), answer(func(*record.Response) {})...), record.BadPort},
		{"two ports", append(unhex("80070002 0001 80070002 0001"), answer(func(*record.Response) {})...), record.Duplicate},
		{"half an answer", fixedAnswer(8, true)[:400], record.Truncated},
		{"garbage", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), record.Truncated},
	} {
		t.Run(tt.story, func(t *testing.T) {
			f := startServer(t, func(int, int, []byte) ([]byte, bool) { return tt.answer, false }, nil)
			m := f.member(t, nil)
			_, err := m.FixedKey(t.Context(), Support{Dialect: record.IANA}, record.NTPv4, someKeys)
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if len(m.idle) != 0 {
				t.Error("the connection is kept")
			}
		})
	}
}

// docs/rules/pool.md#limits: nobody there, and a hole that swallows everything.
func TestMemberUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
	_ = ln.Close()
	m := New(Config{Backend: pool.Backend{Domain: "ts.example", Port: port, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}})
	if _, err := m.Supports(t.Context(), func() { t.Error("connected") }); err == nil || !strings.Contains(err.Error(), "ts.example:"+strconv.Itoa(int(port))) {
		t.Errorf("refused: %v", err)
	}
	hole := New(Config{
		Backend: pool.Backend{Domain: "ts.example", Port: 1}, ConnectTimeout: 20 * time.Millisecond,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
	})
	start := time.Now()
	if _, err := hole.Supports(t.Context(), nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// TestClient_TriesAllAddresses: an address that refuses, one that never speaks TLS, one with a certificate for another
// name and one that has never heard of key exchange cost a share of the time, are told with what was asked, and are asked last from then on.
func TestClient_TriesAllAddresses(t *testing.T) {
	f := startServer(t, speaks(v5, eraCList, errorCode(0)), nil)
	port := strconv.Itoa(int(f.addr.Port()))
	hung, err := net.Listen("tcp", "127.0.0.3:"+port)
	if err != nil {
		t.Skip(err) // 127.0.0.3 is loopback on Linux
	}
	defer hung.Close()
	other, err := tls.Listen("tcp", "127.0.0.4:"+port, &tls.Config{Certificates: []tls.Certificate{f.ca.Leaf("other.example")}})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go func() {
		for {
			c, err := other.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			_ = c.Close()
		}
	}()
	web, err := tls.Listen("tcp", "127.0.0.5:"+port, &tls.Config{Certificates: []tls.Certificate{f.ca.Leaf("ts.example")}})
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	go func() {
		for {
			c, err := web.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() }()
		}
	}()
	var asked, told []string
	m := f.member(t, func(c *Config) {
		c.Addresses = nil
		c.Lookup = func(_ context.Context, name string) (list []netip.Addr, err error) {
			for _, a := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "::ffff:127.0.0.1"} {
				list = append(list, netip.MustParseAddr(a))
			}
			return list, nil
		}
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			asked = append(asked, address)
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
		c.Failed = func(err error) { told = append(told, err.Error()) }
		c.AnswerTimeout = time.Minute // so that the one that hangs is left for the others' sake
	})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if _, err := m.Supports(ctx, nil); err != nil {
		t.Fatal(err)
	}
	want := []string{"127.0.0.2:" + port, "127.0.0.3:" + port, "127.0.0.4:" + port, "127.0.0.5:" + port, "127.0.0.1:" + port}
	if !slices.Equal(asked, want) || len(told) != 4 {
		t.Fatalf("asked %v, told %q", asked, told)
	}
	for i, text := range told {
		if !strings.Contains(text, "ts.example:"+port+" at "+want[i]) {
			t.Errorf("%q does not say that %s was asked", text, want[i])
		}
	}
	m.Close()
	m.closed, asked = false, nil
	if _, err := m.Supports(t.Context(), nil); err != nil || !slices.Equal(asked, want[4:]) {
		t.Errorf("the next time asked %v: %v", asked, err)
	}
	if list, _ := m.addresses(t.Context(), time.Now().Add(addressMemory+time.Minute)); !slices.Equal(list, want) {
		t.Errorf("long after: %v", list)
	}
}

// TestClient_CertificateRejected: a time source that knows the pool by another certificate is named as that, whether it
// says so in TLS or with error 0.
func TestClient_CertificateRejected(t *testing.T) {
	untokened := func(c *Config) { c.Tokens = nil }
	own := testca.New(t).Leaf("pool.example")
	for name, edit := range map[string]func(*testca.CA, *tls.Config){
		"error 0": nil,
		"TLS alert": func(_ *testca.CA, c *tls.Config) {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := startServer(t, speaks("", nil, eraAError), edit)
			m := f.member(t, func(c *Config) {
				untokened(c)
				c.Certificate = func() *tls.Certificate { return &own }
			})
			if _, err := m.Supports(t.Context(), nil); !errors.Is(err, ErrCertificate) {
				t.Errorf("%v", err)
			}
		})
	}
	f := startServer(t, speaks(v7, eraAList, eraAError), nil)
	m := f.member(t, untokened)
	s, err := m.Supports(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := func() (nts.Keys, error) {
		return nts.Keys{Algorithm: aead.SIVCMAC256, C2S: make([]byte, 32), S2C: make([]byte, 32)}, nil
	}
	if _, err := m.FixedKey(t.Context(), s, record.NTPv4, keys); !errors.Is(err, ErrCertificate) {
		t.Errorf("with keys: %v", err)
	}
}

func TestClient_KeepsAtMostAFew(t *testing.T) {
	var gate sync.WaitGroup
	gate.Add(6)
	f := startServer(t, func(int, int, []byte) ([]byte, bool) {
		gate.Done()
		gate.Wait() // all six at once, so each needs a connection
		return eraCList, true
	}, nil)
	m := f.member(t, nil)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if _, err := m.Supports(t.Context(), nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(m.idle) != maxKept {
		t.Errorf("%d connections are kept", len(m.idle))
	}
	m.Close()
	if len(m.idle) != 0 {
		t.Error("kept beyond Close")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		t.Error("Close is forgotten")
	}
}

// TestClient_RootsOfToday: each connection is judged by the roots of that moment, a failure is told to who keeps them, and
// without roots nobody is asked.
func TestClient_RootsOfToday(t *testing.T) {
	f := startServer(t, speaks(v5, eraCList, errorCode(0)), nil)
	roots, rootsErr, told := x509.NewCertPool(), error(nil), error(nil)
	m := f.member(t, func(c *Config) {
		c.Roots = func() (*x509.CertPool, error) { return roots, rootsErr }
		c.Untrusted = func(err error) { told = err }
	})
	if _, err := m.Supports(t.Context(), nil); err == nil || !errors.As(told, new(x509.UnknownAuthorityError)) {
		t.Errorf("%v, told %v", err, told)
	}
	roots = f.ca.Pool()
	if _, err := m.Supports(t.Context(), nil); err != nil {
		t.Error(err)
	}
	m = f.member(t, func(c *Config) {
		c.Roots = func() (*x509.CertPool, error) { return nil, errors.New("ca.pem: no such file") }
	})
	_, before := f.seen()
	if _, err := m.Supports(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "trusted roots for ts.example") {
		t.Error(err)
	}
	if _, after := f.seen(); after != before {
		t.Error("a time source was asked without roots")
	}
}
