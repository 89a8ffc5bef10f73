package resolve

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ntp-daemon/internal/ntp"
)

// maxAddresses bounds what one look-up contributes, whatever the name server sends (C29). The largest count of
// sources anyone configures for one pool stays below it.
const maxAddresses = 32

// Reason says why an address that a name stands for is not asked for time.
type Reason uint8

// The reasons, in the order in which they are tested.
const (
	Usable      Reason = iota
	Unspecified        // 0.0.0.0/8, ::
	Multicast          // 224.0.0.0/4, ff00::/8
	Broadcast          // 255.255.255.255, 240.0.0.0/4
	Loopback           // from a name other than localhost (CVE-2016-1551)
	LinkLocal          // without a zone an IPv6 link-local address leads nowhere
	Own                // our own address at port 123: we would follow ourselves
	Inward             // named by a key exchange server that is not that near to us itself
)

// String names the reason in the words of a log line.
func (r Reason) String() string {
	switch r {
	case Usable:
		return "usable"
	case Unspecified:
		return "unspecified address"
	case Multicast:
		return "multicast address"
	case Broadcast:
		return "broadcast or reserved address"
	case Loopback:
		return "loopback address for a name other than localhost"
	case LinkLocal:
		return "link-local address without a zone"
	case Own:
		return "our own address"
	case Inward:
		return "nearer to this host than the key exchange server that named it"
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Refusal is an address that a name stands for and that is not used.
type Refusal struct {
	Addr   netip.Addr
	Reason Reason
}

// Answer is what a name stands for. No address appears twice, none is IPv4-mapped, and the order is that of
// the look-up, most promising first.
type Answer struct {
	Addrs   []netip.AddrPort // at most 32
	Refused []Refusal        // at most 32
}

// filter applies the rules to a raw answer. trusted is set for names whose meaning nobody else can choose:
// localhost and addresses written out. own lists the addresses of this host.
func filter(raw []netip.Addr, port uint16, trusted bool, own []netip.Addr) Answer {
	var a Answer
	seen := make([]netip.Addr, 0, min(len(raw), 2*maxAddresses))
	for _, addr := range raw {
		if len(a.Addrs) == maxAddresses || len(seen) == cap(seen) {
			break
		}
		addr = addr.Unmap()
		if slices.Contains(seen, addr) {
			continue
		}
		seen = append(seen, addr)
		if r := check(addr, port, trusted, own); r == Usable {
			a.Addrs = append(a.Addrs, netip.AddrPortFrom(addr, port))
		} else if len(a.Refused) < maxAddresses {
			a.Refused = append(a.Refused, Refusal{Addr: addr, Reason: r})
		}
	}
	return a
}

// check is the rule for one unmapped address.
func check(addr netip.Addr, port uint16, trusted bool, own []netip.Addr) Reason {
	switch {
	case !addr.IsValid() || addr.IsUnspecified() || addr.Is4() && addr.As4()[0] == 0:
		return Unspecified
	case addr.IsMulticast():
		return Multicast
	case addr.Is4() && addr.As4()[0] >= 240:
		return Broadcast
	case addr.Is6() && addr.IsLinkLocalUnicast() && addr.Zone() == "":
		return LinkLocal
	case trusted:
		return Usable
	case addr.IsLoopback():
		return Loopback
	case port == ntp.Port && slices.Contains(own, addr): // only there can an address of ours be ourselves
		return Own
	}
	return Usable
}

// Scope says how near to this host an address is.
type Scope uint8

// The scopes, from far to near.
const (
	Global Scope = iota // another host, by way of routers; private addresses, too, which a site may name anywhere
	Link                // a neighbour (RFC 3927, RFC 4291 §2.5.6)
	Host                // this host
)

// ScopeOf returns the scope of an address; own lists those of this host. One that is none counts as far.
func ScopeOf(addr netip.Addr, own []netip.Addr) Scope {
	addr = addr.Unmap()
	switch {
	case addr.IsLoopback() || slices.Contains(own, addr.WithZone("")):
		return Host
	case addr.IsLinkLocalUnicast():
		return Link
	}
	return Global
}

// isLocalhost reports whether the name is one that RFC 6761 §6.3 ties to the loopback addresses.
func isLocalhost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
