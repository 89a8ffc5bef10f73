package clock

import (
	"time"

	"ntp-daemon/internal/ntp"
)

// sample is one nearly simultaneous reading of the kernel's clocks. On systems without them boot, mono and
// raw are all the runtime's monotonic clock.
type sample struct {
	real  ntp.Timestamp // CLOCK_REALTIME: steered, steps
	boot  time.Duration // CLOCK_BOOTTIME: steered, never steps, counts suspends
	mono  time.Duration // CLOCK_MONOTONIC: steered, never steps, stands still in suspends
	raw   time.Duration // CLOCK_MONOTONIC_RAW: the bare oscillator
	width time.Duration // within which all were read: the uncertainty of their differences
}

// moved tells how far the clock was stepped from a to b (boot and real are steered alike, so only a step changes
// their difference) and how long the machine was suspended. What does not stand out of the samples' uncertainty is 0.
func moved(a, b sample) (step, suspend time.Duration) {
	limit := max(minJump, a.width+b.width)
	if d := b.real.Sub(a.real) - (b.boot - a.boot); d.Abs() > limit {
		step = d
	}
	if d := (b.boot - a.boot) - (b.mono - a.mono); d.Abs() > limit {
		suspend = d
	}
	return step, suspend
}

// jumped reports a step or a suspend between two samples.
func jumped(a, b sample) bool {
	step, suspend := moved(a, b)
	return step != 0 || suspend != 0
}

// sampleTries is how often the clocks are read for the narrowest of several samples: the second try is free of
// cold caches, the third survives one interruption.
const sampleTries = 3

// narrowest reads several samples and returns the one that was read fastest.
func narrowest(read func() sample) sample {
	best := read()
	for range sampleTries - 1 {
		if s := read(); s.width < best.width {
			best = s
		}
	}
	return best
}
