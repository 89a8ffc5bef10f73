package poolke

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"ntp-daemon/internal/nts/ke"
)

// proxyHeader is a header with the given command, family and body, whose length it announces.
func proxyHeader(command, family byte, body []byte) []byte {
	b := append([]byte(proxySignature), command, family)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(body))), body...)
}

// proxyFor is the header that a balancer sends for a user.
func proxyFor(user string) []byte {
	a := netip.MustParseAddrPort(user)
	family, local := byte(proxyTCP4), netip.IPv4Unspecified()
	if a.Addr().Is6() {
		family, local = proxyTCP6, netip.IPv6Unspecified()
	}
	body := append(a.Addr().AsSlice(), local.AsSlice()...)
	body = binary.BigEndian.AppendUint16(body, a.Port())
	return proxyHeader(proxyProxy, family, binary.BigEndian.AppendUint16(body, 4460))
}

// tlvs is n bytes of TLV, a NOOP.
func tlvs(n int) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{4}, uint16(n-3)), make([]byte, n-3)...)
}

func TestP07_D3_40_ReadProxy(t *testing.T) {
	v4, v6 := proxyFor("192.0.2.1:49152")[proxyFixed:], proxyFor("[2001:db8::1]:49152")[proxyFixed:]
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, row := range []struct {
		name  string
		bytes []byte
		want  string // the user; empty with err nil: LOCAL
		err   error
	}{
		{"TCP4", proxyFor("192.0.2.1:49152"), "192.0.2.1:49152", nil},
		{"TCP6", proxyFor("[2001:db8::1]:1"), "[2001:db8::1]:1", nil},
		{"P14 an IPv4 address in its IPv6 form", proxyFor("[::ffff:192.0.2.1]:1"), "192.0.2.1:1", nil},
		{"TCP4 with TLVs", proxyHeader(proxyProxy, proxyTCP4, join(v4, tlvs(30))), "192.0.2.1:49152", nil},
		{"TCP6 with TLVs, as long as may be", proxyHeader(proxyProxy, proxyTCP6, join(v6, tlvs(4044))), "[2001:db8::1]:49152", nil},
		{"LOCAL", proxyHeader(proxyLocal, 0, nil), "", nil},
		{"LOCAL with addresses and TLVs", proxyHeader(proxyLocal, proxyTCP4, join(v4, tlvs(9))), "", nil},
		{"oversized", proxyHeader(proxyProxy, proxyTCP6, join(v6, tlvs(4045))), "", errProxyLong},
		{"oversized LOCAL", proxyHeader(proxyLocal, 0, tlvs(65535)), "", errProxyLong},
		{"UNSPEC", proxyHeader(proxyProxy, 0, nil), "", errProxyFamily},
		{"UDP4", proxyHeader(proxyProxy, 0x12, v4), "", errProxyFamily},
		{"Unix", proxyHeader(proxyProxy, 0x31, make([]byte, 216)), "", errProxyFamily},
		{"TCP4 with 11 bytes", proxyHeader(proxyProxy, proxyTCP4, v4[:11]), "", errProxyShort},
		{"TCP6 with 35 bytes", proxyHeader(proxyProxy, proxyTCP6, v6[:35]), "", errProxyShort},
		{"unknown command", proxyHeader(0x22, proxyTCP4, v4), "", errProxyCommand},
		{"version 1 in binary", proxyHeader(0x11, proxyTCP4, v4), "", errProxyCommand},
		{"version 1 in text", []byte("PROXY TCP4 192.0.2.1 127.0.0.1 49152 4460\r\n"), "", errNoProxy},
		{"TLS", []byte("\x16\x03\x01\x00\xee\x01\x00\x00\xea\x03\x03"), "", errNoProxy},
		{"last byte of the signature wrong", []byte(proxySignature[:11] + "\r"), "", errNoProxy},
		{"nobody's address", proxyFor("0.0.0.0:1"), "", errProxyAddress},
		{"multicast", proxyFor("[ff02::1]:1"), "", errProxyAddress},
		{"nothing", nil, "", io.EOF},
		{"truncated signature", []byte(proxySignature[:5]), "", io.EOF},
		{"truncated length", []byte(proxySignature + "\x21\x11\x00"), "", io.EOF},
		{"truncated addresses", proxyFor("192.0.2.1:49152")[:14+4], "", io.ErrUnexpectedEOF},
		{"length beyond the data", join([]byte(proxySignature+"\x21\x11\x02\x00"), v4), "", io.ErrUnexpectedEOF},
		{"length without data", []byte(proxySignature + "\x20\x00\x00\x01"), "", io.EOF},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := bytes.NewReader(append(bytes.Clone(row.bytes), "next"...))
			if errors.Is(row.err, io.EOF) || errors.Is(row.err, io.ErrUnexpectedEOF) {
				r = bytes.NewReader(row.bytes)
			}
			got, err := readProxy(r)
			if !errors.Is(err, row.err) || got.IsValid() != (row.want != "") || got.IsValid() && got.String() != row.want {
				t.Fatalf("%v, %v, want %s, %v", got, err, row.want, row.err)
			}
			if err == nil && r.Len() != len("next") {
				t.Errorf("%d bytes left, want those after the header", r.Len())
			}
			if again, errAgain := readProxy(iotest.OneByteReader(bytes.NewReader(row.bytes))); again != got || (errAgain == nil) != (err == nil) {
				t.Errorf("byte by byte: %v, %v", again, errAgain)
			}
		})
	}
}

func FuzzReadProxy(f *testing.F) {
	f.Add(proxyFor("192.0.2.1:49152"))
	f.Add(proxyFor("[2001:db8::1]:49152"))
	f.Add(proxyHeader(proxyLocal, 0, tlvs(9)))
	f.Add(proxyHeader(proxyProxy, 0, nil))
	f.Add([]byte("PROXY TCP4 192.0.2.1 127.0.0.1 49152 4460\r\n"))
	f.Add([]byte(proxySignature + "\x21\x11\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		user, err := readProxy(r)
		taken := len(b) - r.Len()
		switch {
		case taken > longestProxy:
			t.Fatalf("%d bytes taken", taken)
		case err != nil && user.IsValid():
			t.Fatalf("%v besides %v", user, err)
		case err != nil:
			return
		case taken != proxyFixed+int(binary.BigEndian.Uint16(b[14:])):
			t.Fatalf("%d bytes taken of a header that announces %d", taken, binary.BigEndian.Uint16(b[14:]))
		case user.IsValid() && (user.Addr().Is4In6() || user.Addr().IsUnspecified()):
			t.Fatalf("user %v", user)
		case user.IsValid() != (b[12] == proxyProxy):
			t.Fatalf("user %v for command %#x", user, b[12])
		}
		if again, err := readProxy(iotest.HalfReader(bytes.NewReader(b))); again != user || err != nil {
			t.Fatalf("in pieces: %v, %v", again, err)
		}
	})
}

// behind is a test pool that takes PROXY headers from the loopback addresses that are given.
func behind(t *testing.T, perPrefix int, peers ...string) *testPool {
	w := newTestPool(t)
	w.fake("one.example", healthy, nil)
	w.cfg.PerPrefix = perPrefix
	for _, p := range peers {
		w.cfg.ProxyPeers = append(w.cfg.ProxyPeers, netip.MustParsePrefix(p))
	}
	w.start()
	return w
}

// through opens a connection that begins with the given bytes.
func (w *testPool) through(header []byte) net.Conn {
	w.t.Helper()
	raw, err := w.dial(w.t.Context(), "", "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := raw.Write(header); err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// served runs TLS and one request behind the header and returns the answer.
func (w *testPool) served(header []byte) ([]byte, error) {
	w.t.Helper()
	return w.over(w.through(header))
}

// over runs TLS and one request over a connection and returns the answer.
func (w *testPool) over(raw net.Conn) ([]byte, error) {
	conn := tls.Client(raw, ke.ClientTLS("pool.example", w.ca.Pool(), nil))
	if err := conn.HandshakeContext(w.t.Context()); err != nil {
		return nil, err
	}
	if _, err := conn.Write(request15); err != nil {
		return nil, err
	}
	return io.ReadAll(conn)
}

func TestP07_D3_40_UsersBehindTheBalancer(t *testing.T) {
	w := behind(t, -1, "127.0.0.0/8")
	headers := map[string][]byte{
		"TCP4": proxyFor("203.0.113.77:49152"), "TCP6": proxyFor("[2001:db8:1:2::3]:49152"),
		"TLVs": proxyHeader(proxyProxy, proxyTCP4, append(proxyFor("203.0.113.77:1")[proxyFixed:], tlvs(64)...)), "LOCAL": proxyHeader(proxyLocal, 0, nil),
	}
	for name, header := range headers {
		if answer, err := w.served(header); err != nil || len(answer) < 800 {
			t.Errorf("%s: %d bytes, %v", name, len(answer), err)
		}
	}
	w.requireCount(Served, uint64(len(headers)))
	for _, network := range []string{`"peer":"203.0.113.0/24"`, `"peer":"2001:db8:1::/48"`, `"peer":"127.0.0.0/24"`} {
		if !strings.Contains(w.log.String(), network) {
			t.Errorf("the log does not know %s:\n%s", network, w.log.String())
		}
	}
}

func TestP07_D3_40_RefusedBeforeTLS(t *testing.T) {
	good := proxyFor("192.0.2.1:49152")
	for _, row := range []struct {
		name, trusted string
		bytes         []byte
		eof           bool
	}{
		{"absent when required", "127.0.0.0/8", []byte("\x16\x03\x01\x00\xee"), false},
		{"version 1", "127.0.0.0/8", []byte("PROXY TCP4 192.0.2.1 127.0.0.1 49152 4460\r\n"), false},
		{"UNSPEC", "127.0.0.0/8", proxyHeader(proxyProxy, 0, nil), false},
		{"short", "127.0.0.0/8", proxyHeader(proxyProxy, proxyTCP4, make([]byte, 11)), false},
		{"oversized", "127.0.0.0/8", proxyHeader(proxyProxy, proxyTCP4, make([]byte, 4081)), false},
		{"truncated and EOF", "127.0.0.0/8", good[:14], true},
		{"length beyond the data and EOF", "127.0.0.0/8", good[:20], true},
		{"untrusted peer", "192.0.2.0/24", good, false},
		{"untrusted peer that says nothing", "192.0.2.0/24", nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := behind(t, -1, row.trusted)
			begin := time.Now()
			c := w.through(row.bytes)
			if row.eof {
				_ = c.(*net.TCPConn).CloseWrite()
			}
			if n, err := io.Copy(io.Discard, c); n != 0 {
				t.Errorf("%d bytes, %v", n, err)
			}
			if took := time.Since(begin); took > 5*time.Second { // the limit for the header is 10 s here
				t.Errorf("closed after %v", took)
			}
			w.requireCount(ProxyRefused, 1)
			if lines := w.log.lines(t); !strings.Contains(strings.Join(lines, "\n"), "refused before TLS") {
				t.Errorf("log: %q", lines)
			}
		})
	}
}

// TestP07_SilentBalancer: a header that does not come costs no longer than the limit for TLS.
func TestP07_SilentBalancer(t *testing.T) {
	w := newTestPool(t)
	w.cfg.ProxyPeers = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	w.cfg.HandshakeTimeout = 100 * time.Millisecond
	w.start()
	if n, err := io.Copy(io.Discard, w.through([]byte(proxySignature))); n != 0 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	w.requireCount(ProxyRefused, 1)
}

// TestP07_LimitsAreTheUsers: the balancer's own address counts for nothing, that of each user for as much as without
// a balancer, in whichever form it comes (P14), and even if it is among the trusted ones.
func TestP07_LimitsAreTheUsers(t *testing.T) {
	w := behind(t, 2, "127.0.0.1/32", "10.0.0.0/8")
	open := func(user string) {
		w.t.Helper()
		before := w.pool.tally.read()[OverLimit.String()]
		c := w.through(proxyFor(user))
		conn := tls.Client(c, ke.ClientTLS("pool.example", w.ca.Pool(), nil))
		if err := conn.HandshakeContext(t.Context()); err != nil {
			t.Fatalf("%s: %v (%d over the limit before)", user, err, before)
		}
	}
	for _, user := range []string{"203.0.113.1:1", "203.0.113.1:2", "203.0.113.2:1", "203.0.113.3:1", "10.1.1.1:1", "10.1.1.1:2", "[2001:db8::1]:1"} {
		open(user)
	}
	for i, user := range []string{"203.0.113.1:3", "[::ffff:203.0.113.1]:4", "10.1.1.1:3"} {
		if n, err := io.Copy(io.Discard, w.through(proxyFor(user))); n != 0 || err != nil {
			t.Errorf("%s: %d bytes, %v", user, n, err)
		}
		w.requireCount(OverLimit, uint64(i+1))
	}
	open("203.0.113.2:2")
}

// TestP07_Reload: the list of balancers is replaced with the rest of the configuration.
func TestP07_Reload(t *testing.T) {
	w := behind(t, -1)
	if _, err := w.served(nil); err != nil {
		t.Fatalf("without the protocol: %v", err)
	}
	next := w.cfg
	next.ProxyPeers = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	if err := w.pool.Swap(next); err != nil {
		t.Fatal(err)
	}
	if _, err := w.served(nil); err == nil {
		t.Error("served without the header that is required now")
	}
	if _, err := w.served(proxyFor("203.0.113.1:1")); err != nil {
		t.Errorf("with the header: %v", err)
	}
}

// TestD3_40_HealthChecks: a balancer that looks whether we are there, in whichever way it does, is neither a failed user nor
// worth a line in the log; nor does it use up a place of its network.
func TestD3_40_HealthChecks(t *testing.T) {
	w := behind(t, 1, "127.0.0.0/8")
	local := proxyHeader(proxyLocal, 0, nil)
	greet := func(conf *tls.Config, header []byte) {
		c := w.through(header)
		conn := tls.Client(c, conf)
		_ = conn.HandshakeContext(t.Context())
		_ = conn.Close()
	}
	plain := ke.ClientTLS("pool.example", w.ca.Pool(), nil)
	noALPN := plain.Clone()
	noALPN.NextProtos = nil
	checks := map[string]func(){
		"connection, closed": func() { _ = w.through(nil).Close() },
		"connection, reset":  func() { reset(t, w.through(nil)) },
		"LOCAL, closed":      func() { _ = w.through(local).Close() },
		"LOCAL, reset":       func() { reset(t, w.through(local)) },
		"LOCAL with addresses, closed": func() {
			_ = w.through(proxyHeader(proxyLocal, proxyTCP4, proxyFor("192.0.2.1:1")[proxyFixed:])).Close()
		},
		"LOCAL, TLS":              func() { greet(plain, local) },
		"LOCAL, TLS without ALPN": func() { greet(noALPN, local) },
	}
	n := uint64(0)
	for name, check := range checks {
		check()
		n++
		eventually(t, func() bool { return w.pool.tally.read()[HealthCheck.String()] >= n })
		if got := w.pool.tally.read(); got[HealthCheck.String()] != n || got[ProxyRefused.String()]+got[TLSFailed.String()]+got[Incomplete.String()]+got[NoALPN.String()] != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, line := range w.log.lines(t) {
		if !strings.Contains(line, "listening on") {
			t.Errorf("the log says %q", line)
		}
	}
	if answer, err := w.served(local); err != nil || len(answer) < 800 {
		t.Errorf("a balancer that asks for keys: %d bytes, %v", len(answer), err)
	}
	w.requireCount(Served, 1)
}

// reset closes a connection with a reset, as balancers end their checks.
func reset(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		t.Error(err)
	}
	_ = c.Close()
}

// TestD3_40_HeaderNotExpected: a pool that knows no balancer takes a header for what it is there, no TLS.
func TestD3_40_HeaderNotExpected(t *testing.T) {
	w := behind(t, -1)
	if n, err := io.Copy(io.Discard, w.through(proxyFor("203.0.113.1:1"))); n > 7 { // an alert
		t.Errorf("%d bytes, %v", n, err)
	}
	w.requireCount(TLSFailed, 1)
	if strings.Contains(w.log.String(), "203.0.113.0") {
		t.Error("the header was believed")
	}
}
