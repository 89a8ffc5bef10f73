package accept

import (
	"container/list"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// Conn is one accepted connection. Its methods are those of the net.Conn inside, plus what the loop must
// know.
type Conn struct {
	net.Conn
	loop   *Loop
	remote netip.Addr
	since  time.Time
	spoke  atomic.Bool // a byte was read, so it cannot be evicted any more

	// guarded by loop.mu
	permit  bool
	counted netip.Prefix  // prefix whose slot is held; invalid without
	idle    *list.Element // place in loop.idle
}

// Remote is the peer's address, IPv4 never in its IPv6 form; invalid for unix sockets.
func (c *Conn) Remote() netip.Addr { return c.remote }

// Read reads from the connection. With the first byte the connection stops being idle.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.spoke.Load() {
		c.spoke.Store(true)
		c.loop.mu.Lock()
		if c.idle != nil {
			c.loop.idle.Remove(c.idle)
			c.idle = nil
		}
		c.loop.mu.Unlock()
	}
	return n, err
}

// Release gives the permit and the prefix slot back although the connection goes on, because it counts
// against another limit from now on. The loop still waits for it and closes it when draining ends.
func (c *Conn) Release() {
	c.loop.mu.Lock()
	defer c.loop.mu.Unlock()
	c.loop.freeLocked(c)
}

// Yield makes the connection one that may be closed to make room, like one that has not spoken yet. It is for
// the time after the last answer.
func (c *Conn) Yield() {
	c.loop.mu.Lock()
	defer c.loop.mu.Unlock()
	if c.permit && c.idle == nil {
		c.idle = c.loop.idle.PushBack(c)
	}
}

// SetRemote tells the true address of a peer behind a proxy, which the prefix limits apply to from now on.
// Config.Exempt is not asked: it is about who connects, and behind a balancer nobody is one. False means that its
// prefix is over a limit; the handler then closes the connection.
func (c *Conn) SetRemote(a netip.Addr) bool {
	l := c.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.counted.IsValid() {
		l.prefixes.remove(c.counted)
		c.counted = netip.Prefix{}
	}
	c.remote = a.Unmap()
	if !l.prefixes.room(c.remote) {
		l.prefix.Add(1)
		return false
	}
	c.counted = l.prefixes.add(c.remote)
	return true
}

// exempt says whether no prefix limit applies.
func (c *Conn) exempt(f func(netip.Addr) bool) bool {
	return !c.remote.IsValid() || f != nil && f(c.remote)
}

// address is the IP of a, invalid if it has none.
func address(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
