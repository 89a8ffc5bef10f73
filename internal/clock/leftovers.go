package clock

// Leftovers is what OpenKernel found in the kernel's clock and put right: the remains of another time
// program, which would fight our steering (row K01). Log it once.
type Leftovers struct {
	// Fixed names what was changed, in a fixed order: "pll", "fll", "freqhold", "pps", "leap", "tick",
	// "offset", "adjtime". Empty if the clock was clean.
	Fixed []string
}
