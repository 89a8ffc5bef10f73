package assoc

import (
	"net/netip"
	"slices"
	"sync"
)

// Claims is the set of server addresses in use in this process, each with the other addresses of the same server, so that one
// server reached by two names, by two of its addresses or through two [[source]] blocks counts once (C29: one vote each).
// Safe for concurrent use.
type Claims struct {
	mu    sync.Mutex
	inUse map[netip.AddrPort][]netip.AddrPort // address in use → all that are known of that server; guarded by mu
}

// NewClaims returns an empty set.
func NewClaims() *Claims { return &Claims{inUse: make(map[netip.AddrPort][]netip.AddrPort)} }

// take claims an address, for a server that has all of those; false if it is in use already.
func (c *Claims) take(a netip.AddrPort, all []netip.AddrPort) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, taken := c.inUse[a]; taken {
		return false
	}
	c.inUse[a] = all
	return true
}

// takeNew is take for a server that somebody else chose: false also if one of its other addresses, too, belongs to a server
// that is in use, other than the one at except, in whose place it would come (docs/rules/client.md#pool-answers).
func (c *Claims) takeNew(a netip.AddrPort, all []netip.AddrPort, except netip.AddrPort) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for used, others := range c.inUse {
		same := func(b netip.AddrPort) bool { return b == used || slices.Contains(others, b) }
		if used == a || used != except && slices.ContainsFunc(all, same) {
			return false
		}
	}
	c.inUse[a] = all
	return true
}

// release gives an address back.
func (c *Claims) release(a netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.inUse, a)
}
