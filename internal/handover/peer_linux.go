package handover

import (
	"net"

	"golang.org/x/sys/unix"
)

// peer is the user and the process at the other end, as they were when it connected or began to listen (SO_PEERCRED, unix(7)).
func peer(c *net.UnixConn) (uid, pid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Ucred
	var errCred error
	if err := raw.Control(func(fd uintptr) {
		cred, errCred = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, 0, err
	}
	if errCred != nil {
		return 0, 0, errCred
	}
	return int(cred.Uid), int(cred.Pid), nil
}
