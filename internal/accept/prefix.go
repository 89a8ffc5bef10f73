package accept

import "net/netip"

// maxPrefixes caps the table. Beyond it new prefixes go unlimited: the permits still hold, and refusing strangers
// because an attacker has many addresses would serve the attacker.
const maxPrefixes = 1 << 14

// prefixes limits how many connections each client prefix has open at a time. It is guarded by the lock of its loop.
type prefixes struct {
	limit  int // 0: none
	bitsV6 int
	open   map[netip.Prefix]int
}

func newPrefixes(c Config) prefixes {
	return prefixes{limit: c.PerPrefix, bitsV6: c.PrefixV6, open: map[netip.Prefix]int{}}
}

// of is the prefix of an address.
func (p *prefixes) of(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = p.bitsV6
	}
	prefix, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// room says whether the prefix may have one more connection.
func (p *prefixes) room(a netip.Addr) bool { return p.limit <= 0 || p.open[p.of(a)] < p.limit }

// add counts a connection and returns the prefix to remove it by, invalid if it was not counted.
func (p *prefixes) add(a netip.Addr) netip.Prefix {
	key := p.of(a)
	n, known := p.open[key]
	if p.limit <= 0 || !known && len(p.open) >= maxPrefixes {
		return netip.Prefix{}
	}
	p.open[key] = n + 1
	return key
}

// remove uncounts a connection.
func (p *prefixes) remove(key netip.Prefix) {
	switch n := p.open[key]; {
	case n > 1:
		p.open[key] = n - 1
	default:
		delete(p.open, key)
	}
}
