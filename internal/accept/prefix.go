package accept

import (
	"net/netip"
	"time"
)

const (
	// maxPrefixes caps the table. Beyond it new prefixes go unlimited: the permits still hold, and refusing
	// strangers because an attacker has many addresses would serve the attacker.
	maxPrefixes = 1 << 14
	// sweepEvery is how many arrivals pass between two looks for entries that can be forgotten.
	sweepEvery = 1 << 10
	// leastBurst lets a small site start all its clients at once.
	leastBurst = 8
)

// prefixes limits each client prefix: how many connections at a time, and how many per second. It is guarded
// by the lock of its loop.
type prefixes struct {
	limit   int
	bitsV6  int
	rate    float64
	burst   float64
	arrived int
	table   map[netip.Prefix]*prefixState
}

// prefixState is one prefix: open connections, and a token bucket that was right at time at.
type prefixState struct {
	open   int
	tokens float64
	at     time.Time
}

func newPrefixes(c Config) prefixes {
	return prefixes{
		limit: c.PerPrefix, bitsV6: c.PrefixV6, rate: c.Rate, burst: max(leastBurst, 2*c.Rate),
		table: map[netip.Prefix]*prefixState{},
	}
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

// state is the entry of a prefix, nil if the table is full.
func (p *prefixes) state(key netip.Prefix) *prefixState {
	s := p.table[key]
	if s == nil && len(p.table) < maxPrefixes {
		s = &prefixState{tokens: p.burst}
		p.table[key] = s
	}
	return s
}

// allowed takes a token from the prefix's bucket.
func (p *prefixes) allowed(a netip.Addr, now time.Time) bool {
	if p.rate <= 0 {
		return true
	}
	if p.arrived++; p.arrived >= sweepEvery {
		p.sweep(now)
	}
	s := p.state(p.of(a))
	if s == nil {
		return true
	}
	if !s.at.IsZero() {
		s.tokens = min(p.burst, s.tokens+p.rate*now.Sub(s.at).Seconds())
	}
	s.at = now
	if s.tokens < 1 {
		return false
	}
	s.tokens--
	return true
}

// sweep forgets prefixes whose bucket has filled up and that have nothing open.
func (p *prefixes) sweep(now time.Time) {
	p.arrived = 0
	for key, s := range p.table {
		if s.open == 0 && s.tokens+p.rate*now.Sub(s.at).Seconds() >= p.burst {
			delete(p.table, key)
		}
	}
}

// room says whether the prefix may have one more connection.
func (p *prefixes) room(a netip.Addr) bool {
	s := p.table[p.of(a)]
	return p.limit <= 0 || s == nil || s.open < p.limit
}

// add counts a connection and returns the prefix to remove it by, invalid if it was not counted.
func (p *prefixes) add(a netip.Addr) netip.Prefix {
	if p.limit <= 0 {
		return netip.Prefix{}
	}
	key := p.of(a)
	s := p.state(key)
	if s == nil {
		return netip.Prefix{}
	}
	s.open++
	return key
}

// remove uncounts a connection. Without a rate there is nothing else to remember of the prefix.
func (p *prefixes) remove(key netip.Prefix) {
	s := p.table[key]
	if s == nil {
		return
	}
	s.open--
	if s.open <= 0 && p.rate <= 0 {
		delete(p.table, key)
	}
}
