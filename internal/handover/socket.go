package handover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Origin is where a listening socket came from.
type Origin uint8

// The origins.
const (
	Opened      Origin = iota // this process opened it
	Unit                      // a socket unit, which keeps it (systemd.socket(5))
	Store                     // the service manager kept it for us (FileDescriptorStoreMax=, systemd.service(5))
	Predecessor               // the process before us gave it
)

// String is the word for logs and status.
func (o Origin) String() string {
	return [...]string{"opened", "socket unit", "descriptor store", "predecessor"}[o]
}

// Socket is a listening socket, of TCP or a Unix one, under the name that its next owner knows it by.
type Socket struct {
	net.Listener
	Name   string
	Origin Origin
}

// At reports whether the socket is bound to that TCP address; port 0 stands for any.
func (s *Socket) At(want netip.AddrPort) bool {
	a, ok := s.Addr().(*net.TCPAddr)
	if !ok {
		return false
	}
	got := a.AddrPort()
	return got.Addr().Unmap() == want.Addr().Unmap() && (want.Port() == 0 || got.Port() == want.Port())
}

// errNotListening is the fault of a descriptor that is something else.
var errNotListening = errors.New("not a listening TCP or Unix socket")

// adopt makes a listener of a descriptor, which it closes: the listener has one of its own.
func adopt(f *os.File) (net.Listener, error) {
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var kind, listening int
	var errKind, errListening error
	if err := raw.Control(func(fd uintptr) {
		kind, errKind = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
		listening, errListening = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	}); err != nil {
		return nil, err
	}
	if err := errors.Join(errKind, errListening); err != nil {
		return nil, fmt.Errorf("%w (%w)", errNotListening, err)
	}
	if kind != unix.SOCK_STREAM || listening == 0 {
		return nil, errNotListening
	}
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	switch ln.(type) {
	case *net.TCPListener, *net.UnixListener:
		return ln, nil
	}
	_ = ln.Close()
	return nil, errNotListening
}

// descriptor is a second descriptor of the listener's socket, for the caller to close. The listener's own flags stay as they
// are, which File and Fd of package os do not promise.
func descriptor(ln net.Listener) (fd int, err error) {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return -1, errNotListening
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	var errDup error
	if err := raw.Control(func(own uintptr) {
		fd, errDup = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return -1, err
	}
	return fd, errDup
}
