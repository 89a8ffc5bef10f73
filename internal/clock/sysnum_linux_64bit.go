//go:build linux && !386 && !arm && !mips && !mipsle

package clock

import "golang.org/x/sys/unix"

// On 64-bit systems the ordinary calls take 64-bit times.
const (
	sysClockAdjtime   = unix.SYS_CLOCK_ADJTIME
	sysClockGettime   = unix.SYS_CLOCK_GETTIME
	sysTimerfdSettime = unix.SYS_TIMERFD_SETTIME
)
