package accept

import (
	"net"
	"syscall"
)

// prompt is a TCP connection that acknowledges what was read at once. A peer that leaves Nagle's algorithm on (RFC 896;
// chrony, ntpd-rs and whatever is written in Python do) sends its request only when its last flight of the handshake is
// acknowledged. Nothing of ours is sent after that flight, so the acknowledgement would wait for the kernel's delay of
// 40 ms, and each exchange with it. The setting does not last (tcp(7), TCP_QUICKACK), hence after each read.
type prompt struct {
	net.Conn
	raw syscall.RawConn
}

// Prompt returns c so that acknowledgements are not delayed; c itself if it has no socket.
func Prompt(c net.Conn) net.Conn {
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			return &prompt{c, raw}
		}
	}
	return c
}

// Read reads and acknowledges.
func (p *prompt) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if n > 0 {
		quickAck(p.raw)
	}
	return n, err
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
