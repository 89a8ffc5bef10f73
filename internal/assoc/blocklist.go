package assoc

import (
	"net/netip"
	"slices"
	"time"
)

// maxBlocked bounds the memory of bad addresses; the oldest is forgotten first.
const maxBlocked = 64

// blocklist remembers addresses that are not tried for a while.
type blocklist struct {
	list []blockedAddr // in the order of entry
}

type blockedAddr struct {
	addr  netip.AddrPort
	until time.Time
	meant bool // the server does not want us, or is not to be believed: no change of the network changes that
}

// add enters an address until the given time, or prolongs it.
func (b *blocklist) add(a netip.AddrPort, until time.Time) {
	b.list = slices.DeleteFunc(b.list, func(e blockedAddr) bool { return e.addr == a })
	b.list = append(b.list, blockedAddr{addr: a, until: until})
	if len(b.list) > maxBlocked {
		b.list = slices.Delete(b.list, 0, len(b.list)-maxBlocked)
	}
}

// keep marks an address as one that forgive leaves.
func (b *blocklist) keep(a netip.AddrPort) {
	for i := range b.list {
		b.list[i].meant = b.list[i].meant || b.list[i].addr == a
	}
}

// forgive takes out the addresses that were only silent, and reports whether no other one is left.
func (b *blocklist) forgive() bool {
	b.list = slices.DeleteFunc(b.list, func(e blockedAddr) bool { return !e.meant })
	return len(b.list) == 0
}

// has reports whether an address is on the list.
func (b *blocklist) has(now time.Time, a netip.AddrPort) bool {
	b.list = slices.DeleteFunc(b.list, func(e blockedAddr) bool { return !now.Before(e.until) })
	return slices.ContainsFunc(b.list, func(e blockedAddr) bool { return e.addr == a })
}

// addrs lists the addresses, in the order of entry.
func (b *blocklist) addrs(now time.Time) (list []netip.AddrPort) {
	b.list = slices.DeleteFunc(b.list, func(e blockedAddr) bool { return !now.Before(e.until) })
	for _, e := range b.list {
		list = append(list, e.addr)
	}
	return list
}
