//go:build !linux

package clock

import (
	"time"

	"ntp-daemon/internal/ntp"
)

// minJump is large here: on these systems the runtime's monotonic clock may drift against the steered one.
const minJump = 100 * time.Millisecond

// processStart is the origin of the monotonic readings.
var processStart = time.Now()

func readSample() sample {
	now := time.Now()
	m := now.Sub(processStart)
	return sample{real: ntp.FromTime(now), boot: m, mono: m, raw: m}
}
