package system

import (
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
)

// Servers of an island that ask each other, with the same local stratum and local-orphan = true, agree on one clock when
// no source is left (docs/rules/server.md#orphans; chrony's "local … orphan", ntpd's orphan mode): the one of them with the
// smallest reference identifier leads and serves its own clock, the others follow it one stratum below. Whoever has a real
// source leaves the island, and the others follow that one.

// islander reports whether a source is of the island: it serves its own clock as we would, or follows one that does.
func (s *System) islander(m *ntp.Measurement) bool {
	return s.params.Orphan && m.Stratum >= s.params.LocalStratum && m.Stratum < ntp.MaxStratum
}

// electLeader finds whom we follow while there is no source: the reachable islander at the local stratum with the smallest
// identifier, if that is smaller than ours as it sees us. Its samples count from the next one on.
func (s *System) electLeader(fx *Effects) {
	if !s.params.Orphan {
		return
	}
	var leader *source
	for _, src := range s.sources {
		id := ntp.RefIDFromAddr(src.Address.Addr())
		switch {
		case !src.known || !src.status.Reachable || !s.islander(&src.last) || src.last.Stratum != s.params.LocalStratum:
		case src.bar != barNone && src.bar != barIsland, src.last.OurRefID == 0 || id >= src.last.OurRefID:
		case leader == nil || id < ntp.RefIDFromAddr(leader.Address.Addr()):
			leader = src
		}
	}
	if leader == s.leader {
		return
	}
	s.dethrone()
	if s.leader = leader; leader != nil {
		fx.note(Info, logtarget.System, "no source is left: source %v (%s) leads the island", leader.ID, leader.Name)
	}
}

// dethrone ends following an islander.
func (s *System) dethrone() {
	if s.leader == nil {
		return
	}
	if s.islander(&s.leader.last) {
		s.leader.bar = barIsland
		s.disc.Forget(s.leader.ID)
	}
	s.leader = nil
}
