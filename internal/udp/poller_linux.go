package udp

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller waits for one socket at a time, on behalf of the runtime's own poller, which knows this one for good: a socket that is
// opened, used and closed then costs no call that the runtime is told of (docs/rules/lifecycle.md#waiting).
type poller struct {
	file *os.File // an epoll instance with one socket in it, or none
	raw  syscall.RawConn
	fd   int // of file
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // what the runtime takes for a sign that it can be polled
		_ = unix.Close(fd)
		return nil, fmt.Errorf("fcntl: %w", err)
	}
	return pollerOn(fd)
}

// pollerOn takes over fd, an epoll instance. The runtime's poller may refuse it (ENOSPC, ENOMEM), of which os.NewFile says
// nothing; only a file that it waits for takes a deadline. No reply would ever be seen on one that it does not wait for.
func pollerOn(fd int) (*poller, error) {
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), fd: fd}
	err := p.file.SetReadDeadline(time.Time{})
	if err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	if err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("wait for an epoll instance: %w", err)
	}
	return p, nil
}

// watch adds a socket. Closing it takes it out.
func (p *poller) watch(socket int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(socket)}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), unix.EPOLL_CTL_ADD, uintptr(socket), uintptr(unsafe.Pointer(&ev)), 0, 0)
	if errno != 0 {
		return fmt.Errorf("epoll_ctl: %w", errno)
	}
	return nil
}

// drain forgets what has happened so far. Whatever comes later shows as a new event.
func (p *poller) drain() {
	var ev [2]unix.EpollEvent
	unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&ev)), uintptr(len(ev)), 0, 0, 0)
}
