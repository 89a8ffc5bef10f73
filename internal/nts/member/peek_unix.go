//go:build unix

package member

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// nothingToRead reports whether an idle connection is open and has nothing to read. A peer that closed shows
// up as end of stream, a close_notify or anything else it sent meanwhile as readable bytes; either
// way the connection must not carry the next user's keys (docs/rules/pool.md#idle-connections). crypto/tls
// cannot be asked without reading, so the socket is looked at without taking anything from it.
func nothingToRead(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return true // no socket underneath: the first write or read will tell
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	empty := false
	err = raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, e := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		empty = errors.Is(e, unix.EAGAIN)
	})
	return err == nil && empty
}
