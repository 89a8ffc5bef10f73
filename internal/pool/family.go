package pool

import "net/netip"

// Family is the Internet protocol by which a user came; time sources that do not serve it are nothing for this user.
// There are no names for it: the key exchange's own connection says it.
type Family uint8

// The families.
const (
	AnyFamily Family = iota // not known, as of a user at a Unix socket
	IPv4
	IPv6
	families
)

// FamilyOf is the family of a user's address; an IPv4-mapped IPv6 address is one of IPv4.
func FamilyOf(a netip.Addr) Family {
	switch a = a.Unmap(); {
	case a.Is4():
		return IPv4
	case a.Is6():
		return IPv6
	}
	return AnyFamily
}

// serves reports whether users of the family are for this time source.
func (b *Backend) serves(f Family) bool {
	return f == AnyFamily || f == IPv4 && !b.NoIPv4 || f == IPv6 && !b.NoIPv6
}
