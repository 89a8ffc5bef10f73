package server

import (
	"errors"
	"net/netip"
	"testing"

	"ntp-daemon/internal/ntp"
)

func prefixes(list ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func mustAccess(t *testing.T, deny Rule, allow *Rule) *Access {
	t.Helper()
	a, err := NewAccess(deny, allow)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestS05_ImpossibleAddresses(t *testing.T) {
	for _, from := range []string{
		"192.0.2.7:0", "0.0.0.0:123", "0.1.2.3:123", "255.255.255.255:123", "224.0.0.1:123", "239.255.255.255:99",
		"[::]:123", "[ff02::1]:123", "[2001:db8::1]:0",
	} {
		b := newBench(Config{})
		b.from = netip.MustParseAddrPort(from)
		b.expect(t, header(0x23), ImpossibleAddress, 0)
	}
	for _, to := range []string{"224.0.1.1:123", "255.255.255.255:123", "[ff05::101]:123"} {
		b := newBench(Config{})
		b.to = netip.MustParseAddrPort(to)
		b.expect(t, header(0x23), ImpossibleAddress, 0)
	}
	b := newBench(Config{})
	b.from = b.to
	b.expect(t, header(0x23), OwnAddress, 0)
	// A client on the server's own host has the same address and another port.
	b.from = netip.AddrPortFrom(b.to.Addr(), 50000)
	b.expect(t, header(0x23), Answered, 48)
	// What the platform cannot tell proves nothing.
	b.from, b.to = testClient, netip.AddrPort{}
	b.expect(t, header(0x23), Answered, 48)
	b.from, b.to = netip.MustParseAddrPort("127.0.0.1:5000"), netip.MustParseAddrPort("0.0.0.0:123")
	b.expect(t, header(0x23), Answered, 48)
}

func TestS17_AccessLists(t *testing.T) {
	for _, row := range []struct {
		name  string
		deny  []netip.Prefix
		allow []netip.Prefix
		from  string
		want  Verdict
	}{
		{"denied", prefixes("10.0.0.0/8"), nil, "10.255.255.255", Denied},
		{"denied, mapped prefix", prefixes("::ffff:10.0.0.0/104"), nil, "10.1.2.3", Denied},
		{"below", prefixes("10.0.0.0/8"), nil, "9.255.255.255", Answered},
		{"above", prefixes("10.0.0.0/8"), nil, "11.0.0.0", Answered},
		{"host bits in the prefix", prefixes("10.9.9.9/8"), nil, "10.0.0.0", Denied},
		{"everybody", prefixes("0.0.0.0/0"), nil, "192.0.2.1", Denied},
		{"everybody of the other family", prefixes("0.0.0.0/0"), nil, "2001:db8::1", Answered},
		{"v6", prefixes("2001:db8::/32"), nil, "2001:db8:ffff::1", Denied},
		{"v6 beyond", prefixes("2001:db8::/32"), nil, "2001:db9::", Answered},
		{"::/0 is not IPv4", prefixes("::/0"), nil, "192.0.2.1", Answered},
		{"not allowed", nil, prefixes("192.0.2.0/24"), "192.0.3.0", AccessIgnored},
		{"allowed", nil, prefixes("192.0.2.0/24"), "192.0.2.255", Answered},
		{"deny wins", prefixes("192.0.2.128/25"), prefixes("192.0.2.0/24"), "192.0.2.200", Denied},
		{"nobody allowed", nil, []netip.Prefix{}, "192.0.2.1", AccessIgnored},
		{"nested prefixes", prefixes("10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/24"), nil, "10.200.0.1", Denied},
		{"neighbours", prefixes("10.0.0.0/9", "10.128.0.0/9"), nil, "10.128.0.0", Denied},
	} {
		t.Run(row.name, func(t *testing.T) {
			var allow *Rule
			if row.allow != nil {
				allow = &Rule{row.allow, Ignore}
			}
			b := newBench(Config{Access: mustAccess(t, Rule{row.deny, Deny}, allow)})
			b.from = netip.AddrPortFrom(netip.MustParseAddr(row.from).Unmap(), 5000)
			reply := b.expect(t, header(0x23), row.want, -1)
			if row.want == Denied {
				checkKiss(t, reply, ntp.KissDENY)
			}
		})
	}
}

// S17, CVE-2015-1821: every mask length, its first and last address and the neighbours.
func TestS17_EveryMaskLength(t *testing.T) {
	for _, base := range []string{"172.21.203.77", "2001:db8:1234:5678:9abc:def0:1357:9bdf"} {
		addr := netip.MustParseAddr(base)
		for bits := range addr.BitLen() + 1 {
			p := netip.PrefixFrom(addr, bits)
			a := mustAccess(t, Rule{[]netip.Prefix{p}, Deny}, nil)
			s, err := prefixSpan(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range []netip.Addr{s.first, s.last, s.first.Prev(), s.last.Next(), addr} {
				if !x.IsValid() || x.BitLen() != addr.BitLen() {
					continue
				}
				if got := a.Check(x) == Deny; got != p.Contains(x) {
					t.Errorf("%v contains %v: %v", p, x, got)
				}
			}
		}
	}
}

func TestF08_MappedPrefixShorterThan96(t *testing.T) {
	p := netip.PrefixFrom(netip.MustParseAddr("::ffff:1.2.3.0"), 95)
	if _, err := NewAccess(Rule{Prefixes: []netip.Prefix{p}}, nil); !errors.Is(err, ErrPrefix) {
		t.Errorf("error %v", err)
	}
	if _, err := NewAccess(Rule{}, &Rule{Prefixes: []netip.Prefix{{}}}); err == nil {
		t.Error("invalid prefix was taken")
	}
}

func TestS18_LoopbackOnTheWire(t *testing.T) {
	b := newBench(Config{Access: mustAccess(t, Rule{}, &Rule{prefixes("127.0.0.0/8", "::1/128"), Ignore})})
	for _, row := range []struct {
		from, to string
		want     Verdict
	}{
		{"[::1]:5000", "[2001:db8::1]:123", ImpossibleAddress},
		{"127.0.0.1:5000", "198.51.100.1:123", ImpossibleAddress},
		{"127.0.0.1:5000", "127.0.0.2:123", Answered},
		{"[::1]:5000", "[::1]:123", Answered},
	} {
		b.from, b.to = netip.MustParseAddrPort(row.from), netip.MustParseAddrPort(row.to)
		b.expect(t, header(0x23), row.want, -1)
	}
}

// Each range that a quick look may pass or not has its two ends here.
func TestAdmitAddresses_Edges(t *testing.T) {
	b := newBench(Config{})
	for _, row := range []struct {
		address  string
		from, to Verdict // as the source, and as the destination, of an ordinary host
	}{
		{"0.0.0.0", ImpossibleAddress, Answered}, // an unknown destination is not judged
		{"0.255.255.255", ImpossibleAddress, Answered},
		{"1.0.0.0", Answered, Answered},
		{"126.255.255.255", Answered, Answered},
		{"127.0.0.0", ImpossibleAddress, Answered},
		{"127.255.255.255", ImpossibleAddress, Answered},
		{"128.0.0.0", Answered, Answered},
		{"223.255.255.255", Answered, Answered},
		{"224.0.0.0", ImpossibleAddress, ImpossibleAddress},
		{"239.255.255.255", ImpossibleAddress, ImpossibleAddress},
		{"255.255.255.255", ImpossibleAddress, ImpossibleAddress},
	} {
		a := netip.MustParseAddr(row.address)
		b.from, b.to = netip.AddrPortFrom(a, 5000), testServer
		if _, got := b.ask(header(0x23)); got != row.from {
			t.Errorf("from %v: %v", a, got)
		}
		b.from, b.to = testClient, netip.AddrPortFrom(a, 123)
		if _, got := b.ask(header(0x23)); got != row.to {
			t.Errorf("to %v: %v", a, got)
		}
	}
	b.from, b.to = netip.AddrPortFrom(testServer.Addr(), 5000), testServer
	b.expect(t, header(0x23), Answered, 48) // from the server's own host
	b.from = testServer
	b.expect(t, header(0x23), OwnAddress, 0)
	b.from = netip.AddrPortFrom(testClient.Addr(), 0)
	b.expect(t, header(0x23), ImpossibleAddress, 0)
}

// Lists that let everybody in are told by what is in them, not by their length.
func TestAccess_Everybody(t *testing.T) {
	all := prefixes("0.0.0.0/0", "::/0")
	some := netip.MustParseAddr("198.51.100.1")
	for _, row := range []struct {
		deny, allow []netip.Prefix
		v4, v6      Action
	}{
		{nil, all, Allow, Allow},
		{nil, prefixes("::/0", "0.0.0.0/0", "192.0.2.0/24"), Allow, Allow},
		{nil, prefixes("0.0.0.0/0"), Allow, Deny},
		{nil, prefixes("::/0"), Deny, Allow},
		{nil, prefixes("0.0.0.0/1", "::/0"), Deny, Allow},
		{nil, prefixes("128.0.0.0/1", "::/1"), Allow, Allow},
		{prefixes("198.51.100.0/24"), all, Ignore, Allow},
		{prefixes("::/0"), all, Allow, Ignore},
	} {
		a := mustAccess(t, Rule{row.deny, Ignore}, &Rule{row.allow, Deny})
		if v4, v6 := a.Check(some), a.Check(netip.MustParseAddr("2001:db8::1")); v4 != row.v4 || v6 != row.v6 {
			t.Errorf("%v, %v: %v, %v", row.deny, row.allow, v4, v6)
		}
	}
}

// checkAccess compares membership with the plain definition: list holds prefixes of five bytes.
func checkAccess(t *testing.T, list, addr []byte) {
	t.Helper()
	if len(addr) < 4 {
		return
	}
	a := netip.AddrFrom4([4]byte(addr[:4]))
	var rules []netip.Prefix
	want := false
	for ; len(list) >= 5; list = list[5:] {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte(list[:4])), int(list[4])%33)
		rules = append(rules, p)
		want = want || p.Contains(a)
	}
	access := mustAccess(t, Rule{rules, Deny}, nil)
	if got := access.Check(a) == Deny; got != want {
		t.Fatalf("%v in %v: %v", a, rules, got)
	}
}

func TestAccess_SameAsLinearSearch(t *testing.T) {
	rnd := new(testRand)
	list, addr := make([]byte, 5*12), make([]byte, 4)
	for range 300 {
		_, _ = rnd.Read(list)
		for i := 0; i < len(list); i += 5 {
			list[i], list[i+1], list[i+4] = 10, list[i+1]&3, 8+list[i+4]%25
		}
		for range 50 {
			_, _ = rnd.Read(addr)
			addr[0], addr[1] = 10, addr[1]&3
			checkAccess(t, list, addr)
		}
	}
}
