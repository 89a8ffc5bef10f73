package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

var ownAddrs = []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::1")}

func TestC28_AddressesThatAreNotAsked(t *testing.T) {
	for _, c := range []struct {
		addr    string
		port    uint16
		trusted bool
		want    Reason
	}{
		{"192.0.2.1", 123, false, Usable},
		{"2001:db8::2", 123, false, Usable},
		{"10.0.0.1", 123, false, Usable},
		{"0.0.0.0", 123, false, Unspecified},
		{"0.1.2.3", 123, false, Unspecified},
		{"::", 123, false, Unspecified},
		{"0.0.0.0", 123, true, Unspecified},
		{"224.0.0.1", 123, false, Multicast},
		{"ff02::101", 123, true, Multicast},
		{"255.255.255.255", 123, false, Broadcast},
		{"240.0.0.1", 123, true, Broadcast},
		{"127.0.0.1", 123, false, Loopback},
		{"127.9.9.9", 1123, false, Loopback},
		{"::1", 123, false, Loopback},
		{"::ffff:127.0.0.1", 123, false, Loopback},
		{"127.0.0.1", 123, true, Usable},
		{"::1", 123, true, Usable},
		{"fe80::1", 123, false, LinkLocal},
		{"fe80::1", 123, true, LinkLocal}, // written out without zone: it leads nowhere
		{"fe80::1%eth0", 123, false, Usable},
		{"169.254.1.1", 123, false, Usable},
		{"198.51.100.1", 123, false, Own},
		{"::ffff:198.51.100.1", 123, false, Own},
		{"2001:db8::1", 123, false, Own},
		{"198.51.100.1", 1123, false, Usable}, // another service of this host
		{"198.51.100.1", 123, true, Usable},   // written out by the operator
	} {
		if got := check(netip.MustParseAddr(c.addr).Unmap(), c.port, c.trusted, ownAddrs); got != c.want {
			t.Errorf("%s port %d trusted %v: %s, want %s", c.addr, c.port, c.trusted, got, c.want)
		}
	}
	if check(netip.Addr{}, 123, true, nil) != Unspecified {
		t.Error("the zero address is used")
	}
}

// fixed is a resolver whose look-ups give these addresses.
func fixed(addrs ...string) *Resolver {
	r := New(Config{Own: func() []netip.Addr { return ownAddrs }})
	r.lookup = func(context.Context, string) ([]netip.Addr, error) {
		var out []netip.Addr
		for _, a := range addrs {
			out = append(out, netip.MustParseAddr(a))
		}
		return out, nil
	}
	return r
}

func TestC28_NameForThisHost(t *testing.T) {
	r := fixed("127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "224.0.0.1", "198.51.100.1")
	a, err := r.Lookup(t.Context(), "ntp.example", 123)
	if !errors.Is(err, ErrNoUsable) || len(a.Addrs) != 0 || len(a.Refused) != 4 {
		t.Errorf("%v %+v", err, a)
	}
	for _, host := range []string{"localhost", "LOCALHOST.", "ntp.localhost"} {
		a, err := fixed("::1", "127.0.0.1", "224.0.0.1").Lookup(t.Context(), host, 123)
		if err != nil || fmt.Sprint(a.Addrs) != "[127.0.0.1:123 [::1]:123]" || len(a.Refused) != 1 {
			t.Errorf("%s: %v %+v", host, err, a)
		}
	}
}

func TestLookup_WrittenOut(t *testing.T) {
	for host, want := range map[string]string{
		"127.0.0.1": "127.0.0.1:1123", "::1": "[::1]:1123", "::ffff:192.0.2.7": "192.0.2.7:1123", "fe80::1%lo": "[fe80::1%lo]:1123",
	} {
		a, err := fixed().Lookup(t.Context(), host, 1123)
		if err != nil || len(a.Addrs) != 1 || a.Addrs[0].String() != want {
			t.Errorf("%s: %v %+v", host, err, a)
		}
	}
	for _, host := range []string{"", strings.Repeat("a", 255), "0.0.0.0", "ff02::1", "fe80::a"} {
		if _, err := fixed().Lookup(t.Context(), host, 123); err == nil {
			t.Errorf("%q passes", host)
		}
	}
}

func TestC29_CapAndDoubles(t *testing.T) {
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("192.0.2.%d", i))
	}
	a, err := fixed(many...).Lookup(t.Context(), "pool.example", 123)
	if err != nil || len(a.Addrs) != maxAddresses {
		t.Errorf("%v, %d addresses", err, len(a.Addrs))
	}
	a, err = fixed("192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::9").Lookup(t.Context(), "pool.example", 123)
	if err != nil || len(a.Addrs) != 2 {
		t.Errorf("%v %v", err, a.Addrs)
	}
	a, _ = fixed(slices.Repeat([]string{"224.0.0.1"}, 1000)...).Lookup(t.Context(), "pool.example", 123)
	if len(a.Refused) != 1 {
		t.Errorf("%d refused", len(a.Refused))
	}
}

func TestC29_HangingNameServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		r.lookup = func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		began := time.Now()
		_, err := r.Lookup(t.Context(), "ntp.example", 123)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != defaultTimeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// nameServer answers every question on a loopback socket until the test ends; nil means silence.
func nameServer(t *testing.T, answer func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource)) Config {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			code, rr := answer(m.Questions[0])
			m.Response, m.RCode, m.Answers, m.Additionals = true, code, rr, nil
			if b, err := m.Pack(); err == nil {
				_, _ = pc.WriteTo(b, from)
			}
		}
	}()
	return Config{Own: func() []netip.Addr { return nil }, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp4", pc.LocalAddr().String())
	}}
}

func TestLookup_RealNameServer(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	c := nameServer(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
		switch {
		case strings.HasPrefix(q.Name.String(), "gone."):
			return dnsmessage.RCodeNameError, nil
		case strings.HasPrefix(q.Name.String(), "broken."):
			return dnsmessage.RCodeServerFailure, nil
		case q.Type == dnsmessage.TypeA:
			return dnsmessage.RCodeSuccess, []dnsmessage.Resource{
				{Header: h, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}},
				{Header: h, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}},
			}
		case q.Type == dnsmessage.TypeAAAA:
			return dnsmessage.RCodeSuccess, []dnsmessage.Resource{
				{Header: h, Body: &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::123").As16()}},
			}
		}
		return dnsmessage.RCodeSuccess, nil
	})
	r := New(c)
	a, err := r.Lookup(t.Context(), "pool.ntp-daemon.test.", 123)
	slices.SortFunc(a.Addrs, netip.AddrPort.Compare)
	if err != nil || fmt.Sprint(a.Addrs) != "[192.0.2.1:123 [2001:db8::123]:123]" || len(a.Refused) != 1 {
		t.Errorf("%v %+v", err, a)
	}
	for _, host := range []string{"gone.test.", "broken.test."} {
		var dnsErr *net.DNSError
		if _, err := r.Lookup(t.Context(), host, 123); !errors.As(err, &dnsErr) {
			t.Errorf("%s: %v", host, err)
		}
	}
	for range 100 { // C29: the look-ups leave nothing behind but the name server of the test
		if runtime.NumGoroutine() <= goroutines+1 {
			return
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
}

// TestLookup_LocalhostWithoutHostsFile: a name that RFC 6761 §6.3 ties to loopback, here one that no hosts file has,
// needs neither a line in it nor a name server, which is not even asked.
func TestLookup_LocalhostWithoutHostsFile(t *testing.T) {
	r := New(Config{Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("a name server is asked")
		return nil, errNoNameServer
	}})
	want := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:4460"), netip.MustParseAddrPort("[::1]:4460")}
	for _, host := range []string{"demo.localhost", "Demo.LOCALHOST."} {
		if a, err := r.Lookup(context.Background(), host, 4460); err != nil || !slices.Equal(a.Addrs, want) {
			t.Errorf("%s: %v, %v", host, a.Addrs, err)
		}
	}
}

// TestLookup_Localhost asks the machine itself: a server name that a key exchange gave is absolute.
func TestLookup_Localhost(t *testing.T) {
	for _, host := range []string{"localhost", "localhost."} {
		a, err := New(Config{}).Lookup(t.Context(), host, 123)
		if err != nil || !a.Addrs[0].Addr().IsLoopback() {
			t.Errorf("%s: %v %v", host, err, a.Addrs)
		}
	}
}

func TestReason_Names(t *testing.T) {
	seen := map[string]bool{}
	for r := Usable; r <= Inward; r++ {
		if s := r.String(); seen[s] || strings.HasPrefix(s, "reason(") {
			t.Errorf("%d: %q", r, s)
		} else {
			seen[s] = true
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add([]byte{192, 0, 2, 1, 127, 0, 0, 1}, uint16(123), false)
	f.Add(make([]byte, 800), uint16(123), true)
	f.Fuzz(func(t *testing.T, b []byte, port uint16, trusted bool) {
		var raw []netip.Addr
		for i := 0; i+16 <= len(b); i += 16 {
			raw = append(raw, netip.AddrFrom4([4]byte(b[i:])), netip.AddrFrom16([16]byte(b[i:])))
		}
		a := filter(raw, port, trusted, ownAddrs)
		if len(a.Addrs) > maxAddresses || len(a.Refused) > maxAddresses {
			t.Fatalf("%d addresses, %d refused", len(a.Addrs), len(a.Refused))
		}
		seen := map[netip.AddrPort]bool{}
		for _, ap := range a.Addrs {
			if seen[ap] || ap.Addr().Is4In6() || ap.Addr().IsMulticast() || ap.Addr().IsUnspecified() || ap.Port() != port ||
				!trusted && ap.Addr().IsLoopback() {
				t.Fatalf("%s must not be used", ap)
			}
			seen[ap] = true
		}
	})
}

// A Server record is an absolute name; the hosts file must still be asked for it.
func TestLookup_RootedNameOfTheHostsFile(t *testing.T) {
	a, err := New(Config{}).Lookup(context.Background(), "localhost.", 123)
	if err != nil || len(a.Addrs) == 0 {
		t.Fatalf("%+v, %v", a, err)
	}
}
