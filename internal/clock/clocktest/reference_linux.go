package clocktest

import (
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// Reference is a clock that nobody steers. It runs off CLOCK_MONOTONIC_RAW; all its values are immutable, so
// it may be used concurrently.
type Reference struct {
	real, raw time.Duration // at the start: its own reading since 1970, and CLOCK_MONOTONIC_RAW
	rate      float64       // s/s against CLOCK_MONOTONIC_RAW
}

// NewReference starts a clock that is ahead of the system clock by offset now and runs rate s/s faster than
// CLOCK_MONOTONIC_RAW; a system clock steered to it ends with the frequency rate.
func NewReference(offset time.Duration, rate float64) Reference {
	real, raw := pair()
	return Reference{real: real + offset, raw: raw, rate: rate}
}

// Now reads the clock.
func (r Reference) Now() ntp.Timestamp { return fromUnix(r.at(gettime(unix.CLOCK_MONOTONIC_RAW))) }

// Map converts a recent reading of the system clock, such as a kernel time stamp, to this clock's reading at
// that moment. The system clock must not have been stepped since.
func (r Reference) Map(system ntp.Timestamp) ntp.Timestamp {
	real, raw := pair()
	age := fromUnix(real).Sub(system)
	return fromUnix(r.at(raw)).Add(-age)
}

// Error is the system clock minus this clock, now.
func (r Reference) Error() time.Duration {
	real, raw := pair()
	return real - r.at(raw)
}

// at is the reading at a moment of CLOCK_MONOTONIC_RAW.
func (r Reference) at(raw time.Duration) time.Duration {
	elapsed := raw - r.raw
	return r.real + elapsed + time.Duration(float64(elapsed)*r.rate)
}

// pair reads CLOCK_REALTIME and CLOCK_MONOTONIC_RAW as nearly at the same moment as seven tries allow.
func pair() (real, raw time.Duration) {
	best := time.Duration(-1)
	for range 7 {
		before := gettime(unix.CLOCK_MONOTONIC_RAW)
		r := gettime(unix.CLOCK_REALTIME)
		after := gettime(unix.CLOCK_MONOTONIC_RAW)
		if width := after - before; best < 0 || width < best {
			best, real, raw = width, r, before+width/2
		}
	}
	return real, raw
}

func gettime(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic(err) // a test's package; both clocks exist on every Linux
	}
	return time.Duration(ts.Nano())
}

func fromUnix(d time.Duration) ntp.Timestamp {
	return ntp.FromUnix(int64(d/time.Second), int64(d%time.Second))
}
