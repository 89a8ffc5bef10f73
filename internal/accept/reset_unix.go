//go:build unix

package accept

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// awaitReset returns when the socket has an error or is closed, or with the read deadline. The runtime's poller wakes
// it for everything that happens on the socket, at the moment of the event only, so bytes that lie unread do not
// make it spin. A FIN leaves SO_ERROR at 0.
func awaitReset(raw syscall.RawConn) error {
	var seen error
	err := raw.Read(func(fd uintptr) bool {
		errno, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && errno != 0 {
			err = syscall.Errno(errno)
		}
		seen = err
		return err != nil
	})
	if seen != nil {
		return seen
	}
	return err
}
