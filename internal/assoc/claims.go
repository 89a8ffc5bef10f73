package assoc

import (
	"net/netip"
	"sync"
)

// Claims is the set of server addresses in use in this process, so that one server reached by two names or
// through two [[source]] blocks counts once (C29: one vote each). Safe for concurrent use.
type Claims struct {
	mu    sync.Mutex
	inUse map[netip.AddrPort]struct{} // guarded by mu
}

// NewClaims returns an empty set.
func NewClaims() *Claims { return &Claims{inUse: make(map[netip.AddrPort]struct{})} }

// take claims an address; false if it is in use already.
func (c *Claims) take(a netip.AddrPort) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, taken := c.inUse[a]; taken {
		return false
	}
	c.inUse[a] = struct{}{}
	return true
}

// release gives an address back.
func (c *Claims) release(a netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.inUse, a)
}
