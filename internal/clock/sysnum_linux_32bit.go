//go:build linux && (386 || arm || mips || mipsle)

package clock

import "golang.org/x/sys/unix"

// The calls of Linux 5.1 with 64-bit times: the older ones end in 2038 (row K13).
const (
	sysClockAdjtime   = unix.SYS_CLOCK_ADJTIME64
	sysClockGettime   = unix.SYS_CLOCK_GETTIME64
	sysTimerfdSettime = unix.SYS_TIMERFD_SETTIME64
)
