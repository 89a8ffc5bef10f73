package xdp

import (
	"net/netip"
	"testing"

	"ntp-daemon/internal/fastpath"
)

// TestClosest: what is sent to an address is that socket's which the kernel would choose.
func TestClosest(t *testing.T) {
	for _, tt := range []struct {
		name    string
		listens []string
		to      string
		want    int
	}{
		{"all of IPv6 has IPv4, too", []string{"[::]:123"}, "192.0.2.1", 0},
		{"and IPv6", []string{"[::]:123"}, "2001:db8::1", 0},
		{"all of IPv4 takes its own", []string{"[::]:123", "0.0.0.0:123"}, "192.0.2.1", 1},
		{"and nothing else", []string{"0.0.0.0:123"}, "2001:db8::1", -1},
		{"one address before all", []string{"[::]:123", "192.0.2.1:123", "0.0.0.0:123"}, "192.0.2.1", 1},
		{"another address", []string{"192.0.2.2:123"}, "192.0.2.1", -1},
		{"another port", []string{"[::]:124"}, "192.0.2.1", -1},
		{"mapped", []string{"[::ffff:192.0.2.1]:123"}, "192.0.2.1", 0},
		{"link-local of this interface", []string{"[fe80::1%eth0]:123"}, "fe80::1", 0},
		{"link-local of another", []string{"[fe80::1%eth1]:123"}, "fe80::1", -1},
	} {
		p := &fastpath.Interface{Name: "eth0"}
		for _, l := range tt.listens {
			p.Listeners = append(p.Listeners, fastpath.Listener{Address: netip.MustParseAddrPort(l)})
		}
		if got := closest(p, netip.MustParseAddr(tt.to), 123); got != tt.want {
			t.Errorf("%s: listener %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestDestinations: only servers with a fast path have any, and lists are looked at only where there are some.
func TestDestinations(t *testing.T) {
	deny := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	p := &fastpath.Interface{Name: "eth0", Listeners: []fastpath.Listener{
		{Address: netip.MustParseAddrPort("[::]:123"), Fast: true, Versions: 0x18, Deny: deny},
		{Address: netip.MustParseAddrPort("192.0.2.2:123"), Versions: 0x18},
		{Address: netip.MustParseAddrPort("192.0.2.1:124"), Fast: true, Limited: true, Versions: 8},
	}}
	got := destinations(p, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("fe80::1")})
	at := func(s string, port byte) destination {
		return destination{Address: netip.MustParseAddr(s).As16(), Port: [2]byte{0, port}}
	}
	want := map[destination]served{
		at("192.0.2.1", 123): {Versions: 0x18, Checks: 1 << denyList},
		at("fe80::1", 123):   {Versions: 0x18, Checks: 1 << denyList},
		at("192.0.2.1", 124): {Index: 2, Versions: 8, Checks: 1 << allowList},
	}
	if len(got) != len(want) {
		t.Errorf("%d destinations: %v", len(got), got)
	}
	for d, s := range want {
		if got[d] != s {
			t.Errorf("%v: %v, want %v", d, got[d], s)
		}
	}
}
