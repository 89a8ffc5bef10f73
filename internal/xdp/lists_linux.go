package xdp

import (
	"net/netip"

	"ntp-daemon/internal/fastpath"
)

// listed is an entry of the access lists: struct listed of ntp.c.
type listed struct {
	PrefixLen uint32
	Listener  uint16
	List      uint8
	Family    uint8
	Address   [16]byte
}

// The access lists: enum list of ntp.c.
const (
	denyList uint8 = iota
	allowList
)

// beforeAddress is how many bits of an entry stand before the address and are always compared.
const beforeAddress = 32

// listEntries are the access lists of all listeners with a fast path.
func listEntries(policy *fastpath.Interface) (entries []listed) {
	for i := range policy.Listeners {
		l := &policy.Listeners[i]
		if !l.Fast {
			continue
		}
		for _, p := range l.Deny {
			entries = append(entries, entry(i, denyList, p))
		}
		if allows(l) {
			for _, p := range l.Allow {
				entries = append(entries, entry(i, allowList, p))
			}
		}
	}
	return entries
}

func entry(listener int, list uint8, p netip.Prefix) listed {
	e := listed{Listener: uint16(listener), List: list, Family: 6, Address: p.Addr().As16()}
	bits := p.Bits()
	if p.Addr().Is4() {
		e.Family, bits = 4, bits+96
	}
	e.PrefixLen = beforeAddress + uint32(bits)
	return e
}

// allows reports whether the allow list has to be looked at: one that holds both families as a whole lets everybody in.
func allows(l *fastpath.Listener) bool {
	four, six := false, false
	for _, p := range l.Allow {
		if p.Bits() == 0 {
			four, six = four || p.Addr().Is4(), six || !p.Addr().Is4()
		}
	}
	return l.Limited && !(four && six)
}
