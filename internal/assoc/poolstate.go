package assoc

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"ntp-daemon/internal/source"
)

// PoolState is what one [[source]] block whose servers somebody else chooses has and waits for: an NTS pool, or the SRV records of
// a domain.
type PoolState struct {
	Name    string // as sources of the block are called
	SRV     bool   // found by SRV records; otherwise the pool's key exchange hands them out
	Want    int
	Members []PoolMember // in the order of their start
	Failed  []FailedName // names that are left out, or were until lately, the one that failed first comes first
	// Search is when the next search for a server may start: zero if none is wanted, or one is under way.
	Search time.Time
	Reason string // what the last search came to, while servers are wanted
}

// PoolMember is one server of a PoolState.
type PoolMember struct {
	Server string // name by the key exchange, or the SRV target
	Addr   netip.AddrPort
}

// FailedName is a server that failed, and until when it is left out.
type FailedName struct {
	Name  string
	Until time.Time
}

// Pools lists the state of every block whose servers somebody else chooses, in the order of the configuration.
func (s *Statuses) Pools() (list []PoolState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, block := range slices.Sorted(maps.Keys(s.pools)) {
		list = append(list, s.pools[block])
	}
	return list
}

// pool enters the state of a block; nil takes it out. The slices in it are not changed afterwards.
func (s *Statuses) pool(block int, p *PoolState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p == nil {
		delete(s.pools, block)
		return
	}
	s.pools[block] = *p
}

// showPool tells readers what the block has, left out and waits for.
func (s *supervisor) showPool(now time.Time) {
	if !s.chosen() {
		return
	}
	p := PoolState{Name: s.src.Name(), SRV: s.src.SRV, Want: s.count()}
	wanted := s.standing() < s.count()
	for _, m := range s.members {
		p.Members = append(p.Members, PoolMember{m.name, m.addr})
		wanted = wanted || m.need == source.NeedReplace && m.replacement == nil
	}
	for _, f := range s.failed.denied(now) {
		p.Failed = append(p.Failed, FailedName{f.name, f.until})
	}
	if wanted {
		p.Reason = s.why
		if !s.searching[fill.lane()] {
			p.Search = s.dueAt(purpose{goal: fill})
		}
	}
	s.d.Statuses.pool(s.spawner, &p)
}
