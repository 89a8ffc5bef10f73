package fastpath

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerUser is the user at the other end, as it was when that end connected or began to listen (SO_PEERCRED, unix(7)).
func peerUser(c *net.UnixConn) (uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var errCred error
	if err := raw.Control(func(fd uintptr) {
		cred, errCred = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if errCred != nil {
		return 0, errCred
	}
	return int(cred.Uid), nil
}
