//go:build !linux

package clock

import (
	"time"

	"ntp-daemon/internal/ntp"
)

// realtime reads the system clock.
func realtime() ntp.Timestamp { return ntp.FromTime(time.Now()) }
