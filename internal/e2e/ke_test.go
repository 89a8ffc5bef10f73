package e2e_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/suite"
	"ntp-daemon/internal/testca"
	"ntp-daemon/internal/version"
)

// testRoots trusts the suite's public test authority.
func testRoots(t *testing.T) *x509.CertPool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(suite.Root(), "test-keys", "testca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		t.Fatal("no certificate in testca.pem")
	}
	return pool
}

// exchange runs one key exchange with the server or pool at 127.0.0.1:port of the host, called localhost.
func (s *testHost) exchange(port int, edit func(*ke.ClientConfig)) (r ke.Result, err error) {
	s.t.Helper()
	c := ke.ClientConfig{
		Address: "localhost", Port: uint16(port), Roots: testRoots(s.t),
		Dial: func(ctx context.Context, network, _ string) (c net.Conn, err error) {
			inside(s.t, s.Namespace, func() error {
				var d net.Dialer
				c, err = d.DialContext(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
				return nil
			})
			return c, err
		},
	}
	if edit != nil {
		edit(&c)
	}
	return ke.Exchange(s.t.Context(), c)
}

// TestKC18_NoPlainNTP: six key exchange servers that fail in six ways, each with a willing NTP server beside it. The
// daemon never asks one of them for the time without protection. That this stays so for more than an hour shows in
// internal/assoc on virtual time.
func TestKC18_NoPlainNTP(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	plain := strings.ReplaceAll(observing, "NAME", "plain") + "[[server]]\nlisten = \"0.0.0.0:123\"\n[synchronization]\nlocal-stratum = 2\n"
	s.up(s.start("plain", plain))
	mallory := testca.New(t).Leaf("localhost", "127.0.0.3")
	end, err := tls.LoadX509KeyPair(filepath.Join(suite.Root(), "test-keys/end.fullchain.pem"), filepath.Join(suite.Root(), "test-keys/end.key"))
	if err != nil {
		t.Fatal(err)
	}
	secure := func(cert tls.Certificate, alpn string, answer string) func(net.Conn) {
		return func(c net.Conn) {
			tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, NextProtos: []string{alpn}})
			if tc.Handshake() == nil {
				_, _ = tc.Read(make([]byte, 1000))
				b, _ := hex.DecodeString(answer)
				_, _ = tc.Write(b)
			}
			_ = tc.Close()
		}
	}
	peers := []func(net.Conn){
		nil, // connection refused
		func(c net.Conn) { _ = c.Close() },
		func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); select {} }, // never answers; ends with the test process
		secure(mallory, "ntske/1", ""),
		secure(end, "h2", ""),
		secure(end, "ntske/1", "80020002000180000000"), // error record
	}
	conf := strings.ReplaceAll(observing, "NAME", "client") + "[synchronization]\nclock = \"virtual\"\nminimum-agreeing-sources = 1\n"
	for i, serve := range peers {
		port := 4461 + i
		conf += fmt.Sprintf("[[source]]\nmode = \"nts\"\naddress = \"localhost:%d\"\ncertificate-authority = \"{keys}/testca.pem\"\n", port)
		if serve == nil {
			continue
		}
		ln := listen(t, s.Namespace, fmt.Sprintf("127.0.0.1:%d", port))
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go serve(c)
			}
		}()
	}
	wire := sniff(t, s.Namespace, "lo")
	c := s.start("client", conf)
	for i := range peers {
		c.WaitLog(fmt.Sprintf("key exchange failed.*localhost:%d", 4461+i))
	}
	time.Sleep(time.Second) // whatever might come after the failures
	for _, d := range wire.end() {
		if d.to.Port() == 123 || d.from.Port() == 123 {
			t.Errorf("NTP packet %v → %v", d.from, d.to)
		}
	}
	if n := len(suite.Snapshot(s.socket("client")).Sources); n != 0 {
		t.Errorf("%d sources", n)
	}
}

// TestKC19_ClockBefore1970: a client whose clock says 1970 refuses a certificate that is valid today, and a daemon
// refuses one that is valid long after its clock's time; no NTP packet follows.
func TestKC19_ClockFarBehind(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	s.up(s.start("server", server("server")))
	at := func(when time.Time) error {
		_, err := s.exchange(8080, func(c *ke.ClientConfig) { c.Time = func() time.Time { return when } })
		return err
	}
	if err := at(time.Now()); err != nil {
		t.Fatal(err)
	}
	var invalid x509.CertificateInvalidError
	if err := at(time.Unix(0, 0)); !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		t.Errorf("in 1970: %v", err)
	}

	ca := testca.New(t)
	leaf := ca.Custom(ca.Leaf("localhost").PrivateKey.(crypto.Signer), func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().AddDate(56, 0, 0), time.Now().AddDate(57, 0, 0)
	}, "localhost")
	chain, key := testca.Files(t, leaf)
	suite.WriteFile(t, filepath.Join(s.dir, "chain.pem"), string(chain))
	suite.WriteFile(t, filepath.Join(s.dir, "key.pem"), string(key))
	suite.WriteFile(t, filepath.Join(s.dir, "ca.pem"), string(ca.PEM()))
	later := strings.NewReplacer("{keys}/end.fullchain.pem", "{dir}/chain.pem", "{keys}/end.key", "{dir}/key.pem", ":8080", ":8081", ":123", ":124")
	s.up(s.start("later", later.Replace(server("later"))))
	wire := sniff(t, s.Namespace, "lo")
	c := s.start("client", strings.Replace(client("client", "nts", "localhost:8081"), "{keys}/testca.pem", "{dir}/ca.pem", 1))
	c.WaitLog(`key exchange failed.*not yet valid`)
	time.Sleep(time.Second) // whatever might come after the failure
	if got := wire.end(); len(got) != 0 {
		t.Errorf("packets after a refused certificate: %v", got)
	}
}

// TestKC19_Bootstrap: a machine whose clock starts 31 years late gets its time with NTS if its operator allows that, and
// is told of the option if not. The certificate is one that is valid today.
func TestKC19_Bootstrap(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	ca := testca.New(t)
	leaf := ca.Custom(ca.Leaf("localhost").PrivateKey.(crypto.Signer), func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = version.Built().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	}, "localhost")
	chain, key := testca.Files(t, leaf)
	suite.WriteFile(t, filepath.Join(s.dir, "chain.pem"), string(chain))
	suite.WriteFile(t, filepath.Join(s.dir, "key.pem"), string(key))
	suite.WriteFile(t, filepath.Join(s.dir, "ca.pem"), string(ca.PEM()))
	files := strings.NewReplacer("{keys}/end.fullchain.pem", "{dir}/chain.pem", "{keys}/end.key", "{dir}/key.pem", "{keys}/testca.pem", "{dir}/ca.pem")
	s.up(s.start("server", files.Replace(server("server"))))

	const late = "virtual-offset = -990000000"
	c := s.start("refuses", files.Replace(client("refuses", "nts", "localhost:8080", late)))
	c.WaitLog(`key exchange failed.*not yet valid.*nts-bootstrap = true`)
	if o := suite.Snapshot(s.socket("refuses")); o.Suite.Synchronized || len(o.Sources) != 0 {
		t.Errorf("synchronised: %v, %d sources", o.Suite.Synchronized, len(o.Sources))
	}
	c = s.start("client", files.Replace(client("client", "nts", "localhost:8080", late, "nts-bootstrap = true")))
	o := s.up(c)
	if truth := o.Suite.VirtualTruth; len(o.Sources) != 1 || truth == nil || truth.Offset > 1 || truth.Offset < -1 {
		t.Errorf("%d sources, %+v", len(o.Sources), truth)
	}
	c.WaitLog("certificate confirmed by the clock that was set")
	calm(t, c)
}

// idle opens n connections that say nothing, from a different address every ten.
func idle(t *testing.T, s *testHost, address string, n int) []net.Conn {
	t.Helper()
	var list []net.Conn
	inside(t, s.Namespace, func() error {
		for range n {
			from := net.IPv4(127, 1, byte(len(list)/10>>8), byte(len(list)/10))
			d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: from}}
			c, err := d.Dial("tcp4", address)
			if err != nil {
				return fmt.Errorf("connection %d: %w", len(list), err)
			}
			list = append(list, c)
		}
		return nil
	})
	t.Cleanup(func() { closeAll(list) })
	return list
}

func closeAll(list []net.Conn) {
	for _, c := range list {
		_ = c.Close()
	}
}

// TestKS13_IdleConnections: 5000 connections that say nothing do not keep a client out, and each of them is closed
// in 5 s.
func TestKS13_IdleConnections(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	srv := s.start("server", server("server"))
	s.up(srv)
	if _, err := s.exchange(8080, nil); err != nil {
		t.Fatal(err)
	}
	before := use(t, srv)
	opened := time.Now()
	list := idle(t, s, "127.0.0.1:8080", 5000)
	begin := time.Now()
	if _, err := s.exchange(8080, nil); err != nil || time.Since(begin) > 2*time.Second {
		t.Errorf("key exchange beside idle connections: %v after %v", err, time.Since(begin))
	}
	after := use(t, srv)
	if grown := after.rss - before.rss; grown > 64<<10 {
		t.Errorf("memory grew by %d KiB", grown)
	}
	begin = time.Now()
	for i, c := range list {
		_ = c.SetReadDeadline(begin.Add(6 * time.Second))
		if _, err := c.Read(make([]byte, 100)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("connection %d is open after %v", i, time.Since(opened))
		}
	}
	t.Logf("5000 connections opened in %v, closed %v later; before: %v, with them: %v", begin.Sub(opened), time.Since(begin), before, after)
	closeAll(list)
	eventually(t, 5*time.Second, "return to the base line", func() bool { return use(t, srv).fds <= before.fds })
	calm(t, srv)
}

// TestKS14_P08_FewDescriptors: with 64 descriptors and 1000 connections both programs live, do not spin, and serve
// again when the crowd has gone.
func TestKS14_P08_FewDescriptors(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, id, program, address string
		port                       int
	}{
		{"KS14 key exchange server", "KS14", "server", "127.0.0.1:8080", 8080},
		{"P08 pool", "P08", "pool", "127.0.0.1:4460", 4460},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newTestHost(t)
			limit := []string{"--nofile=64"}
			var p *suite.Proc
			if row.program == "pool" {
				s.up(s.start("server", server("server")))
				p = s.limited(limit, "pool", poolFront)
				p.WaitLog("listening on")
			} else {
				p = s.limited(limit, "server", server("server"))
				s.up(p)
			}
			list := idle(t, s, row.address, 1000)
			busy := use(t, p)
			time.Sleep(time.Second) // the time in which CPU use is measured
			still := use(t, p)
			if spent := still.cpu - busy.cpu; spent > 500*time.Millisecond {
				t.Errorf("%v of CPU time in a second with a full table", spent)
			}
			if still.fds > 65 { // one may be closed and another opened while they are counted
				t.Errorf("%v", still)
			}
			closeAll(list)
			eventually(t, 10*time.Second, "key exchange after the crowd", func() bool {
				_, err := s.exchange(row.port, nil)
				return err == nil
			})
			if n := strings.Count(p.Log(), "cannot accept"); n > 2 {
				t.Errorf("%d log lines about accepting", n)
			}
			calm(t, p)
		})
	}
}

// TestKS19_Reload: SIGHUP takes a good certificate into use; a bad, expired or foreign one leaves the old in use and
// costs one error.
func TestKS19_Reload(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	ca := testca.New(t)
	roots := ca.Pool()
	put := func(chain, key []byte) {
		suite.WriteFile(t, filepath.Join(s.dir, "chain.pem"), string(chain))
		suite.WriteFile(t, filepath.Join(s.dir, "key.pem"), string(key))
	}
	first, second := ca.Leaf("localhost"), ca.Leaf("localhost")
	chain1, key1 := testca.Files(t, first)
	chain2, key2 := testca.Files(t, second)
	expired := ca.Custom(second.PrivateKey.(crypto.Signer), func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().AddDate(-2, 0, 0), time.Now().AddDate(-1, 0, 0)
	}, "localhost")
	chainX, keyX := testca.Files(t, expired)
	put(chain1, key1)
	files := strings.NewReplacer("{keys}/end.fullchain.pem", "{dir}/chain.pem", "{keys}/end.key", "{dir}/key.pem")
	srv := s.start("server", files.Replace(server("server")), "-l", "trace")
	s.up(srv)
	served := func() string {
		c := tls.Client(dial(t, s.Namespace, "tcp4", "127.0.0.1:8080"), &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"ntske/1"}})
		defer c.Close()
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	serials := map[string]string{first.Leaf.SerialNumber.String(): "first", second.Leaf.SerialNumber.String(): "second"}
	for _, step := range []struct {
		name       string
		chain, key []byte
		want       string
		errors     int
	}{
		{"unchanged", chain1, key1, "first", 0},
		{"mismatched", chain2, key1, "first", 1},
		{"garbage", []byte("no PEM"), key1, "first", 1},
		{"expired", chainX, keyX, "first", 1},
		{"good", chain2, key2, "second", 0},
		{"bad again", chain1, []byte("no PEM"), "second", 1},
	} {
		put(step.chain, step.key)
		at := len(srv.Log())
		_ = srv.Cmd.Process.Signal(syscall.SIGHUP)
		srv.Until("reload "+step.name, func() bool {
			return strings.Contains(srv.Log()[at:], "reloaded:") || strings.Contains(srv.Log()[at:], "reload refused")
		})
		time.Sleep(50 * time.Millisecond) // a second line about the same reload
		if got := serials[served()]; got != step.want {
			t.Errorf("%s: the %s certificate is served, want the %s", step.name, got, step.want)
		}
		if n := strings.Count(srv.Log()[at:], "ERROR"); n != step.errors {
			t.Errorf("%s: %d error lines, want %d:\n%s", step.name, n, step.errors, srv.Log()[at:])
		}
	}
}

// proxyHeader is a PROXY protocol version 2 header for a TCP connection over IPv4 that announces length bytes.
func proxyHeader(length uint16) []byte {
	b := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11")
	b = append(b, byte(length>>8), byte(length))
	return append(b, 192, 0, 2, 1, 127, 0, 0, 1, 0xc0, 0, 0x11, 0x6c)
}

// TestP07_ProxyHeaders: a pool without proxy-protocol takes no header from anybody, and one with it no bad header and
// none from a stranger. Whoever sends one is closed at once and costs next to no CPU time.
func TestP07_ProxyHeaders(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	start := func(port, trusted string) *suite.Proc {
		config := strings.Replace(poolFront, ":4460", ":"+port, 1)
		if trusted != "" {
			config = strings.Replace(config, "key-exchange-servers", "proxy-protocol = { trusted-peers = [\""+trusted+"\"] }\nkey-exchange-servers", 1)
		}
		p := s.start("pool", config)
		p.WaitLog("listening on")
		return p
	}
	without, trusting, strict := start("4460", ""), start("4461", "127.0.0.0/8"), start("4462", "192.0.2.0/24")
	for _, row := range []struct {
		name  string
		pool  *suite.Proc
		port  string
		bytes []byte
		eof   bool
	}{
		{"truncated", without, "4460", proxyHeader(12)[:14], true},
		{"length beyond the data and then EOF", without, "4460", proxyHeader(60000), true},
		{"whole, without the protocol", without, "4460", proxyHeader(12), false},
		{"version 1", without, "4460", []byte("PROXY TCP4 192.0.2.1 127.0.0.1 49152 4460\r\n"), false},
		{"truncated, from a trusted peer", trusting, "4461", proxyHeader(12)[:14], true},
		{"length beyond the data and then EOF, from a trusted peer", trusting, "4461", proxyHeader(500), true},
		{"absent when required", trusting, "4461", []byte("\x16\x03\x01\x00\xee\x01\x00\x00\xea\x03\x03"), false},
		{"whole, from an untrusted peer", strict, "4462", proxyHeader(12), false},
	} {
		p := row.pool
		t.Run(strings.ReplaceAll(row.name, " ", "-"), func(t *testing.T) {
			before := use(t, p).cpu
			begin := time.Now()
			for range 20 {
				c := dial(t, s.Namespace, "tcp4", "127.0.0.1:"+row.port)
				_, _ = c.Write(row.bytes)
				if row.eof {
					_ = c.(*net.TCPConn).CloseWrite()
				}
				_ = c.SetReadDeadline(time.Now().Add(4 * time.Second))
				if n, err := readAll(c); errors.Is(err, os.ErrDeadlineExceeded) || n > 7 { // a TLS alert at most
					t.Fatalf("%d bytes, %v", n, err)
				}
				_ = c.Close()
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("20 connections closed after %v", took)
			}
			if cpu := (use(t, p).cpu - before) / 20; cpu > 10*time.Millisecond {
				t.Errorf("%v CPU time each", cpu)
			}
		})
	}
	for _, p := range []*suite.Proc{without, trusting, strict} {
		calm(t, p)
	}
}

func readAll(c net.Conn) (n int, err error) {
	buf := make([]byte, 4096)
	for {
		k, err := c.Read(buf)
		n += k
		if err != nil {
			return n, err
		}
	}
}

// TestN25_TimeOutsideCertificate: a server whose clock is a day ahead of a certificate that the client found valid is
// rejected at its first reply, with one line that says why.
func TestN25_TimeOutsideCertificate(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	ca := testca.New(t)
	leaf := ca.Custom(ca.Leaf("localhost").PrivateKey.(crypto.Signer), func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}, "localhost")
	chain, key := testca.Files(t, leaf)
	suite.WriteFile(t, filepath.Join(s.dir, "chain.pem"), string(chain))
	suite.WriteFile(t, filepath.Join(s.dir, "key.pem"), string(key))
	suite.WriteFile(t, filepath.Join(s.dir, "ca.pem"), string(ca.PEM()))
	files := strings.NewReplacer("{keys}/end.fullchain.pem", "{dir}/chain.pem", "{keys}/end.key", "{dir}/key.pem",
		"clock-control = false", "clock = \"virtual\"\nvirtual-offset = 86400")
	s.up(s.start("server", files.Replace(server("server"))))
	c := s.start("client", strings.Replace(client("client", "nts", "localhost:8080"), "{keys}/testca.pem", "{dir}/ca.pem", 1))
	c.WaitLog("WARN.*source rejected: time outside the validity of the server's certificate")
	o := suite.Snapshot(s.socket("client"))
	if o.Suite.Synchronized || len(o.Sources) != 0 {
		t.Errorf("synchronised: %v, %d sources", o.Suite.Synchronized, len(o.Sources))
	}
}
