package accept

import (
	"net"
	"sync/atomic"
	"syscall"
)

// prompt is a TCP connection that acknowledges what was read when more is waited for. A peer that leaves Nagle's algorithm on
// (RFC 896; chrony, ntpd-rs and whatever is written in Python do) sends its request only when its last flight of the handshake
// is acknowledged. Nothing of ours is sent after that flight, so the acknowledgement would wait for the kernel's delay of
// 40 ms, and each exchange with it. What is written after a read carries the acknowledgement along, so that one costs
// nothing. The setting does not last (tcp(7), TCP_QUICKACK), hence before each such read.
type prompt struct {
	net.Conn
	raw  syscall.RawConn
	owes atomic.Bool // something was read since the last write
}

// Prompt returns c so that acknowledgements are not delayed; c itself if it has no socket.
func Prompt(c net.Conn) net.Conn {
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			return &prompt{Conn: c, raw: raw}
		}
	}
	return c
}

// Read acknowledges what was read before, if nothing was written since, and reads.
func (p *prompt) Read(b []byte) (int, error) {
	if p.owes.Swap(false) {
		quickAck(p.raw)
	}
	n, err := p.Conn.Read(b)
	if n > 0 {
		p.owes.Store(true)
	}
	return n, err
}

// Write writes, and acknowledges with that.
func (p *prompt) Write(b []byte) (int, error) {
	p.owes.Store(false)
	return p.Conn.Write(b)
}

// Settled tells a connection of Prompt's that nothing more is waited for: what is written next acknowledges what was read.
func Settled(c net.Conn) {
	if p, ok := c.(*prompt); ok {
		p.owes.Store(false)
	}
}

// SyscallConn lets others look at the socket.
func (p *prompt) SyscallConn() (syscall.RawConn, error) { return p.raw, nil }

// CloseWrite ends our stream, if the connection can.
func (p *prompt) CloseWrite() error {
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
