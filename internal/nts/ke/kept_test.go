package ke

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/secret"
	"ntp-daemon/internal/testca"
)

// withToken makes "hi" the one token of the server.
func withToken(_ *testServer, c *ServerConfig) {
	c.Tokens = func() []secret.Bytes { return []secret.Bytes{secret.Bytes("first"), nil, secret.Bytes("hi")} }
}

// hexK is the key material of docs/rules/pool.md#vectors, 00 to 3f.
var hexK = func() string {
	var b strings.Builder
	for i := range 64 {
		fmt.Fprintf(&b, "%02x", i)
	}
	return b.String()
}()

// The requests of docs/rules/pool.md#vectors.
var (
	hexV5  = "000e0002 6869 800a0000 80090000 00080000 80000000"
	hexV6  = "40050002 6869 c0010000 c0040000 40000000 80000000"
	hexV7  = "c0010000 80000000"
	hexV11 = "000e0002 6869 800c0040" + hexK + "80010002 0000 80040002 000f 00080000 80000000"
	hexV12 = "40050002 6869 c0020040" + hexK + "80010002 0000 80040002 000f 40000000 80000000"
	hexV13 = "80010002 0000 00040002 000f c0020040" + hexK + "80000000"
)

// keysK is what cookies for K must hold.
func keysK(t *testing.T) nts.Keys {
	k := wire(t, hexK)
	return nts.Keys{Algorithm: aead.SIVCMAC256, C2S: k[:32], S2C: k[32:]}
}

// asPool presents the certificate.
func asPool(cert tls.Certificate) func(*tls.Config) {
	return func(c *tls.Config) {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
}

// TestPoolRequests_Dialects: P17, docs/rules/pool.md#dialects. Each dialect is answered in its own numbers.
func TestPoolRequests_Dialects(t *testing.T) {
	const lists = "000c 000f0020 00110040 00100030"
	pool := testca.New(t).Leaf("pool.test")
	for _, tc := range []struct {
		name, request, lists string // lists: the whole answer; empty for fixed keys
		dialect              record.Dialect
		cert, keep           bool
	}{
		{"P17 V5 era C", hexV5, "800a" + lists + "80090002 0000 00080000 80000000", record.IANA, false, true},
		{"P17 V6 era B", hexV6, "c001" + lists + "c0040002 0000 40000000 80000000", record.Token4000, false, true},
		{"P17 V7 era A", hexV7, "c001" + lists + "80000000", record.Cert4000, true, false},
		{"E2 V7 with keep alive", "c0010000 40000000 80000000", "c001" + lists + "40000000 80000000", record.Cert4000, true, true},
		{"V5 without token, by certificate", "800a0000 80090000 80000000", "800a" + lists + "80090002 0000 80000000", record.IANA, true, false},
		{"B6 AEAD 30 for a pool that minds record 1024", "000e0002 6869 800a0000 04000000 80000000",
			"800a0010 000f0020 00110040 001e0010 00100030 80000000", record.IANA, false, false},
		{"names", "000e0002 6869 800b0000 00080000 80000000", "80060008 6e74702e74657374 00080000 80000000", record.IANA, false, true},
		{"names, draft -03 number", "40050002 6869 c0050000 80000000", "80060008 6e74702e74657374 80000000", record.Token4000, false, false},
		{"names, the number after it", "40050002 6869 c0060000 40000000 80000000", "80060008 6e74702e74657374 40000000 80000000", record.Token4000, false, true},
		{"names, by certificate", "c0060000 40000000 80000000", "80060008 6e74702e74657374 40000000 80000000", record.Cert4000, true, true},
		{"names, draft -03 number, by certificate", "c0050000 80000000", "80060008 6e74702e74657374 80000000", record.Cert4000, true, false},
		{"P17 V11 era C", hexV11, "", record.IANA, false, true},
		{"P17 V12 era B", hexV12, "", record.Token4000, false, true},
		{"P17 V13 era A", hexV13, "", record.Cert4000, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startServer(t, func(s *testServer, c *ServerConfig) {
				withToken(s, c)
				c.PoolLeaves = func() [][]byte { return [][]byte{pool.Leaf.Raw} }
				c.NTPServer = "ntp.test"
			})
			var conn *tls.Conn
			if tc.cert {
				conn = s.dial(asPool(pool))
			} else {
				conn = s.dial(nil)
			}
			reader := NewReader(conn, record.UpstreamLimits)
			msg := s.next(conn, reader, tc.request)
			if tc.lists != "" {
				if !bytes.Equal(msg, wire(t, tc.lists)) {
					t.Errorf("answer %x\nwant   %s", msg, tc.lists)
				}
			} else {
				r, fault := record.ParseFixed(msg, record.Offer{Protocols: []record.Protocol{0}, Algorithms: []aead.Algorithm{15}})
				if fault != record.None || r.Server != "ntp.test" || r.KeepAlive != tc.keep {
					t.Errorf("%v: %+v", fault, r)
				}
				s.checkCookies(r.Cookies, keysK(t))
				number := []byte{0x40, 0, 0, 0}
				if tc.dialect == record.IANA {
					number = []byte{0, 8, 0, 0}
				}
				if bytes.HasSuffix(msg, append(number, 0x80, 0, 0, 0)) != tc.keep {
					t.Errorf("keep alive in %x", msg[len(msg)-12:])
				}
			}
			if !tc.keep {
				if _, err := reader.Next(); !errors.Is(err, io.EOF) {
					t.Errorf("not closed after the answer: %v", err)
				}
			}
			if c := s.srv.Counters(); c.Exports != 0 {
				t.Errorf("%d exports", c.Exports)
			}
			_ = conn.Close()
		})
	}
}

// TestListServerNames: one record for each name that may be given out; without any, an answer that says so.
func TestListServerNames(t *testing.T) {
	var names atomic.Pointer[[]string]
	names.Store(&[]string{})
	s := startServer(t, func(s *testServer, c *ServerConfig) {
		withToken(s, c)
		c.NTPServer, c.Names = "other.test", func() []string { return *names.Load() }
	})
	const question = "000e0002 6869 800b0000 80000000"
	if got := s.ask(question); !bytes.Equal(got, wire(t, "80000000")) {
		t.Errorf("no name: %x", got)
	}
	names.Store(&[]string{"a.test", "2001:db8::1"})
	if got := s.ask(question); !bytes.Equal(got, wire(t, "80060006 612e74657374 8006000b 323030313a6462383a3a31 80000000")) {
		t.Errorf("two names: %x", got)
	}
}

// TestP11_D3_09_D3_12_Unprivileged: the code depends on the dialect, and nothing is granted.
func TestP11_D3_09_D3_12_Unprivileged(t *testing.T) {
	pool, stranger := testca.New(t).Leaf("pool.test"), testca.New(t).Leaf("pool.test")
	configured := func(s *testServer, c *ServerConfig) {
		withToken(s, c)
		c.PoolLeaves = func() [][]byte { return [][]byte{pool.Leaf.Raw} }
	}
	wrong := strings.NewReplacer("0002 6869", "0002 6868")
	for _, tc := range []struct {
		name, request, answer string
		edit                  func(*testServer, *ServerConfig)
		cert                  *tls.Certificate
	}{
		{"P11 wrong token era C", wrong.Replace(hexV11), hexErr1, configured, nil},
		{"P11 wrong token era B", wrong.Replace(hexV12), hexErr1, configured, nil},
		{"P11 wrong token, lists", wrong.Replace(hexV5), hexErr1, configured, nil},
		{"P11 prefix of a token", strings.Replace(hexV5, "000e0002 6869", "000e0001 68", 1), hexErr1, configured, nil},
		{"P11 empty token", strings.Replace(hexV5, "000e0002 6869", "000e0000", 1), hexErr1, configured, nil},
		{"P11 no token era C", strings.Replace(hexV11, "000e0002 6869", "", 1), hexErr1, configured, nil},
		{"P11 no token, unlisted certificate", hexV13, hexErr0, configured, &stranger},
		{"P11 no token, no certificate", hexV13, hexErr0, configured, nil},
		{"era-A list of a stranger", hexV7, hexErr0, configured, nil},
		{"names, wrong token", "000e0002 6868 800b0000 80000000", hexErr1, configured, nil},
		{"names, a stranger of the first era", "c0060000 80000000", hexErr0, configured, &stranger},
		{"names, draft -03 number, a stranger", "c0050000 80000000", hexErr0, configured, nil},
		{"empty allow-list, token", hexV11, hexErr1, nil, nil},
		{"empty allow-list, certificate", hexV13, hexErr0, nil, &pool},
		{"empty allow-list, empty token", strings.Replace(hexV5, "000e0002 6869", "000e0000", 1), hexErr1, nil, nil},
		{"P17 old numbers off, V6", hexV6, hexErr0, func(s *testServer, c *ServerConfig) { configured(s, c); c.NoOldNumbers = true }, nil},
		{"P17 old numbers off, V13", hexV13, hexErr0, func(s *testServer, c *ServerConfig) { configured(s, c); c.NoOldNumbers = true }, &pool},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startServer(t, tc.edit)
			var edit func(*tls.Config)
			if tc.cert != nil {
				edit = asPool(*tc.cert)
			}
			if got := s.askOn(s.dial(edit), tc.request); !bytes.Equal(got, wire(t, tc.answer)) {
				t.Errorf("answer %x, want %s", got, tc.answer)
			}
			if c := s.srv.Counters(); c.Exports != 0 || c.Kept != 0 {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestP12_D3_10_D3_11_BadFixedKey(t *testing.T) {
	s := startServer(t, withToken)
	const token = "000e0002 6869"
	key := "800c0040" + hexK
	for _, tc := range []struct{ name, request string }{
		{"P12 half a key", token + "800c0020" + hexK[:64] + hexNP + hexAE15},
		{"P12 no key", token + "800c0000" + hexNP + hexAE15},
		{"P12 odd key", token + "800c0003 000000" + hexNP + hexAE15},
		{"P12 two AEADs", token + key + hexNP + "80040004 000f0011"},
		{"P12 two protocols", token + key + "80010004 00008001" + hexAE15},
		{"P12 with a support record", token + key + "800a0000" + hexNP + hexAE15},
		{"unknown AEAD", token + key + hexNP + "80040002 ffff"},
		{"AEAD that is not built", token + key + hexNP + "80040002 001f"},
		{"disallowed protocol", token + key + "80010002 8001" + hexAE15},
		{"lists with negotiation", token + "800a0000" + hexNP + hexAE15},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := s.ask(tc.request + "00080000" + hexEOM); !bytes.Equal(got, wire(t, hexErr1)) {
				t.Errorf("answer %x", got)
			}
		})
	}
}

// keepOpen starts a kept connection.
func (s *testServer) keepOpen() (*tls.Conn, *Reader) {
	s.t.Helper()
	conn := s.dial(nil)
	reader := NewReader(conn, record.UpstreamLimits)
	if msg := s.next(conn, reader, hexV5); !keeps(msg) {
		s.t.Fatalf("not kept: %x", msg)
	}
	return conn, reader
}

// keeps says whether an era-C answer grants Keep Alive.
func keeps(msg []byte) bool { return bytes.HasSuffix(msg, []byte{0, 8, 0, 0, 0x80, 0, 0, 0}) }

// ended wants the connection closed in order.
func (s *testServer) ended(r *Reader) {
	s.t.Helper()
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		s.t.Errorf("not closed by close_notify: %v", err)
	}
}

func TestP13_D3_13_D3_16_D3_17_KeepAlive(t *testing.T) {
	t.Run("P13 100 requests, then idle", func(t *testing.T) {
		s := startServer(t, func(x *testServer, c *ServerConfig) {
			withToken(x, c)
			c.IdleTimeout, c.Timeout = 400*time.Millisecond, 300*time.Millisecond
		})
		conn, reader := s.keepOpen()
		for i := range 100 {
			request := hexV11
			if i%3 == 0 {
				request = hexV5
			}
			if msg := s.next(conn, reader, request); !keeps(msg) {
				t.Fatalf("answer %d does not keep: %x", i, msg)
			}
		}
		began := time.Now()
		s.ended(reader)
		if d := time.Since(began); d < 300*time.Millisecond || d > 2*time.Second {
			t.Errorf("closed after %v", d)
		}
		s.wait("expired", func(c Counters) bool {
			return c.Exports == 0 && c.Of(KeptExpired) == 1 && c.Of(FixedServed) == 66 && c.Kept == 0
		})
	})
	t.Run("P13 idle limit", func(t *testing.T) {
		if d := startServer(t, nil).srv.cfg.IdleTimeout; d != 5*time.Minute {
			t.Errorf("%v by default", d)
		}
	})
	t.Run("P13 cap and one more", func(t *testing.T) {
		s := startServer(t, func(x *testServer, c *ServerConfig) { withToken(x, c); c.LongLived, c.MaxConnections = 2, 3 })
		first, _ := s.keepOpen()
		_, _ = s.keepOpen()
		if msg := s.ask(hexV5); keeps(msg) || len(msg) == 0 {
			t.Errorf("third: %x", msg)
		}
		// Kept connections use no ordinary permit.
		s.wait("released", func(c Counters) bool { return c.Accept.InUse <= 1 && c.Kept == 2 })
		for range 6 {
			if b := s.ask(hexKS01); len(b) < 800 {
				t.Errorf("plain: %d bytes", len(b))
			}
		}
		_ = first.Close()
		s.wait("place free", func(c Counters) bool { return c.Kept == 1 })
		_, _ = s.keepOpen()
	})
	t.Run("no long-lived connections configured", func(t *testing.T) {
		s := startServer(t, func(x *testServer, c *ServerConfig) { withToken(x, c); c.LongLived = -1 })
		if msg := s.ask(hexV5); keeps(msg) || len(msg) == 0 {
			t.Errorf("%x", msg)
		}
	})
	t.Run("request without keep alive ends it", func(t *testing.T) {
		s := startServer(t, withToken)
		conn, reader := s.keepOpen()
		if msg := s.next(conn, reader, strings.Replace(hexV5, "00080000", "", 1)); keeps(msg) {
			t.Errorf("%x", msg)
		}
		s.ended(reader)
	})
	t.Run("plain request", func(t *testing.T) {
		s := startServer(t, withToken)
		conn, reader := s.keepOpen()
		if msg := s.next(conn, reader, hexKS01); !bytes.Equal(msg, wire(t, hexErr1)) {
			t.Errorf("%x", msg)
		}
		s.ended(reader)
		s.wait("plain on kept", func(c Counters) bool { return c.Of(PlainOnKept) == 1 && c.Exports == 0 })
	})
	t.Run("two requests in one record", func(t *testing.T) {
		s := startServer(t, withToken)
		conn, reader := s.keepOpen()
		if msg := s.next(conn, reader, hexV11+hexV5); !keeps(msg) || len(msg) < 800 {
			t.Errorf("first: %d bytes", len(msg))
		}
		if msg, err := reader.Next(); err != nil || !keeps(msg) || len(msg) > 100 {
			t.Errorf("second: %d bytes, %v", len(msg), err)
		}
	})
	t.Run("broken request", func(t *testing.T) {
		s := startServer(t, withToken)
		conn, reader := s.keepOpen()
		if msg := s.next(conn, reader, "c1230000"+hexEOM); !bytes.Equal(msg, wire(t, hexErr0)) {
			t.Errorf("%x", msg)
		}
		s.ended(reader)
	})
	t.Run("maximum of requests", func(t *testing.T) {
		s := startServer(t, func(x *testServer, c *ServerConfig) { withToken(x, c); c.MaxRequests = 3 })
		conn, reader := s.keepOpen()
		if msg := s.next(conn, reader, hexV5); !keeps(msg) {
			t.Errorf("second: %x", msg)
		}
		if msg := s.next(conn, reader, hexV5); keeps(msg) {
			t.Errorf("third: %x", msg)
		}
		s.ended(reader)
	})
	t.Run("maximum age", func(t *testing.T) {
		s := startServer(t, func(x *testServer, c *ServerConfig) { withToken(x, c); c.MaxAge = 300 * time.Millisecond })
		_, reader := s.keepOpen()
		s.ended(reader)
		s.wait("expired", func(c Counters) bool { return c.Of(KeptExpired) == 1 })
	})
	t.Run("shutdown while idle", func(t *testing.T) {
		s := startServer(t, withToken)
		_, reader := s.keepOpen()
		began := time.Now()
		go func() { _ = s.stop() }()
		s.ended(reader)
		if d := time.Since(began); d > time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

// TestB11_D3_14_RevocationAndRotationWorkOnKeptConnections: both lists and the master keys are looked up per request.
func TestB11_D3_14_RevocationAndRotationWorkOnKeptConnections(t *testing.T) {
	var tokens atomic.Pointer[[]secret.Bytes]
	tokens.Store(&[]secret.Bytes{secret.Bytes("hi")})
	s := startServer(t, func(_ *testServer, c *ServerConfig) { c.Tokens = func() []secret.Bytes { return *tokens.Load() } })
	conn, reader := s.keepOpen()
	s.next(conn, reader, hexV11)
	s.set.Store(testKeySet(t)) // docs/rules/pool.md#kept: the next cookies use the new master key
	r, fault := record.ParseFixed(s.next(conn, reader, hexV11), record.Offer{Protocols: []record.Protocol{0}, Algorithms: []aead.Algorithm{15}})
	if fault != record.None {
		t.Fatal(fault)
	}
	s.checkCookies(r.Cookies, keysK(t))
	tokens.Store(&[]secret.Bytes{secret.Bytes("other")})
	if msg := s.next(conn, reader, hexV11); !bytes.Equal(msg, wire(t, hexErr1)) {
		t.Errorf("answer to a revoked token: %x", msg[:min(len(msg), 40)])
	}
	s.ended(reader)
}

func TestD3_15_Pacer(t *testing.T) {
	p := pacer{window: time.Now()}
	for range maxRate {
		if !p.next(t.Context(), new(accept.Conn)) {
			t.Fatal("stopped")
		}
	}
	began := time.Now()
	if !p.next(t.Context(), new(accept.Conn)) || time.Since(began) < 500*time.Millisecond {
		t.Errorf("not slowed: %v", time.Since(began))
	}
}

// TestD3_15_MemoryOfAKeptConnection: thousands of users' keys over one connection leave nothing behind.
func TestD3_15_MemoryOfAKeptConnection(t *testing.T) {
	s := startServer(t, func(x *testServer, c *ServerConfig) { withToken(x, c); c.Log = zerolog.Nop() })
	conn, reader := s.keepOpen()
	var before, after runtime.MemStats
	many := func(n int) {
		_ = conn.SetDeadline(time.Now().Add(5 * time.Minute)) // a busy machine takes long for so many
		for range n {
			if msg := s.next(conn, reader, hexV11); !keeps(msg) {
				t.Fatalf("not kept: %x", msg)
			}
		}
		runtime.GC()
	}
	many(200)
	runtime.ReadMemStats(&before)
	many(3000)
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 128<<10 {
		t.Errorf("3000 requests left %d bytes", grown)
	}
}

// TestKS15_KeptConnectionThatIsNotRead: a pool that asks on and on and never takes an answer, until its own window and our
// buffers are full, loses its connection when the time for a request is over; its place is free then.
func TestKS15_KeptConnectionThatIsNotRead(t *testing.T) {
	began := time.Now()
	s := startServer(t, func(x *testServer, c *ServerConfig) {
		withToken(x, c)
		c.Timeout, c.IdleTimeout = 500*time.Millisecond, time.Minute
	})
	conn, _ := s.keepOpen()
	_ = conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	request := bytes.Repeat(wire(t, hexV11), 50)
	for {
		if _, err := conn.Write(request); err != nil {
			if accept.IsTimeout(err) {
				t.Errorf("nobody ended it: %v", err)
			}
			break
		}
	}
	if d := time.Since(began); d > 3*requestTimeout {
		t.Errorf("ended after %v", d)
	}
	s.wait("released", func(c Counters) bool { return c.Kept == 0 && c.Accept.Open == 0 && c.Of(WriteFailed) == 1 })
	_, _ = s.keepOpen()
}
