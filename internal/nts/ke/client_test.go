package ke

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/testca"
)

// wire reads hex with blanks.
func wire(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// peer is a scripted key exchange server for clients.
type peer struct {
	ca   *testca.CA
	addr string
}

// startPeer serves act on loopback for "time.test". edit may change the TLS side.
func startPeer(t *testing.T, edit func(*testca.CA, *tls.Config), act func(conn *tls.Conn)) *peer {
	t.Helper()
	p := &peer{ca: testca.New(t)}
	conf := settings(nil)
	conf.Certificates = []tls.Certificate{p.ca.Leaf("time.test")}
	if edit != nil {
		edit(p.ca, conf)
	}
	p.addr = serveRaw(t, func(raw net.Conn) {
		conn := tls.Server(raw, conf)
		if conn.Handshake() == nil {
			act(conn)
		}
		_ = conn.Close()
	})
	return p
}

// serveRaw hands each TCP connection to act and waits for all of them at the end of the test.
func serveRaw(t *testing.T, act func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer raw.Close()
				act(raw)
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// client is a configuration that reaches the peer under its name.
func (p *peer) client() ClientConfig { return clientFor(p.addr, p.ca) }

func clientFor(addr string, ca *testca.CA) ClientConfig {
	return ClientConfig{
		Address: "time.test", Roots: ca.Pool(), Timeout: 2 * time.Second,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
}

// answers is a peer that reads a request and sends the message, in one write.
func answers(msg []byte) func(*tls.Conn) {
	return func(conn *tls.Conn) {
		if _, err := NewReader(conn, record.RequestLimits).Next(); err == nil {
			_, _ = conn.Write(msg)
		}
	}
}

const (
	hexNP, hexEOM = "80010002 0000", "80000000"
	hexAE15       = "80040002 000f"
	hexCookie     = "00050008 0102030405060708"
)

func TestKC01_Request(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*ClientConfig)
		want string
	}{
		{"default offer", func(*ClientConfig) {}, hexNP + "80040006 001e000f0011 04000000" + hexEOM},
		{"without AEAD 30", func(c *ClientConfig) { c.Algorithms = []aead.Algorithm{17, 15} }, hexNP + "80040004 0011000f" + hexEOM},
		{"pool mode, both numbers", func(c *ClientConfig) {
			c.Algorithms, c.Denied = []aead.Algorithm{15}, []string{"a.test", "b"}
		}, hexNP + hexAE15 + "000d0006 612e74657374 40030006 612e74657374 000d0001 62 40030001 62" + hexEOM},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := make(chan []byte, 1)
			p := startPeer(t, nil, func(conn *tls.Conn) {
				buf := make([]byte, 8192)
				n, _ := conn.Read(buf) // one TLS record is what one Read returns
				got <- buf[:n]
			})
			c := p.client()
			tc.edit(&c)
			_, _ = Exchange(t.Context(), c)
			if req := <-got; !bytes.Equal(req, wire(t, tc.want)) {
				t.Errorf("sent %x in one write, want %s", req, tc.want)
			}
		})
	}
	t.Run("at most 4096 bytes", func(t *testing.T) {
		got := make(chan int, 1)
		p := startPeer(t, nil, func(conn *tls.Conn) {
			n, _ := conn.Read(make([]byte, 16384))
			got <- n
		})
		c := p.client()
		for i := range 60 {
			c.Denied = append(c.Denied, fmt.Sprintf("%02d.%s.test", i, strings.Repeat("x", 60)))
		}
		_, _ = Exchange(t.Context(), c)
		if n := <-got; n > record.MaxUserRequest || n < 3900 {
			t.Errorf("%d bytes", n)
		}
	})
}

func TestExchange_Result(t *testing.T) {
	for _, tc := range []struct {
		name, extra string
		want        Result
	}{
		{"nothing said", "", Result{Server: "time.test", Port: 123}},
		{"server and port", "80060006 612e74657374 80070002 1092", Result{Server: "a.test", ServerGiven: true, Port: 4242}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cookies := ""
			for i := range 9 {
				cookies += fmt.Sprintf("00050008 0102030405060%d08", i)
			}
			p := startPeer(t, nil, answers(wire(t, hexNP+hexAE15+tc.extra+cookies+hexEOM)))
			r, err := Exchange(t.Context(), p.client())
			if err != nil {
				t.Fatal(err)
			}
			if r.Session.Cookies() != 8 || r.Remote.String() != "127.0.0.1" || r.Algorithm != aead.SIVCMAC256 {
				t.Errorf("%d cookies, remote %v, %v", r.Session.Cookies(), r.Remote, r.Algorithm)
			}
			if r.Server != tc.want.Server || r.ServerGiven != tc.want.ServerGiven || r.Port != tc.want.Port {
				t.Errorf("%q %v %d", r.Server, r.ServerGiven, r.Port)
			}
		})
	}
	t.Run("in many small pieces", func(t *testing.T) {
		p := startPeer(t, nil, func(conn *tls.Conn) {
			_, _ = NewReader(conn, record.RequestLimits).Next()
			for _, b := range wire(t, hexNP+hexAE15+hexCookie+hexEOM) {
				_, _ = conn.Write([]byte{b})
			}
		})
		if _, err := Exchange(t.Context(), p.client()); err != nil {
			t.Error(err)
		}
	})
	t.Run("default port and default dialer", func(t *testing.T) {
		var asked string
		_, err := Exchange(t.Context(), ClientConfig{Address: "2001:db8::1", Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			asked = addr
			return nil, io.ErrClosedPipe
		}})
		if asked != "[2001:db8::1]:4460" || !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%q, %v", asked, err)
		}
	})
}

func TestKC02_TLSVersionAndALPN(t *testing.T) {
	good := wire(t, hexNP+hexAE15+hexCookie+hexEOM)
	for _, tc := range []struct {
		name string
		edit func(*testca.CA, *tls.Config)
		alpn bool
	}{
		{"TLS 1.2 only", func(_ *testca.CA, c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, false},
		{"no ALPN", func(_ *testca.CA, c *tls.Config) { c.NextProtos = nil }, true},
		{"ALPN h2", func(_ *testca.CA, c *tls.Config) { c.NextProtos = []string{"h2"} }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []byte
			done := make(chan struct{})
			p := startPeer(t, tc.edit, func(conn *tls.Conn) {
				got, _ = io.ReadAll(conn)
				_, _ = conn.Write(good)
				close(done)
			})
			_, err := Exchange(t.Context(), p.client())
			if err == nil || errors.Is(err, ErrALPN) != tc.alpn {
				t.Errorf("error %v", err)
			}
			if tc.alpn {
				if <-done; len(got) != 0 {
					t.Errorf("sent %x", got)
				}
			}
		})
	}
}

func TestKC03_Certificates(t *testing.T) {
	ecKey := func(ca *testca.CA) func(edit func(*x509.Certificate), names ...string) tls.Certificate {
		return func(edit func(*x509.Certificate), names ...string) tls.Certificate {
			key := ca.Leaf("key").PrivateKey
			return ca.Custom(key.(cryptoSigner), edit, names...)
		}
	}
	for _, tc := range []struct {
		name    string
		address string
		make    func(ca *testca.CA) tls.Certificate
	}{
		{"wrong name", "time.test", func(ca *testca.CA) tls.Certificate { return ca.Leaf("other.test") }},
		{"common name only", "time.test", func(ca *testca.CA) tls.Certificate {
			return ecKey(ca)(func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "time.test"} })
		}},
		{"expired", "time.test", func(ca *testca.CA) tls.Certificate {
			return ecKey(ca)(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, "time.test")
		}},
		{"future", "time.test", func(ca *testca.CA) tls.Certificate {
			return ecKey(ca)(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, "time.test")
		}},
		{"another authority", "time.test", func(*testca.CA) tls.Certificate { return testca.New(t).Leaf("time.test") }},
		{"self-signed", "time.test", func(*testca.CA) tls.Certificate { return selfSigned(t, "time.test") }},
		{"address without IP SAN", "127.0.0.1", func(ca *testca.CA) tls.Certificate { return ca.Leaf("time.test") }},
		{"200 intermediates", "time.test", func(*testca.CA) tls.Certificate { return longChain(t, "time.test", 200) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := startPeer(t, func(ca *testca.CA, c *tls.Config) { c.Certificates = []tls.Certificate{tc.make(ca)} },
				answers(wire(t, hexNP+hexAE15+hexCookie+hexEOM)))
			c := p.client()
			c.Address = tc.address
			began := time.Now()
			if _, err := Exchange(t.Context(), c); err == nil {
				t.Error("accepted")
			}
			if d := time.Since(began); d > time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
	t.Run("RSA of 8193 bits", func(t *testing.T) {
		// Signing is not needed: the key size is refused before. A modulus of that size is enough.
		n := new(big.Int).Lsh(big.NewInt(1), 8192)
		n.SetBit(n, 0, 1)
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: 65537}}
		p := startPeer(t, func(ca *testca.CA, c *tls.Config) {
			c.Certificates = []tls.Certificate{ca.Custom(bigSigner{key}, func(*x509.Certificate) {}, "time.test")}
		}, answers(nil))
		began := time.Now()
		if _, err := Exchange(t.Context(), p.client()); err == nil || time.Since(began) > time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
	t.Run("the right address and the right clock", func(t *testing.T) {
		p := startPeer(t, func(ca *testca.CA, c *tls.Config) {
			c.Certificates = []tls.Certificate{ecKey(ca)(func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now().Add(-3*time.Hour), time.Now().Add(-time.Hour)
			}, "127.0.0.1")}
		}, answers(wire(t, hexNP+hexAE15+hexCookie+hexEOM)))
		c := p.client()
		c.Address = "127.0.0.1"
		if _, err := Exchange(t.Context(), c); err == nil {
			t.Error("accepted by the system's clock")
		}
		c.Time = func() time.Time { return time.Now().Add(-2 * time.Hour) }
		if _, err := Exchange(t.Context(), c); err != nil {
			t.Errorf("refused by the injected clock: %v", err)
		}
	})
}

// TestKC04_to_KC12 checks that the faults of record reach the caller; their table is in that package.
func TestKC04_to_KC12_FaultsReachTheCaller(t *testing.T) {
	good := hexNP + hexAE15 + hexCookie
	for _, tc := range []struct {
		name, hex string
		want      record.Fault
	}{
		{"KC04 no end then close", good, record.Truncated},
		{"KC04 nothing then close", "", record.Truncated},
		{"KC04 truncated record", hexNP + "800400", record.Truncated},
		{"KC04 end not critical", good + "00000000", record.BadEnd},
		{"KC04 end with body", good + "80000001 00", record.BadEnd},
		{"KC04 bytes after the end", good + hexEOM + "00", record.Trailing},
		{"KC05 error 0", "80020002 0000" + hexEOM, record.PeerError},
		{"KC05 error 9", "80020002 0009" + hexEOM, record.PeerError},
		{"KC06 warning", good + "80030002 0000" + hexEOM, record.PeerWarning},
		{"KC07 unknown critical", good + "c1230000" + hexEOM, record.UnknownCritical},
		{"KC08 other protocol", "80010002 8001" + hexAE15 + hexCookie + hexEOM, record.NotOffered},
		{"KC09 other AEAD", hexNP + "80040002 0010" + hexCookie + hexEOM, record.NotOffered},
		{"KC10 no cookie", hexNP + hexAE15 + hexEOM, record.NoCookies},
		{"KC11 bad server", good + "80060003 610a62" + hexEOM, record.BadServer},
		{"KC12 port 0", good + "80070002 0000" + hexEOM, record.BadPort},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := startPeer(t, nil, answers(wire(t, tc.hex)))
			_, err := Exchange(t.Context(), p.client())
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("raw bytes of the peer in %q", err)
			}
		})
	}
}

func TestKC13_LongAnswers(t *testing.T) {
	padded := wire(t, hexNP+hexAE15+hexCookie)
	for len(padded) < 65536-4-4 {
		padded = record.Append(padded, record.Record{Type: 0x1234, Body: make([]byte, min(1000, 65536-8-len(padded)))})
	}
	padded = append(padded, wire(t, hexEOM)...)
	p := startPeer(t, nil, answers(padded))
	if _, err := Exchange(t.Context(), p.client()); err != nil || len(padded) != 65536 {
		t.Errorf("%d bytes: %v", len(padded), err)
	}
	t.Run("KC10 and KC13 endless", func(t *testing.T) {
		sent := make(chan int, 1)
		p := startPeer(t, nil, func(conn *tls.Conn) {
			_, _ = NewReader(conn, record.RequestLimits).Next()
			total, chunk := 0, record.Append(nil, record.Record{Type: record.TypeCookie, Body: make([]byte, 104)})
			for {
				n, err := conn.Write(chunk)
				if total += n; err != nil {
					sent <- total
					return
				}
			}
		})
		_, err := Exchange(t.Context(), p.client())
		if !errors.Is(err, record.TooLong) {
			t.Errorf("error %v", err)
		}
		<-sent
	})
}

func TestKC14_EndsAtTheDeadline(t *testing.T) {
	ca := testca.New(t)
	for _, tc := range []struct {
		name string
		addr func(t *testing.T) (string, *testca.CA)
	}{
		{"black hole", func(t *testing.T) (string, *testca.CA) {
			return serveRaw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), ca
		}},
		{"one byte at a time in the handshake", func(t *testing.T) (string, *testca.CA) {
			return serveRaw(t, func(c net.Conn) {
				for _, b := range append(wire(t, "1603034000"), make([]byte, 0x4000)...) {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			}), ca
		}},
		{"one byte at a time in the answer", func(t *testing.T) (string, *testca.CA) {
			p := startPeer(t, nil, func(conn *tls.Conn) {
				_, _ = NewReader(conn, record.RequestLimits).Next()
				msg := bytes.Repeat(wire(t, "4123000a 00000000000000000000"), 1000)
				for i := range msg {
					if _, err := conn.Write(msg[i : i+1]); err != nil {
						return
					}
					time.Sleep(5 * time.Millisecond)
				}
			})
			return p.addr, p.ca
		}},
		{"silence after the request", func(t *testing.T) (string, *testca.CA) {
			p := startPeer(t, nil, func(conn *tls.Conn) { _, _ = io.Copy(io.Discard, conn) })
			return p.addr, p.ca
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr, ca := tc.addr(t)
			c := clientFor(addr, ca)
			c.Timeout = 300 * time.Millisecond
			began := time.Now()
			_, err := Exchange(t.Context(), c)
			if d := time.Since(began); d > 1300*time.Millisecond || d < 250*time.Millisecond {
				t.Errorf("ended after %v", d)
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		addr := serveRaw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := Exchange(ctx, clientFor(addr, ca)); err == nil || time.Since(began) > time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
	})
	t.Run("refused, reset, closed", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		refused := ln.Addr().String()
		_ = ln.Close()
		reset := serveRaw(t, func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) })
		closed := serveRaw(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) })
		for _, addr := range []string{refused, reset, closed} {
			if _, err := Exchange(t.Context(), clientFor(addr, ca)); err == nil {
				t.Errorf("%s: no error", addr)
			}
		}
	})
}

// TestKC17_AEAD30 sends a real NTS request with the session of the exchange to a server that derived its keys
// one way or the other.
func TestKC17_AEAD30(t *testing.T) {
	for _, tc := range []struct {
		name      string
		echo      bool
		server    aead.Algorithm // in the exporter context
		alternate bool           // only the alternate keys fit
	}{
		{"echo, compliant context", true, aead.GCMSIV128, false},
		{"no echo, chrony's old context", false, aead.SIVCMAC256, false},
		{"no echo, RFC context: alternate after the NAK", false, aead.GCMSIV128, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set := testKeySet(t)
			p := startPeer(t, nil, func(conn *tls.Conn) {
				_, _ = NewReader(conn, record.RequestLimits).Next()
				cs := conn.ConnectionState()
				keys, err := ExportKeys(&cs, record.NTPv4, aead.GCMSIV128, tc.server)
				if err != nil {
					t.Error(err)
					return
				}
				r := record.Response{Algorithm: aead.GCMSIV128, CompliantExport: tc.echo,
					Cookies: [][]byte{nts.NewSealer().Seal(nil, set, &keys, rand.Reader), nts.NewSealer().Seal(nil, set, &keys, rand.Reader)}}
				_, _ = conn.Write(r.Append(nil))
			})
			r, err := Exchange(t.Context(), p.client())
			if err != nil {
				t.Fatal(err)
			}
			if got := opensRequest(t, r.Session, set); got != !tc.alternate {
				t.Errorf("first keys fit: %v", got)
			}
			if got := r.Session.SwitchAlternate(); got != !tc.echo {
				t.Errorf("alternate there: %v", got)
			}
			if tc.alternate && !opensRequest(t, r.Session, set) {
				t.Error("alternate keys do not fit")
			}
			if r.Session.SwitchAlternate() {
				t.Error("switched twice")
			}
		})
	}
}

// opensRequest says whether a server with the key set accepts the session's next request.
func opensRequest(t *testing.T, s *nts.Session, set *nts.KeySet) bool {
	t.Helper()
	pkt := make([]byte, ntp.HeaderLen)
	pkt[0] = 4<<3 | 3
	uid := bytes.Repeat([]byte{9}, 32)
	pkt, err := s.AppendRequest(pkt, uid, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var f ntp.Fields
	if err := f.Trailer(pkt, 4); err != nil {
		t.Fatal(err)
	}
	var req nts.Request
	return req.Open(pkt, &f, set, nts.NewSealer()) == nts.Valid
}
