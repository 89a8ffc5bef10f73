package poolke

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
)

func deny(names ...string) []byte {
	b := unhex("80010002 0000 80040002 000f")
	for _, n := range names {
		b = binary.BigEndian.AppendUint16(append(b, 0x00, 0x0d), uint16(len(n)))
		b = append(b, n...)
	}
	return append(b, unhex("80000000")...)
}

// Requests that are wrong in themselves: docs/rules/pool.md#errors, rows KS05 to KS08.
func TestD3_BadRequests(t *testing.T) {
	w := newTestPool(t)
	f := w.fake("ts.example", healthy, nil)
	w.cfg.RequestTimeout = time.Second
	w.start()
	many := unhex("80010002 0000 80040002 000f")
	for range 100_000 {
		many = append(many, 0x05, 0x55, 0, 0)
	}
	long := make([]string, 1000)
	for i := range long {
		long[i] = fmt.Sprintf("name-number-%d.example", i)
	}
	for _, tt := range []struct {
		story string
		sent  []byte
		want  []byte
	}{
		{"header cut, then end", unhex("8001"), nil},
		{"body cut, then end", unhex("80010004 0000"), nil},
		{"65535 announced", unhex("80010002 0000 8004ffff 000f"), error1},
		{"100000 small records", many, error1},
		{"P10: 1000 deny names, over 16 KiB", deny(long...), error1},
		{"KS05: only the end", unhex("80000000"), error1},
		{"and KS07: unknown critical", unhex("80010002 0000 80040002 000f c1230000 80000000"), error0},
		{"two protocol records", unhex("80010002 0000 80010002 0000 80040002 000f 80000000"), error1},
		{"two AEAD records", unhex("80010002 0000 80040002 000f 80040002 000f 80000000"), error1},
		{"error", unhex("80010002 0000 80040002 000f 80020002 0001 80000000"), error1},
		{"warning", unhex("80010002 0000 80040002 000f 80030002 0001 80000000"), error1},
		{"cookie", unhex("80010002 0000 80040002 000f 00050004 01020304 80000000"), error1},
		{"no AEAD", unhex("80010002 0000 80000000"), error1},
		{"no protocol", unhex("80040002 000f 80000000"), error1},
		{"odd list", unhex("80010003 000000 80040002 000f 80000000"), error1},
		{"E9: supported lists", unhex("800a0000 80090000 80000000"), error1},
		{"E9: supported lists, old numbers", unhex("c0010000 80000000"), error1},
		{"E9: list of names", unhex("80010002 0000 80040002 000f 800b0000 80000000"), error1},
		{"fixed key, as if the user were a pool", append(unhex("80010002 0000 80040002 000f 800c0040"), append(make([]byte, 64), unhex("80000000")...)...), error1},
		{"fixed key, old number", append(unhex("80010002 0000 80040002 000f c0020040"), append(make([]byte, 64), unhex("80000000")...)...), error1},
		{"B4: a monitor without monitoring keys", unhex("000e0003 6b6579 cf010004 75756964 80010002 0000 80040004 0011000f 80000000"), error1},
	} {
		t.Run(tt.story, func(t *testing.T) {
			conn := w.connect()
			_, _ = conn.Write(tt.sent) // the pool may stop reading half-way
			_ = conn.CloseWrite()
			got, err := io.ReadAll(conn)
			if !bytes.Equal(got, tt.want) {
				t.Errorf("the user sees %x, %v", got, err)
			}
		})
	}
	if requests, _, _ := f.seen(); len(requests) != 0 {
		t.Errorf("the time source was bothered %d times", len(requests))
	}
}

// Odd requests that are fine: KS09, KS15, docs/rules/pool.md#faults, #kept.
func TestD3_OddRequestsThatAreServed(t *testing.T) {
	w := newTestPool(t)
	f := w.fake("ts.example", healthy, nil)
	w.start()
	pad := append(unhex("80010002 0000 80040002 000f 055503e8"), make([]byte, 1000)...)
	for _, tt := range []struct {
		story string
		sent  []byte
	}{
		{"unknown, not critical", unhex("80010002 0000 80040002 000f 05550003 010203 80000000")},
		{"KS09: 1024 bytes", append(pad, unhex("80000000")...)},
		{"keep-alive, token, server and port", unhex("000e0002 6869 80010002 0000 80040002 000f 00080000 00060001 61 00070002 0001 80000000")},
		{"bytes behind the message", append(slices.Clone(request15), request15...)},
		{"seed: AEAD record not critical", unhex("80010002 0000 00040002 000f 80000000")},
	} {
		t.Run(tt.story, func(t *testing.T) {
			conn := w.connect()
			if _, err := conn.Write(tt.sent); err != nil {
				t.Fatal(err)
			}
			_ = conn.CloseWrite() // KS15: half-closed is still answered
			got, err := io.ReadAll(conn)
			r, fault := record.ParseResponse(got, record.Offer{Protocols: []record.Protocol{0}, Algorithms: []aead.Algorithm{15}})
			if err != nil || fault != record.None || r.KeepAlive || len(r.Cookies) != 8 {
				t.Errorf("%v, %v: %x", err, fault, got)
			}
		})
	}
	requests, _, _ := f.seen()
	for _, r := range requests {
		if r.Server != "" || r.Port != 0 || r.Token != nil || r.Kind == record.FixedKey && r.CompliantExport {
			t.Errorf("E11: a record of the user reached the time source: %+v", r)
		}
	}
}

// KS11, KS12, docs/rules/key-exchange.md#alpn: what does not speak NTS-KE gets no byte of data.
func TestTLSOfUsers(t *testing.T) {
	w := newTestPool(t)
	w.fake("ts.example", healthy, nil)
	w.start()
	for _, tt := range []struct {
		story string
		conf  *tls.Config
		fails bool // the handshake itself
	}{
		{"no ALPN", &tls.Config{}, false},
		{"wrong ALPN", &tls.Config{NextProtos: []string{"http/1.1"}}, true},
		{"TLS 1.2", &tls.Config{NextProtos: []string{"ntske/1"}, MaxVersion: tls.VersionTLS12}, true},
		{"another name in SNI is fine", &tls.Config{NextProtos: []string{"ntske/1"}, ServerName: "LOCALHOST"}, false},
	} {
		t.Run(tt.story, func(t *testing.T) {
			raw, err := w.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
			conf := tt.conf.Clone()
			conf.RootCAs = w.ca.Pool()
			if conf.ServerName == "" {
				conf.ServerName = "pool.example"
			}
			conn := tls.Client(raw, conf)
			if err := conn.Handshake(); (err != nil) != tt.fails {
				t.Fatalf("handshake: %v", err)
			} else if err != nil {
				return
			}
			_, _ = conn.Write(request15)
			got, _ := io.ReadAll(conn)
			if served := len(got) > 0; served != (len(tt.conf.NextProtos) > 0) {
				t.Errorf("%d bytes of data", len(got))
			}
		})
	}
	raw, err := w.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_, _ = raw.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(raw); errors.Is(err, os.ErrDeadlineExceeded) || bytes.Contains(got, []byte("\x17\x03\x03")) {
		t.Errorf("KS12: %x, %v", got, err)
	}
}

// docs/rules/key-exchange.md#stages: users who send nothing or very slowly are cut off by the limits of their stage.
func TestSlowUsers(t *testing.T) {
	w := newTestPool(t)
	w.fake("ts.example", healthy, nil)
	w.cfg.HandshakeTimeout, w.cfg.RequestTimeout = time.Second, 150*time.Millisecond // the second user completes his handshake
	w.start()
	silent, err := w.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	start := time.Now()
	_ = silent.SetDeadline(start.Add(10 * time.Second))
	if got, err := io.ReadAll(silent); len(got) != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("without ClientHello: %x, %v", got, err)
	}
	w.requireCount(TLSFailed, 1)
	conn := w.connect()
	for _, b := range request15 {
		if _, err := conn.Write([]byte{b}); err != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got, err := io.ReadAll(conn); len(got) != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("byte by byte: %x, %v", got, err)
	}
	w.requireCount(Incomplete, 1)
}

// P10, docs/rules/pool.md#deny: deny names and what comes of them.
func TestP10_Deny(t *testing.T) {
	w := newTestPool(t)
	w.fake("a.example", healthy, nil)
	w.fake("b.example", healthy, nil)
	w.start()
	many := func(n int, last string) []byte {
		names := make([]string, n)
		for i := range names {
			names[i] = "n" + strconv.Itoa(i) + ".example"
		}
		return deny(append(names, last)...)
	}
	for _, tt := range []struct {
		story   string
		request []byte
		want    []string
	}{
		{"x0", deny(), []string{"a.example", "b.example"}},
		{"x1", deny("a.example"), []string{"b.example"}},
		{"unknown names", deny("c.example", "1.2.3.4"), []string{"a.example", "b.example"}},
		{"all members", deny("a.example", "B.example."), []string{"a.example", "b.example"}},
		{"x64, the last one counts", many(63, "a.example"), []string{"b.example"}},
		{"x200, the last one is ignored", many(199, "a.example"), []string{"a.example", "b.example"}},
	} {
		t.Run(tt.story, func(t *testing.T) {
			var got []string
			for range 4 {
				begin := time.Now()
				answer, _ := w.ask(tt.request)
				r, fault := record.ParseResponse(answer, record.Offer{Protocols: []record.Protocol{0}, Algorithms: []aead.Algorithm{15}})
				if took := time.Since(begin); fault != record.None || took > 2500*time.Millisecond {
					t.Fatalf("%v after %v", fault, took)
				}
				got = append(got, r.Server)
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// docs/rules/pool.md#deny: a user who denies the name that a time source gave itself denies the time source.
func TestDenyByAlias(t *testing.T) {
	w := newTestPool(t)
	w.fake("a.example", fixed(func(<-chan struct{}) []byte {
		return cookies(aead.SIVCMAC256, func(r *record.Response) { r.Server, r.Port = "NTP.alias.example.", 4123 })
	}), nil)
	w.fake("b.example", healthy, nil)
	w.start()
	first, err := w.keyExchange([]aead.Algorithm{15})
	if err != nil || first.Server != "NTP.alias.example." || first.Port != 4123 {
		t.Fatalf("got %q port %d, %v", first.Server, first.Port, err)
	}
	for range 4 {
		if r, err := w.keyExchange([]aead.Algorithm{15}, "ntp.alias.example"); err != nil || r.Server != "b.example" {
			t.Errorf("got %q, %v", r.Server, err)
		}
	}
}

// A user who needs keys for the time source that it has gets there again, by the name that it knows it by.
func TestSameServerAgain(t *testing.T) {
	w := newTestPool(t)
	w.fake("a.example", healthy, nil)
	w.fake("b.example", fixed(func(<-chan struct{}) []byte {
		return cookies(aead.SIVCMAC256, func(r *record.Response) { r.Server, r.Port = "NTP.alias.example.", 4123 })
	}), nil)
	w.fake("c.example", healthy, nil)
	w.start()
	for range 3 { // until b has been heard of
		if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ntp.alias.example", "c.example", "a.example"} {
		for range 4 {
			r, err := ke.Exchange(t.Context(), ke.ClientConfig{
				Address: "pool.example", Port: w.addr.Port(), Roots: w.ca.Pool(), Algorithms: []aead.Algorithm{15}, Prefer: name, Dial: w.dial, Timeout: 20 * time.Second,
			})
			if err != nil || pool.CanonicalName(r.Server) != name {
				t.Errorf("asked for %q, got %q, %v", name, r.Server, err)
			}
		}
	}
}

// P09: a reload under traffic loses no user; the new list is used, what did not change is kept, and a
// faulty one changes nothing.
func TestP09_ReloadDuringTraffic(t *testing.T) {
	w := newTestPool(t)
	a := w.fake("a.example", healthy, nil)
	w.fake("b.example", healthy, nil)
	both := slices.Clone(w.cfg.Backends)
	var n atomic.Int64
	hup := make(chan os.Signal)
	w.startWith(Deps{Reload: hup, Load: func() (Config, error) {
		c := w.cfg
		switch n.Add(1) % 3 {
		case 0:
			return Config{}, errors.New("not readable")
		case 1:
			c.Backends = both[:1]
		default:
			c.Backends = both
		}
		return c, nil
	}})
	served, stop := w.askers(4)
	for range 30 {
		hup <- syscall.SIGHUP
		before := served.Load()
		eventually(t, func() bool { return served.Load() > before })
	}
	stop()
	if requests, keys, _ := a.seen(); len(requests) != len(keys)+1 {
		t.Errorf("an unchanged time source was asked again: %d requests for %d users", len(requests), len(keys))
	}
	bad := w.cfg
	bad.Backends = append(slices.Clone(both), both[0])
	bad.Backends[2].Port = 0
	if err := w.pool.Swap(bad); err == nil || !strings.Contains(err.Error(), "time source 3") {
		t.Errorf("faulty list: %v", err)
	}
	if w.pool.snap.Load().directory.Len() == 3 {
		t.Error("the faulty list is in use")
	}
	empty := w.cfg
	empty.Backends = nil
	if err := w.pool.Swap(empty); err != nil {
		t.Fatal(err)
	}
	if answer, _ := w.ask(request15); !bytes.Equal(answer, error2) {
		t.Errorf("empty list: %x", answer)
	}
}

// A reload replaces the certificate for users and time sources.
func TestReloadCertificate(t *testing.T) {
	w := newTestPool(t)
	a := w.fake("a.example", healthy, nil)
	w.start()
	if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
		t.Fatal(err)
	}
	renewed := w.ca.Leaf("pool.example")
	c := w.cfg
	c.Certificate = &renewed
	if err := w.pool.Swap(c); err != nil {
		t.Fatal(err)
	}
	if got := w.connect().ConnectionState().PeerCertificates[0]; !got.Equal(renewed.Leaf) {
		t.Error("users see the old certificate")
	}
	if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
		t.Fatal(err)
	}
	if _, _, conns := a.seen(); conns != 2 {
		t.Errorf("%d connections: the time source still knows us by the old certificate", conns)
	}
	c.Certificate = nil
	if err := w.pool.Swap(c); err == nil {
		t.Error("no certificate is accepted")
	}
}

// flakyListener fails to accept now and then, as a host that is out of something does.
type flakyListener struct {
	net.Listener
	n atomic.Int64
}

func (l *flakyListener) Accept() (net.Conn, error) {
	switch l.n.Add(1) {
	case 1, 2, 4:
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	case 3:
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.ECONNABORTED)}
	}
	return l.Listener.Accept()
}

// P08: accept errors end nothing.
func TestP08_AcceptErrors(t *testing.T) {
	w := newTestPool(t)
	w.fake("a.example", healthy, nil)
	w.startWith(Deps{Listen: func(context.Context, string) (net.Listener, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		return &flakyListener{Listener: ln}, err
	}})
	for range 3 {
		if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
			t.Error(err)
		}
	}
}

// P08: a process with 64 descriptors survives 1000 connections and serves afterwards. The pool runs
// in a process of its own, this test binary with an environment variable.
func TestP08_ThousandConnections(t *testing.T) {
	if os.Getenv("POOLKE_P08") != "" {
		smallPool(t)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestP08_ThousandConnections$", "-test.v")
	cmd.Env = append(os.Environ(), "POOLKE_P08=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the pool's process: %v", err)
		}
	}()
	var addr string
	if _, err := fmt.Fscanf(skipTo(t, out, "listening "), "%s\n", &addr); err != nil {
		t.Fatal(err)
	}
	conns := make([]net.Conn, 0, 1000)
	for range 1000 {
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			t.Fatalf("connection %d: %v", len(conns)+1, err)
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		_ = c.Close()
	}
	eventually(t, func() bool {
		raw, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			return false
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(5 * time.Second))
		conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"ntske/1"}})
		if _, err := conn.Write(request15); err != nil {
			return false
		}
		answer, _ := io.ReadAll(conn)
		return bytes.Equal(answer, error2) // its list is empty
	})
}

// skipTo reads until the marker.
func skipTo(t *testing.T, r io.Reader, marker string) io.Reader {
	t.Helper()
	var seen []byte
	for one := make([]byte, 1); !bytes.HasSuffix(seen, []byte(marker)); {
		if _, err := io.ReadFull(r, one); err != nil {
			t.Fatalf("%v after %q", err, seen)
		}
		seen = append(seen, one[0])
	}
	return r
}

// smallPool runs a pool on 64 descriptors until its standard input ends.
func smallPool(t *testing.T) {
	limit := syscall.Rlimit{Cur: 64, Max: 64}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	w := newTestPool(t)
	w.cfg.HandshakeTimeout = time.Second
	w.start()
	fmt.Printf("listening %s\n", w.addr)
	_, _ = io.Copy(io.Discard, os.Stdin)
}
