package accept

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
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
	spoke  atomic.Bool // a byte was read, so it may finish what it began when the loop stops

	turns     Turns  // of the thread that serves it
	gathering bool   // writes are kept for End
	gathered  []byte // what was kept

	gone     chan struct{} // closed when the loop closed the connection
	goneOnce sync.Once

	// guarded by loop.mu
	permit  bool
	counted netip.Prefix // prefix whose slot is held; invalid without
	group   *group       // that it waits in, with its place there; nil if it is held
	stage   int
	place   *list.Element
	turn    uint64 // of its last step, larger is later
}

// Remote is the peer's address, IPv4 never in its IPv6 form; invalid for unix sockets.
func (c *Conn) Remote() netip.Addr { return c.remote }

// Prefix is what the peer's limits are counted by: its IPv4 address or IPv6 network.
func (c *Conn) Prefix() netip.Prefix {
	if c.loop == nil {
		return netip.Prefix{}
	}
	return c.loop.prefixes.of(c.remote)
}

// Gone is closed when the loop took the connection away, to make room or to stop.
func (c *Conn) Gone() <-chan struct{} { return c.gone }

// Evicted reports whether it did.
func (c *Conn) Evicted() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// Present reports whether the peer can still take an answer and send more: it neither closed, nor ended its stream,
// nor reset the connection. Nothing is read. Where the system cannot tell, everybody is present.
func (c *Conn) Present() bool {
	if tc := c.threaded(); tc != nil {
		return tc.present()
	}
	return present(c.Conn)
}

// Read reads from the connection.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.spoke.Load() {
		c.spoke.Store(true)
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

// Hold says that the peer has done its part and we work for it: nobody takes its place.
func (c *Conn) Hold() {
	if c.loop == nil {
		return
	}
	c.loop.mu.Lock()
	defer c.loop.mu.Unlock()
	c.loop.waiting.quit(c)
}

// Yield makes the connection one that may be closed to make room, as it is at first. It is for the time after the last
// answer.
func (c *Conn) Yield() { c.wait(early) }

// Advance says that the peer has done its part of the handshake and its request is waited for: it makes room too, but
// after those who have not come so far.
func (c *Conn) Advance() { c.wait(late) }

func (c *Conn) wait(stage int) {
	if c.loop == nil {
		return
	}
	c.loop.mu.Lock()
	defer c.loop.mu.Unlock()
	if c.permit {
		c.loop.waiting.quit(c)
		c.loop.waiting.join(c, c.loop.prefixes.of(c.remote), stage)
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
	if c.group != nil {
		l.waiting.quit(c)
		l.waiting.join(c, l.prefixes.of(c.remote), c.stage)
	}
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
