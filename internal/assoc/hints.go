package assoc

import (
	"slices"
	"time"

	"ntp-daemon/internal/locate"
	"ntp-daemon/internal/nts/record"
)

// hints is what a search is told of earlier ones and of what is held.
func (s *supervisor) hints(now time.Time, p purpose) locate.Hints {
	return locate.Hints{Denied: s.denied(now, p), Held: s.held(now, p), Prefer: s.preferred(p), Avoid: s.keyless.addrs(now)}
}

// denied lists the names that a pool is asked not to return, as it wrote them: those that failed, the oldest first, then
// those held, so that whoever has to leave some out, the oldest first, leaves out what matters least; at most 64, as many as
// a pool reads. A source that needs keys would rather stay.
func (s *supervisor) denied(now time.Time, p purpose) []string {
	if !s.chosen() {
		return nil
	}
	names := s.failed.names(now)
	for _, m := range s.members {
		if !slices.ContainsFunc(names, sameName(m.name)) { // a server that moved has its replacement beside it
			names = append(names, m.name)
		}
	}
	if m := s.find(p.id); m != nil && p.goal.keys() {
		names = slices.DeleteFunc(names, sameName(m.name))
	}
	return names[max(0, len(names)-record.MaxDeny):]
}

// held lists the SRV targets that are not asked at all: those in use, but for the one of the member that the search is about,
// which is asked again if there is no other, and while there is one in use those that failed of late.
func (s *supervisor) held(now time.Time, p purpose) (names []string) {
	if !s.src.SRV {
		return nil
	}
	for _, m := range s.members {
		if m.id != p.id {
			names = append(names, m.name)
		}
	}
	if len(names) > 0 {
		names = append(names, s.failed.names(now)...)
	}
	return names
}

// preferred is the server that a pool is asked for by name: the one that needs keys (docs/rules/client.md#same-server-again).
// Empty where any will do, or where the pool has named none.
func (s *supervisor) preferred(p purpose) string {
	m := s.find(p.id)
	if !s.chosen() || m == nil || !p.goal.keys() || sameName(m.name)(s.src.Host) {
		return ""
	}
	return m.name
}
