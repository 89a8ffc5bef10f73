package clock

import (
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// minJump is the smallest step that counts as one: twice what reading four clocks takes at worst when not
// interrupted. Smaller ones are noise to the estimator.
const minJump = 20 * time.Microsecond

// readSample reads the four clocks. The one that matters most, the steerable one, lies in the middle.
func readSample() sample {
	boot1 := clockGettime(unix.CLOCK_BOOTTIME)
	raw := clockGettime(unix.CLOCK_MONOTONIC_RAW)
	real := clockGettime(unix.CLOCK_REALTIME)
	mono := clockGettime(unix.CLOCK_MONOTONIC)
	boot2 := clockGettime(unix.CLOCK_BOOTTIME)
	width := boot2.duration() - boot1.duration()
	return sample{
		real:  ntp.FromUnix(real.sec, real.nsec),
		boot:  boot1.duration() + width/2,
		mono:  mono.duration(),
		raw:   raw.duration(),
		width: width,
	}
}

func (t timespec) duration() time.Duration {
	return time.Duration(t.sec)*time.Second + time.Duration(t.nsec)
}
