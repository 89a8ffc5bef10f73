package system

import "ntp-daemon/internal/ntp"

// barred tells why a source must not steer us whatever its time is. A source whose reference is the address
// at which it would find us follows us: the one that our requests to it come from, since others of this host (bridges of
// containers, the same private network on both sides of a router) are those of other hosts, too. One that shows our own reference, stratum and reference time is ourselves (reliability
// row C27; chrony's refid check plus its "this is me" test). Both need that we serve: nobody can follow a mute
// clock. An islander counts only while it leads, and serves its own clock: one
// that follows somebody might follow, by way of others, us.
func (s *System) barred(src *source) bar {
	if b := s.loop(&src.last); b != barNone {
		return b
	}
	if s.islander(&src.last) && (src != s.leader || src.last.Stratum != s.params.LocalStratum) {
		return barIsland
	}
	return barNone
}

// loop is barred without islands.
func (s *System) loop(m *ntp.Measurement) bar {
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
		if m.OurRefID != 0 && m.RefID == m.OurRefID {
			return barLoop
		}
	}
	return barNone
}
