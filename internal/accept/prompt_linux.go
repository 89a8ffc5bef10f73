package accept

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// quickAck sends the acknowledgement that is due, if there is one, and lets the next ones go without delay. A socket
// that refuses is slower, nothing else.
func quickAck(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	})
}
