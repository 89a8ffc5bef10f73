package poolke

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pki"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/secret"
	"ntp-daemon/internal/testca"
)

// script answers the n-th request (from 0) of the c-th connection (from 0) to a fake time source. nil
// hangs up without a byte; keep leaves the connection open. The script may block: hung ends with the test.
type script func(c, n int, req *record.Request, hung <-chan struct{}) (answer []byte, keep bool)

// fakeTS is a time source that follows a script and remembers every request and key.
type fakeTS struct {
	name string
	addr netip.AddrPort

	mu       sync.Mutex
	requests []record.Request
	keys     []string // hex, of Fixed Key requests
	conns    int
	open     []net.Conn

	bytes atomic.Int64 // that arrived
}

// counted counts what is read from a connection.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// testPool is what the tests of a pool share: one authority, the log, the pool.
type testPool struct {
	t    *testing.T
	ca   *testca.CA
	log  syncBuffer
	cfg  Config
	pool *Pool
	addr netip.AddrPort
	stop context.CancelFunc
	done chan error
	// looks says that the pool looks after its time sources behind the first user; else only at start, and tests look.
	looks bool
	// prepare, if not nil, is called with the pool before it runs.
	prepare func(*Pool)
}

// syncBuffer is a log destination that tests may read meanwhile.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// lines returns the messages of the log at info and above.
func (s *syncBuffer) lines(t *testing.T) []string {
	var lines []string
	for line := range strings.Lines(s.String()) {
		var entry struct{ Level, Target, Message string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if entry.Target != "nts_pool_ke" {
			t.Errorf("target %q: %s", entry.Target, line)
		}
		if entry.Level != "debug" {
			lines = append(lines, entry.Message)
		}
	}
	return lines
}

// trust is the roots of a pool that believes the authority alone.
func trust(t testing.TB, ca *testca.CA) *pki.Roots {
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return pki.NewRoots(path, false)
}

func newTestPool(t *testing.T) *testPool {
	w := &testPool{t: t, ca: testca.New(t)}
	cert := w.ca.Leaf("pool.example", "localhost")
	w.cfg = Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Certificate: &cert, Roots: trust(t, w.ca), PerPrefix: -1,
		DrainTimeout: time.Second,
		// Generous, because the machine that tests is busy; tests of time limits set their own.
		Timeout: 20 * time.Second, HandshakeTimeout: 10 * time.Second, RequestTimeout: 10 * time.Second,
		ConnectTimeout: 5 * time.Second, AnswerTimeout: 10 * time.Second,
	}
	return w
}

// fake adds a scripted time source called name to the pool's list. edit may change its TLS side.
func (w *testPool) fake(name string, s script, edit func(*tls.Config)) *fakeTS {
	w.t.Helper()
	f := &fakeTS{name: name}
	cert := w.ca.Leaf(name)
	conf := ke.ServerTLS(nil, nil)
	conf.GetCertificate = nil
	conf.Certificates = []tls.Certificate{cert}
	conf.ClientAuth = tls.RequestClientCert
	if edit != nil {
		edit(conf)
	}
	ln := w.listen()
	f.addr = ln.Addr().(*net.TCPAddr).AddrPort()
	hung := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			c := f.conns
			f.conns++
			f.open = append(f.open, raw)
			f.mu.Unlock()
			raw = &counted{raw, &f.bytes}
			wg.Go(func() { f.serve(c, tls.Server(raw, conf), s, hung) })
		}
	})
	w.t.Cleanup(func() { _ = ln.Close(); close(hung); f.hangUp(); wg.Wait() })
	w.list(name, f.addr)
	return f
}

func (f *fakeTS) serve(c int, conn *tls.Conn, s script, hung <-chan struct{}) {
	defer conn.Close()
	r := ke.NewReader(conn, record.RequestLimits)
	for n := 0; ; n++ {
		msg, err := r.Next()
		if err != nil {
			return
		}
		req, fault := record.ParseRequest(bytes.Clone(msg), record.Rules{})
		f.mu.Lock()
		f.requests = append(f.requests, req)
		if req.Kind == record.FixedKey {
			f.keys = append(f.keys, hex.EncodeToString(req.Keys))
		}
		f.mu.Unlock()
		if fault != record.None {
			_, _ = conn.Write(record.AppendError(nil, fault.Code()))
			return
		}
		answer, keep := s(c, n, &req, hung)
		if _, err := conn.Write(answer); err != nil || answer == nil || !keep {
			return
		}
	}
}

// hangUp closes every connection of the time source.
func (f *fakeTS) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.open {
		_ = c.Close()
	}
}

func (f *fakeTS) seen() (requests []record.Request, keys []string, conns int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests), slices.Clone(f.keys), f.conns
}

// dead adds a time source whose port nobody listens on.
func (w *testPool) dead(name string) {
	ln := w.listen()
	w.list(name, ln.Addr().(*net.TCPAddr).AddrPort())
	_ = ln.Close()
}

// real adds our own key exchange server as time source, which knows the pool by token or, without
// one, by certificate. The key set opens its cookies.
func (w *testPool) real(name string, token string, edit func(*ke.ServerConfig)) (*ke.Server, *nts.KeySet) {
	w.t.Helper()
	master, err := nts.NewMasterKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	set := nts.NewKeySet(master, 1)
	cert := w.ca.Leaf(name)
	conf := ke.ServerConfig{
		Certificate: func() *tls.Certificate { return &cert }, KeySet: func() *nts.KeySet { return set },
		Rand: rand.Reader, Log: zerolog.Nop(), PerPrefix: -1,
	}
	if token != "" {
		conf.Tokens = func() []secret.Bytes { return []secret.Bytes{secret.Bytes(token)} }
	} else {
		conf.PoolLeaves = func() [][]byte { return [][]byte{w.cfg.Certificate.Certificate[0]} }
	}
	if edit != nil {
		edit(&conf)
	}
	ln := w.listen()
	server := ke.NewServer(conf)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ctx, ln) }()
	w.t.Cleanup(func() { cancel(); <-done })
	b := w.list(name, ln.Addr().(*net.TCPAddr).AddrPort())
	if token != "" {
		b.Tokens = []secret.Bytes{secret.Bytes(token)}
	}
	return server, set
}

func (w *testPool) listen() net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	return ln
}

// list puts a time source on the pool's list.
func (w *testPool) list(name string, addr netip.AddrPort) *pool.Backend {
	w.cfg.Backends = append(w.cfg.Backends, pool.Backend{Domain: name, Port: addr.Port(), Weight: 1, Addresses: []netip.Addr{addr.Addr()}})
	return &w.cfg.Backends[len(w.cfg.Backends)-1]
}

// start runs the pool on what was listed.
func (w *testPool) start() {
	w.t.Helper()
	w.startWith(Deps{})
}

func (w *testPool) startWith(d Deps) {
	w.t.Helper()
	ready := make(chan netip.AddrPort, 1)
	d.Log = zerolog.New(&w.log)
	listen := d.Listen
	if listen == nil {
		listen = func(context.Context, string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
	}
	d.Listen = func(ctx context.Context, address string) (net.Listener, error) {
		ln, err := listen(ctx, address)
		if err == nil {
			ready <- ln.Addr().(*net.TCPAddr).AddrPort()
		}
		return ln, err
	}
	p, err := New(w.cfg, d)
	if err != nil {
		w.t.Fatal(err)
	}
	w.pool = p
	if !w.looks {
		p.first.Do(func() {})
	}
	if w.prepare != nil {
		w.prepare(p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop, w.done = cancel, make(chan error, 1)
	go func() { w.done <- p.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if w.t.Failed() {
			w.t.Log(w.log.String())
		}
		select {
		case err := <-w.done:
			if err != nil {
				w.t.Errorf("Run: %v", err)
			}
			w.done <- nil
		case <-time.After(patience):
			w.t.Error("Run does not end")
		}
	})
	w.addr = <-ready
}

// make makes a pool that is not run yet.
func (w *testPool) make(d Deps) *Pool {
	w.t.Helper()
	d.Log = zerolog.New(&w.log)
	p, err := New(w.cfg, d)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// keyExchange is one run of our own client against the pool.
func (w *testPool) keyExchange(algorithms []aead.Algorithm, deny ...string) (ke.Result, error) {
	return ke.Exchange(w.t.Context(), ke.ClientConfig{
		Address: "pool.example", Port: w.addr.Port(), Roots: w.ca.Pool(), Algorithms: algorithms, Denied: deny, Dial: w.dial,
		Timeout: 20 * time.Second,
	})
}

// dial reaches the pool under any name.
func (w *testPool) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", w.addr.String())
}

// connect opens a user's connection with finished TLS.
func (w *testPool) connect() *tls.Conn {
	w.t.Helper()
	raw, err := w.dial(w.t.Context(), "", "")
	if err != nil {
		w.t.Fatal(err)
	}
	conn := tls.Client(raw, ke.ClientTLS("pool.example", w.ca.Pool(), nil))
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if err := conn.HandshakeContext(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ask sends raw bytes as a user and returns all that comes back, and the keys of the TLS session for
// AEAD 15 in hex, C2S then S2C.
func (w *testPool) ask(request []byte) (answer []byte, keys string) {
	w.t.Helper()
	conn := w.connect()
	if _, err := conn.Write(request); err != nil {
		w.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		w.t.Errorf("read answer: %v", err)
	}
	cs := conn.ConnectionState()
	k, err := ke.ExportKeys(&cs, record.NTPv4, aead.SIVCMAC256, aead.SIVCMAC256)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer, hex.EncodeToString(k.C2S) + hex.EncodeToString(k.S2C)
}

// requireCount waits until the pool has counted n exchanges that ended so: it counts after the user
// has his answer.
func (w *testPool) requireCount(o Outcome, n uint64) {
	w.t.Helper()
	eventually(w.t, func() bool { return w.pool.tally.read()[o.String()] == n })
	if got := w.pool.tally.read(); got[o.String()] != n {
		w.t.Errorf("counted %v, want %d × %v", got, n, o)
	}
}

// look has the pool look at its i-th time source n times, whether that is due or not.
func (w *testPool) look(i, n int) *upstream {
	u := w.pool.snap.Load().upstreams[i]
	for range n {
		w.pool.look(w.t.Context(), u)
	}
	return u
}

// patience is how long a test waits for what must come: a pool that does not end fails its test, and not all of the package's.
const patience = 30 * time.Second

// awaited is what comes from ch.
func awaited[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
	}
	return v
}

// eventually waits for a condition that another goroutine is about to make true.
func eventually(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// request15 is a plain request for NTPv4 with AEAD 15.
var request15 = unhex("80010002 0000 80040002 000f 80000000")

// support is the answer of a healthy time source of era A to an information request.
func support(keep bool, algorithms ...aead.Algorithm) []byte {
	r := record.SupportResponse{Algorithms: algorithms, KeepAlive: keep, Dialect: record.Cert4000}
	return r.Append(nil)
}

// cookies is a time source's answer for keys of AEAD a, changed by edit.
func cookies(a aead.Algorithm, edit func(*record.Response)) []byte {
	r := record.Response{Algorithm: a, KeepAlive: true, Dialect: record.Cert4000}
	for i := range 8 {
		r.Cookies = append(r.Cookies, bytes.Repeat([]byte{byte(i + 1)}, 104))
	}
	if edit != nil {
		edit(&r)
	}
	return r.Append(nil)
}

// healthy serves every request with AEAD 15 and keeps connections.
func healthy(_, _ int, req *record.Request, _ <-chan struct{}) ([]byte, bool) {
	if req.Kind == record.Support {
		return support(true, aead.SIVCMAC256), true
	}
	return cookies(aead.SIVCMAC256, nil), true
}

// fixed is healthy up to the answer to keys, which is given.
func fixed(answer func(hung <-chan struct{}) []byte) script {
	return func(_, _ int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		if req.Kind == record.Support {
			return support(true, aead.SIVCMAC256), true
		}
		return answer(hung), false
	}
}

// Error messages as users see them.
var (
	error0 = record.AppendError(nil, record.CodeUnrecognizedCritical)
	error1 = record.AppendError(nil, record.CodeBadRequest)
	error2 = record.AppendError(nil, record.CodeInternal)
)
