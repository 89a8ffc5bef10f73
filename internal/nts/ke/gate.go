package ke

import (
	"net"
	"runtime"
)

// Gate limits how many handshakes compute at one time, so that a flood of them leaves a processor to those
// who answer NTP (row KS18). A handshake that waits for its peer holds no place: places are held
// only from the end of a read or write to the start of the next, a few hundred microseconds, so nobody can
// keep one by being slow.
type Gate chan struct{}

// NewGate leaves one processor free, if there is more than one.
func NewGate() Gate { return make(Gate, max(1, runtime.GOMAXPROCS(0)-1)) }

// Conn puts a connection behind the gate until Done. During that time one goroutine at a time may read or
// write, which is how crypto/tls does a handshake.
func (g Gate) Conn(c net.Conn) *GatedConn { return &GatedConn{Conn: c, gate: g, gated: true} }

// GatedConn is a connection behind a Gate.
type GatedConn struct {
	net.Conn
	gate         Gate
	gated, holds bool
}

// Read waits for the peer without a place and for a place afterwards.
func (c *GatedConn) Read(b []byte) (int, error) {
	c.leave()
	defer c.enter()
	return c.Conn.Read(b)
}

// Write does the same: a full window must not keep a place either.
func (c *GatedConn) Write(b []byte) (int, error) {
	c.leave()
	defer c.enter()
	return c.Conn.Write(b)
}

// Done gives the place back for good; call it when the handshake is over, either way.
func (c *GatedConn) Done() {
	c.leave()
	c.gated = false
}

func (c *GatedConn) enter() {
	if c.gated && !c.holds {
		c.gate <- struct{}{}
		c.holds = true
	}
}

func (c *GatedConn) leave() {
	if c.holds {
		c.holds = false
		<-c.gate
	}
}
