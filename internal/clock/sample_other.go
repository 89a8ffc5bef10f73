//go:build !linux

package clock

import (
	"time"

	"ntp-daemon/internal/ntp"
)

// minJump is large here: on these systems the runtime's monotonic clock may drift against the steered one.
const minJump = 100 * time.Millisecond

// sampler returns a reader of the system clock and the runtime's monotonic clock.
func sampler() func() sample {
	start := time.Now()
	return func() sample {
		now := time.Now()
		m := now.Sub(start)
		return sample{real: ntp.FromTime(now), boot: m, mono: m, raw: m}
	}
}
