package xdp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxOwn is how many addresses of the host the program can know. A host with more is not served in the driver: one that is
// missing would be answered.
const maxOwn = 1 << 16

// hostAddresses are what the kernel knows as the host's own.
type hostAddresses struct {
	local []netip.Addr       // of the one interface, that others can send to
	own   map[[16]byte]uint8 // of all interfaces, with the broadcast addresses of their networks; IPv4 as ::ffff:a.b.c.d
}

// unusable are the states of an address that the kernel does not answer from either: not yet known to be unique, or known not
// to be.
const unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED

// addresses reads those of the host, with those of one interface apart.
func addresses(index int) (*hostAddresses, error) {
	rib, err := syscall.NetlinkRIB(unix.RTM_GETADDR, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("read the addresses: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return nil, fmt.Errorf("read the addresses: %w", err)
	}
	h := &hostAddresses{own: map[[16]byte]uint8{}}
	for i := range messages {
		m := &messages[i]
		if m.Header.Type != unix.RTM_NEWADDR || len(m.Data) < unix.SizeofIfAddrmsg {
			continue
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(m)
		if err != nil {
			return nil, fmt.Errorf("read the addresses: %w", err)
		}
		bits, flags, of := int(m.Data[1]), m.Data[2], binary.NativeEndian.Uint32(m.Data[4:]) // struct ifaddrmsg, rtnetlink(7)
		a := addressOf(attributes)
		for _, never := range []netip.Addr{a.local, a.broadcast, lastOf(a.network, bits)} {
			if never.IsValid() {
				h.own[never.As16()] = 1
			}
		}
		if int(of) == index && flags&unusable == 0 && a.local.IsValid() && !a.local.IsLoopback() {
			h.local = append(h.local, a.local)
		}
	}
	if len(h.own) > maxOwn {
		return nil, fmt.Errorf("the host has %d addresses, %d is the most", len(h.own), maxOwn)
	}
	return h, nil
}

// address is what one netlink message says. What it does not say is the zero Addr.
type address struct {
	local     netip.Addr // our own
	network   netip.Addr // some address of the network: our own, or that of the other end
	broadcast netip.Addr // that was set; it need not be the network's last
}

// addressOf reads a message: our own address is IFA_LOCAL, or IFA_ADDRESS where that is absent, as it is with IPv6.
func addressOf(attributes []syscall.NetlinkRouteAttr) (a address) {
	for i := range attributes {
		got, ok := netip.AddrFromSlice(attributes[i].Value)
		if !ok {
			continue
		}
		switch got = got.Unmap(); attributes[i].Attr.Type {
		case unix.IFA_LOCAL:
			a.local = got
		case unix.IFA_ADDRESS:
			a.network = got
		case unix.IFA_BROADCAST:
			a.broadcast = got
		}
	}
	if !a.local.IsValid() {
		a.local = a.network
	}
	return a
}

// lastOf is the last address of an IPv4 network, which the kernel takes for its broadcast address whatever was set; the zero
// Addr where it does not: with IPv6, and in networks of one or two addresses (RFC 3021).
func lastOf(a netip.Addr, bits int) netip.Addr {
	if !a.Is4() || bits < 0 || bits > 30 {
		return netip.Addr{}
	}
	b := a.As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|^uint32(0)>>bits)
	return netip.AddrFrom4(b)
}
