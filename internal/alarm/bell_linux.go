package alarm

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelBell is a timer of the kernel's that the runtime's poller waits for (timerfd_create(2)).
type kernelBell struct {
	file *os.File
	raw  syscall.RawConn
	fd   int // of file, which stays open until close
}

func newBell(ring func()) bell {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return newRuntimeBell(ring) // no file left, or no such call
	}
	return bellOn(fd, ring)
}

// bellOn takes over fd, a timer of the kernel's. The runtime's poller may refuse it (ENOSPC, ENOMEM), of which os.NewFile says
// nothing; only a file that it waits for takes a deadline. One that it does not wait for would never ring.
func bellOn(fd int, ring func()) bell {
	b := &kernelBell{file: os.NewFile(uintptr(fd), "alarm"), fd: fd}
	err := b.file.SetReadDeadline(time.Time{})
	if err == nil {
		b.raw, err = b.file.SyscallConn()
	}
	if err != nil {
		_ = b.file.Close()
		return newRuntimeBell(ring)
	}
	go b.run(ring)
	return b
}

// run owns nothing: it rings whenever the timer has expired. It stops when the file is closed.
func (b *kernelBell) run(ring func()) {
	for b.raw.Read(expired) == nil {
		ring()
	}
}

// expired takes an expiration, and reports whether there was one. The call cannot block, so the runtime need not know of it.
func expired(fd uintptr) bool {
	var n uint64
	_, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&n)), unsafe.Sizeof(n))
	return errno != unix.EAGAIN
}

func (b *kernelBell) set(d time.Duration) {
	b.settime(unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))})
}

func (b *kernelBell) silence() { b.settime(unix.ItimerSpec{}) }

// settime cannot fail: the timer is there, and the time is none of the impossible ones.
func (b *kernelBell) settime(spec unix.ItimerSpec) {
	unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(b.fd), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

func (b *kernelBell) close() { _ = b.file.Close() }
