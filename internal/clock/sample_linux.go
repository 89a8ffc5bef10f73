package clock

import (
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// minJump is the smallest step that counts as one: several times what reading the clocks takes when nothing
// interrupts. Smaller steps are noise to the estimator.
const minJump = 20 * time.Microsecond

// sampler returns a reader of the kernel's clocks.
func sampler() func() sample { return readSample }

// readSample reads the four clocks, the steerable one in the middle.
func readSample() sample {
	boot1 := clockGettime(unix.CLOCK_BOOTTIME).duration()
	raw := clockGettime(unix.CLOCK_MONOTONIC_RAW)
	real := clockGettime(unix.CLOCK_REALTIME)
	mono := clockGettime(unix.CLOCK_MONOTONIC)
	boot2 := clockGettime(unix.CLOCK_BOOTTIME).duration()
	return sample{
		real:  ntp.FromUnix(real.sec, real.nsec),
		boot:  boot1 + (boot2-boot1)/2,
		mono:  mono.duration(),
		raw:   raw.duration(),
		width: boot2 - boot1,
	}
}

func (t timespec) duration() time.Duration {
	return time.Duration(t.sec)*time.Second + time.Duration(t.nsec)
}
