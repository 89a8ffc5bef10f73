package clock

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// realtime reads CLOCK_REALTIME. The runtime's reading goes through the vDSO and is the fastest, but on 32-bit
// systems it ends in 2038.
func realtime() ntp.Timestamp {
	if unsafe.Sizeof(uintptr(0)) == 8 {
		return ntp.FromTime(time.Now())
	}
	ts := clockGettime(unix.CLOCK_REALTIME)
	return ntp.FromUnix(ts.sec, ts.nsec)
}
