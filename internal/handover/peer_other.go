//go:build !linux

package handover

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// peer cannot be told here, so nobody gets a socket.
func peer(*net.UnixConn) (uid, pid int, err error) { return 0, 0, errors.ErrUnsupported }

// askSender asks for nothing: nobody gets a socket.
func askSender(_, _ string, _ syscall.RawConn) error { return nil }

// sender is not told here.
func sender(*unix.SocketControlMessage) int { return 0 }

const senderSpace = 0
