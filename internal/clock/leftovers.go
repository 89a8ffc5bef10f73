package clock

import "time"

// Leftovers is what OpenKernel found in the kernel's clock and put right: the remains of another time
// program, which would fight our steering (reliability row K01). Log it once.
type Leftovers struct {
	Before State
	// Fixed names what was changed, in a fixed order: "pll", "fll", "freqhold", "pps", "leap", "tick",
	// "offset", "adjtime". Empty if the clock was clean.
	Fixed []string
	// MaxError is the error bound that the kernel held; a large one means nobody kept the clock lately.
	MaxError time.Duration
}
