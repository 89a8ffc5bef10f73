package server

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Action is what happens to a request that a rule catches.
type Action uint8

// The actions.
const (
	Allow  Action = iota // go on
	Ignore               // silence
	Deny                 // DENY kiss
)

// ErrPrefix is wrapped by NewAccess for a prefix that cannot be meant.
var ErrPrefix = errors.New("IPv4-mapped prefix shorter than /96")

// Rule is a list of prefixes with an action.
type Rule struct {
	Prefixes []netip.Prefix
	Action   Action
}

// Access is the immutable pair of access lists of one listen address.
type Access struct {
	deny    prefixSet
	onDeny  Action
	allow   prefixSet // meaningful only if limited
	onOther Action    // for who is not in allow
	limited bool
	open    bool // the lists let everybody in
}

// NewAccess builds the lists: who is in deny gets deny.Action; who is not in allow gets allow.Action, unless
// allow is nil, which lets everybody in. IPv4-mapped addresses and prefixes count as IPv4 (S17).
func NewAccess(deny Rule, allow *Rule) (*Access, error) {
	a := &Access{onDeny: deny.Action}
	var err error
	if a.deny, err = newPrefixSet(deny.Prefixes); err != nil {
		return nil, fmt.Errorf("deny list: %w", err)
	}
	if allow == nil {
		a.open = len(deny.Prefixes) == 0
		return a, nil
	}
	a.limited, a.onOther = true, allow.Action
	if a.allow, err = newPrefixSet(allow.Prefixes); err != nil {
		return nil, fmt.Errorf("allow list: %w", err)
	}
	a.open = len(deny.Prefixes) == 0 && everybody(allow.Prefixes)
	return a, nil
}

// everybody reports whether each family's whole is in the list, as in the one that nobody configured.
func everybody(list []netip.Prefix) bool {
	whole := func(v4 bool) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Bits() == 0 && p.Addr().Is4() == v4 })
	}
	return whole(true) && whole(false)
}

// Check returns the action for an address that is already unmapped and without zone. A nil Access allows all.
func (a *Access) Check(addr netip.Addr) Action {
	switch {
	case a == nil || a.open:
		return Allow
	case a.deny.contains(addr):
		return a.onDeny
	case a.limited && !a.allow.contains(addr):
		return a.onOther
	}
	return Allow
}

// span is an inclusive range of addresses of one family.
type span struct{ first, last netip.Addr }

// prefixSet is a set of addresses, made of prefixes.
type prefixSet struct{ v4, v6 spans }

func newPrefixSet(prefixes []netip.Prefix) (prefixSet, error) {
	list := make([]span, 0, len(prefixes))
	for _, p := range prefixes {
		s, err := prefixSpan(p)
		if err != nil {
			return prefixSet{}, err
		}
		list = append(list, s)
	}
	list = disjoint(list)
	n := slices.IndexFunc(list, func(s span) bool { return !s.first.Is4() }) // IPv4 sorts first
	if n < 0 {
		n = len(list)
	}
	return prefixSet{v4: newSpans(list[:n]), v6: newSpans(list[n:])}, nil
}

// disjoint sorts spans and joins those that overlap.
func disjoint(list []span) (set []span) {
	slices.SortFunc(list, func(x, y span) int {
		return cmp.Or(x.first.Compare(y.first), x.last.Compare(y.last))
	})
	for _, s := range list {
		if n := len(set); n > 0 && s.first.Compare(set[n-1].last) <= 0 {
			if s.last.Compare(set[n-1].last) > 0 {
				set[n-1].last = s.last
			}
			continue
		}
		set = append(set, s)
	}
	return set
}

// prefixSpan turns a prefix into its first and last address.
func prefixSpan(p netip.Prefix) (span, error) {
	if !p.IsValid() {
		return span{}, fmt.Errorf("invalid prefix %s", p)
	}
	addr, bits := p.Addr(), p.Bits()
	if addr.Is4In6() {
		if bits < 96 {
			return span{}, fmt.Errorf("%w: %s", ErrPrefix, p)
		}
		addr, bits = addr.Unmap(), bits-96
	}
	first := netip.PrefixFrom(addr, bits).Masked().Addr()
	b := first.As16()
	for i := bits + 128 - addr.BitLen(); i < 128; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last := netip.AddrFrom16(b)
	if addr.Is4() {
		last = last.Unmap()
	}
	return span{first, last}, nil
}

// contains reports whether the set has an unmapped address.
func (s *prefixSet) contains(a netip.Addr) bool {
	if a.Is4() {
		return s.v4.contains(keyOf(a))
	}
	return a.IsValid() && s.v6.contains(keyOf(a))
}

// admitAddresses refuses addresses that no client's request can have; from and to are unmapped. An unknown (wildcard)
// destination is not judged.
func admitAddresses(from, to netip.AddrPort) Verdict {
	src, dst := from.Addr(), to.Addr()
	switch {
	case from.Port() != 0 && ordinary(src, dst):
		return Answered
	case from.Port() == 0, !src.IsValid(), impossibleSource(src), castAddress(dst):
		return ImpossibleAddress
	case src == dst && from.Port() == to.Port():
		return OwnAddress
	case src.IsLoopback() && dst.IsValid() && !dst.IsUnspecified() && !dst.IsLoopback():
		// Loopback on a wire (S18): such an address never carries the rights of a local user.
		return ImpossibleAddress
	}
	return Answered
}

// ordinary tells two different IPv4 addresses of single hosts, neither a loopback one: most pairs are, and need no further look.
func ordinary(src, dst netip.Addr) bool {
	if !src.Is4() || !dst.Is4() {
		return false
	}
	s, d := src.As4(), dst.As4()
	return ordinaryByte(s[0]) && ordinaryByte(d[0]) && s != d
}

func ordinaryByte(b byte) bool { return b > 0 && b < 224 && b != 127 }

// impossibleSource tells "this network" (RFC 1122 §3.2.1.3), multicast and broadcast.
func impossibleSource(a netip.Addr) bool {
	if a.Is4() && a.As4()[0] == 0 {
		return true
	}
	return a.IsUnspecified() || castAddress(a)
}

// castAddress tells addresses that stand for several hosts.
func castAddress(a netip.Addr) bool {
	return a.IsMulticast() || a.Is4() && a.As4() == [4]byte{255, 255, 255, 255}
}
