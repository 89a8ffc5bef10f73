package xdp

import (
	"encoding/binary"
	"net/netip"

	"ntp-daemon/internal/fastpath"
)

// destination is an address with a port: struct destination of ntp.c.
type destination struct {
	Address [16]byte
	Port    [2]byte // the highest first
	_       uint16
}

// served is what answers there: struct listener of ntp.c.
type served struct {
	Index    uint16
	Versions uint8
	Checks   uint8
	_        uint32
}

// maxDestinations is how many fit into the program's map.
const maxDestinations = 1024

// destinations are the addresses of the interface with what listens there. An address goes to the socket that the kernel would
// choose: one of just that address before one of all. Where that socket has no fast path, nothing answers.
func destinations(policy *fastpath.Interface, addrs []netip.Addr) map[destination]served {
	all := map[destination]served{}
	for _, a := range addrs {
		for _, port := range ports(policy) {
			i := closest(policy, a, port)
			if i < 0 || !policy.Listeners[i].Fast || len(all) == maxDestinations {
				continue
			}
			l := &policy.Listeners[i]
			s := served{Index: uint16(i), Versions: l.Versions}
			if len(l.Deny) > 0 {
				s.Checks |= 1 << denyList
			}
			if allows(l) {
				s.Checks |= 1 << allowList
			}
			d := destination{Address: a.As16()}
			binary.BigEndian.PutUint16(d.Port[:], port)
			all[d] = s
		}
	}
	return all
}

// ports are those that anybody listens on; one that several share comes several times, which does no harm.
func ports(policy *fastpath.Interface) (list []uint16) {
	for i := range policy.Listeners {
		list = append(list, policy.Listeners[i].Address.Port())
	}
	return list
}

// closest is the listener whose socket gets what is sent to a, or -1. All of IPv6 has IPv4 too, but gives way to all of IPv4.
func closest(policy *fastpath.Interface, a netip.Addr, port uint16) int {
	best, rank := -1, 0
	for i := range policy.Listeners {
		l := policy.Listeners[i].Address
		if l.Port() != port {
			continue
		}
		own := l.Addr().Unmap()
		if zone := own.Zone(); zone != "" && zone != policy.Name {
			continue
		}
		r := 0
		switch {
		case own.WithZone("") == a:
			r = 3
		case own.IsUnspecified() && own.Is4() == a.Is4():
			r = 2
		case own.IsUnspecified() && own.Is6():
			r = 1
		}
		if r > rank {
			best, rank = i, r
		}
	}
	return best
}
