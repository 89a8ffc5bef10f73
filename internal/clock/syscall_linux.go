package clock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// timex is struct __kernel_timex of linux/timex.h: the same layout on every architecture.
type timex struct {
	modes     uint32 // ADJ_ bits: what to write
	_         int32
	offset    int64 // of the phase-locked loop or adjtime(3): ns with STA_NANO, else µs
	freq      int64 // ppm << 16
	maxerror  int64 // µs
	esterror  int64 // µs
	status    int32 // STA_ bits
	_         int32
	constant  int64
	precision int64
	tolerance int64
	sec       int64 // with ADJ_SETOFFSET: added to the clock; on return: the clock
	subsec    int64 // ns with ADJ_NANO or STA_NANO, else µs; never negative
	tick      int64 // µs per tick of 1/100 s
	_         [64]byte
	tai       int32 // TAI - UTC, s; written through constant
	_         [44]byte
}

// timespec is struct __kernel_timespec: 64 bits on every architecture.
type timespec struct{ sec, nsec int64 }

// clockAdjtime is clock_adjtime(CLOCK_REALTIME). state is TIME_OK … TIME_ERROR.
func clockAdjtime(t *timex) (state int, err error) {
	r, _, errno := unix.Syscall(sysClockAdjtime, unix.CLOCK_REALTIME, uintptr(unsafe.Pointer(t)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// clockGettime reads one of the kernel's clocks. A clock that cannot be read is reported as zero: the four
// that are used exist since Linux 2.6.39.
func clockGettime(id int) timespec {
	var ts timespec
	unix.RawSyscall(sysClockGettime, uintptr(id), uintptr(unsafe.Pointer(&ts)), 0)
	return ts
}
