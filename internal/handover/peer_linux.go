package handover

import (
	"net"
	"syscall"

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

// askSender lets each message of a connection that is about to be made name the process that sends it (SO_PASSCRED, unix(7)):
// the one at the other end is told as the process that began to listen, which after two successions is long gone.
func askSender(_, _ string, c syscall.RawConn) error {
	var errAsk error
	if err := c.Control(func(fd uintptr) { errAsk = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }); err != nil {
		return err
	}
	return errAsk
}

// sender is the process that a control message names; 0 if it is about something else.
func sender(m *unix.SocketControlMessage) int {
	if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_CREDENTIALS {
		return 0
	}
	cred, err := unix.ParseUnixCredentials(m)
	if err != nil {
		return 0
	}
	return int(cred.Pid)
}

// senderSpace is what such a message takes.
var senderSpace = unix.CmsgSpace(unix.SizeofUcred)
