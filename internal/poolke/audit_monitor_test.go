package poolke

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/poolmonitor"
)

// askerFor is the NTP side of a probe of a server at that port, whose keys and cookies mean nothing to anybody.
func askerFor(t *testing.T, name string, port uint16, found ...string) *timeAsker {
	t.Helper()
	keys, err := keysFor(nts.Choice{Algorithm: aead.SIVCMAC256})
	if err != nil {
		t.Fatal(err)
	}
	return &timeAsker{
		scale: scale{start: time.Now()}, timeout: 200 * time.Millisecond, backend: &pool.Backend{Domain: "one.example", Names: []string{"ntp.one.example"}}, keys: &keys, stock: 2,
		answer: &record.Response{Server: name, Port: port, Cookies: [][]byte{make([]byte, 104)}},
		lookup: func(_ context.Context, asked string) (list []netip.Addr, err error) {
			if asked != name+"." {
				t.Errorf("looked up %q", asked)
			}
			if len(found) == 0 {
				return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
			}
			for _, f := range found {
				list = append(list, netip.MustParseAddr(f))
			}
			return list, nil
		},
	}
}

// TestAudit03_ICMPIsNoAnswer: "port unreachable", which the kernel of this host says at once and anybody may forge, is no answer: the probe
// waits for its time, and fails as one that nobody answered.
func TestAudit03_ICMPIsNoAnswer(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	port := c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	_ = c.Close() // nobody is there any more
	began := time.Now()
	a := askerFor(t, "one.example", port, "127.0.0.1").ask(t.Context(), poolmonitor.IPv4, 0)
	if a.Outcome != poolmonitor.Silent || time.Since(began) < 200*time.Millisecond {
		t.Errorf("%v after %v", a.Outcome, time.Since(began))
	}
}

// TestMonitor_Addresses: where a user would be sent. Names that the operator wrote may stand for any address; others must lead to the outside.
func TestMonitor_Addresses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		family poolmonitor.Family
		found  []string
		want   poolmonitor.Outcome
		cause  string
	}{
		{"one.example", poolmonitor.IPv4, []string{"10.1.2.3", "2001:db8::1"}, poolmonitor.Good, ""},
		{"ntp.one.example", poolmonitor.IPv4, []string{"127.0.0.1"}, poolmonitor.Good, ""},
		{"elsewhere.example", poolmonitor.IPv4, []string{"127.0.0.1", "2001:db8::1"}, poolmonitor.BadAnswer, "address is not public"},
		{"elsewhere.example", poolmonitor.IPv6, []string{"127.0.0.1", "2001:db8::1"}, poolmonitor.Good, ""},
		{"elsewhere.example", poolmonitor.IPv6, []string{"192.0.2.1"}, poolmonitor.NoAddress, ""},
		{"elsewhere.example", poolmonitor.IPv4, []string{"::ffff:192.0.2.1"}, poolmonitor.Good, ""},
		{"elsewhere.example", poolmonitor.IPv4, nil, poolmonitor.NoName, "name"},
		{"192.0.2.7", poolmonitor.IPv4, nil, poolmonitor.Good, ""},
		{"192.0.2.7", poolmonitor.IPv6, nil, poolmonitor.NoAddress, ""},
		{"169.254.1.1", poolmonitor.IPv4, nil, poolmonitor.BadAnswer, "address is not public"},
	} {
		_, a := askerFor(t, tt.name, 123, tt.found...).address(t.Context(), tt.family)
		if a.Outcome != tt.want || a.Cause != tt.cause {
			t.Errorf("%s %v over %v: %v, %q", tt.name, tt.found, tt.family, a.Outcome, a.Cause)
		}
	}
}

// TestScale: the scale of the monitor runs with the host's clock as long as nobody sets that, and a stamp of the kernel is a reading of it.
func TestScale(t *testing.T) {
	s := scale{start: time.Now().Add(-time.Hour)}
	if d := s.ahead(); d.Abs() > stepSlack {
		t.Errorf("%v ahead", d)
	}
	stepped := scale{start: time.Now().Round(0).Add(-3 * time.Second)} // without a monotonic reading
	if d := stepped.Now().Sub(s.Map(s.Now())); d.Abs() > 20*time.Millisecond {
		t.Errorf("%v apart", d)
	}
	if s.Epoch() != 0 {
		t.Error("the scale is never stepped")
	}
}
