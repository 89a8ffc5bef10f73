package system

import (
	"net/netip"
	"slices"

	"ntp-daemon/internal/ntp"
)

// ownAddresses are the reference identifiers that clients of this host would show.
type ownAddresses []ntp.RefID

// newOwnAddresses leaves out what cannot identify this host to another: loopback, unspecified and multicast
// addresses. Several daemons on one host reach each other over loopback, each with 127.0.0.1 as "own".
func newOwnAddresses(list []netip.Addr) ownAddresses {
	own := make(ownAddresses, 0, len(list))
	for _, a := range list {
		a = a.Unmap().WithZone("")
		if !a.IsValid() || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() {
			continue
		}
		own = append(own, ntp.RefIDFromAddr(a))
	}
	slices.Sort(own)
	return slices.Compact(own)
}

// barred tells why a source must not steer us whatever its time is. A source whose reference is one of our
// addresses follows us; one that shows our own reference, stratum and reference time is ourselves (reliability
// row C27; chrony's refid check plus its "this is me" test). Both need that we serve: nobody can follow a mute
// clock.
func (s *System) barred(src *source) bar {
	m := &src.last
	if m.Stratum >= ntp.MaxStratum || m.Stratum == 0 {
		return barStratum
	}
	if !s.params.Serves {
		return barNone
	}
	v := &s.view
	if v.Stratum < ntp.MaxStratum && m.Stratum == v.Stratum && m.RefID == v.RefID &&
		!m.Reference.IsZero() && m.Reference == v.Reference {
		return barSelf
	}
	if m.Stratum > 1 { // at stratum 1 the identifier is a name, not an address
		if _, ours := slices.BinarySearch(s.own, m.RefID); ours {
			return barLoop
		}
	}
	return barNone
}
