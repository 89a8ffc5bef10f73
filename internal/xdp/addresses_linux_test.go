package xdp

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAddresses: those of the loopback interface are nobody else's, and so are not answered for; but they are the host's own.
func TestAddresses(t *testing.T) {
	h, err := addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range h.local {
		if a.IsLoopback() {
			t.Errorf("%v", a)
		}
	}
	all, err := interfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if _, ok := h.own[a.As16()]; !ok {
			t.Errorf("%v is the host's, and would be answered", a)
		}
	}
}

// TestAddressOf: whose an address is, and what is broadcast, whatever the kernel says of it.
func TestAddressOf(t *testing.T) {
	attribute := func(kind uint16, a string) syscall.NetlinkRouteAttr {
		return syscall.NetlinkRouteAttr{Attr: syscall.RtAttr{Type: kind}, Value: netip.MustParseAddr(a).AsSlice()}
	}
	for _, tt := range []struct {
		name             string
		attributes       []syscall.NetlinkRouteAttr
		bits             int
		local, set, last string
	}{
		{"IPv4", []syscall.NetlinkRouteAttr{attribute(unix.IFA_ADDRESS, "192.0.2.1"), attribute(unix.IFA_LOCAL, "192.0.2.1")}, 26, "192.0.2.1", "", "192.0.2.63"},
		{"with a broadcast address of its own", []syscall.NetlinkRouteAttr{attribute(unix.IFA_LOCAL, "192.0.2.1"), attribute(unix.IFA_BROADCAST, "192.0.2.9"), attribute(unix.IFA_ADDRESS, "192.0.2.1")},
			24, "192.0.2.1", "192.0.2.9", "192.0.2.255"},
		{"the network of the other end", []syscall.NetlinkRouteAttr{attribute(unix.IFA_ADDRESS, "198.51.100.9"), attribute(unix.IFA_LOCAL, "192.0.2.1")}, 24, "192.0.2.1", "", "198.51.100.255"},
		{"two addresses have no broadcast", []syscall.NetlinkRouteAttr{attribute(unix.IFA_ADDRESS, "192.0.2.0"), attribute(unix.IFA_LOCAL, "192.0.2.0")}, 31, "192.0.2.0", "", ""},
		{"four have", []syscall.NetlinkRouteAttr{attribute(unix.IFA_ADDRESS, "192.0.2.1"), attribute(unix.IFA_LOCAL, "192.0.2.1")}, 30, "192.0.2.1", "", "192.0.2.3"},
		{"one address", []syscall.NetlinkRouteAttr{attribute(unix.IFA_ADDRESS, "192.0.2.1")}, 32, "192.0.2.1", "", ""},
		{"everything", []syscall.NetlinkRouteAttr{attribute(unix.IFA_ADDRESS, "192.0.2.1")}, 0, "192.0.2.1", "", "255.255.255.255"},
		{"IPv6", []syscall.NetlinkRouteAttr{attribute(unix.IFA_ADDRESS, "2001:db8::1")}, 16, "2001:db8::1", "", ""},
		{"nothing", []syscall.NetlinkRouteAttr{{Attr: syscall.RtAttr{Type: unix.IFA_ADDRESS}, Value: []byte{1}}}, 24, "", "", ""},
	} {
		a := addressOf(tt.attributes)
		for _, row := range []struct {
			what string
			got  netip.Addr
			want string
		}{{"own", a.local, tt.local}, {"broadcast", a.broadcast, tt.set}, {"last", lastOf(a.network, tt.bits), tt.last}} {
			if want, _ := netip.ParseAddr(row.want); row.got != want {
				t.Errorf("%s: %s %v, want %v", tt.name, row.what, row.got, want)
			}
		}
	}
}

// interfaceAddrs are the addresses of all interfaces as the standard library reads them.
func interfaceAddrs() (list []netip.Addr, err error) {
	all, err := net.InterfaceAddrs()
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			return nil, err
		}
		list = append(list, p.Addr())
	}
	return list, err
}
