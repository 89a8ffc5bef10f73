//go:build unix

package accept

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// awaitReset returns when the socket has an error or is closed, or with the read deadline. The runtime's poller wakes
// it for everything that happens on the socket, at the moment of the event only, so bytes that lie unread do not
// make it spin.
func awaitReset(raw syscall.RawConn) error {
	var seen error
	err := raw.Read(func(fd uintptr) bool {
		seen = socketError(fd)
		return seen != nil
	})
	if seen != nil {
		return seen
	}
	return err
}

// pendingReset is the socket's error of this moment, or that it is closed.
func pendingReset(raw syscall.RawConn) error {
	var seen error
	err := raw.Control(func(fd uintptr) { seen = socketError(fd) })
	if seen != nil {
		return seen
	}
	return err
}

// socketError takes the error off the socket. A FIN leaves it at 0.
func socketError(fd uintptr) error {
	errno, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = syscall.Errno(errno)
	}
	return err
}
