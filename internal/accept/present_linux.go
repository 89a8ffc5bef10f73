package accept

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// tcpEstablished is the one state in which both sides may send (TCP_ESTABLISHED of netinet/tcp.h).
const tcpEstablished = 1

// present asks the kernel for the state of the connection, which an end of the peer's stream changes even behind bytes
// that nobody has read.
func present(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	state := uint8(tcpEstablished)
	err = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			state = info.State
		}
	})
	return err == nil && state == tcpEstablished
}
