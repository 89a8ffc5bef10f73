package poolke

import (
	"slices"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/poolmonitor"
)

// usable reports whether users of the family may be sent there, as far as the monitor knows; users of no known one, if one of
// the families is. The breaker is not asked.
func (u *upstream) usable(f pool.Family) bool {
	v := u.verdict.Load()
	switch f {
	case pool.IPv4:
		return v.For(poolmonitor.IPv4)
	case pool.IPv6:
		return v.For(poolmonitor.IPv6)
	}
	return v.For(poolmonitor.IPv4) || v.For(poolmonitor.IPv6)
}

// working is the list without the algorithms that do not work at the time source, as far as the monitor knows.
func (u *upstream) working(list []aead.Algorithm) []aead.Algorithm {
	v := u.verdict.Load()
	if v == nil || len(v.Lacks) == 0 {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(a aead.Algorithm) bool { return !v.Has(a) })
}
