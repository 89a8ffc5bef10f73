//go:build linux && !386 && !arm && !mips && !mipsle

package clocktest

// clampLong converts to the kernel's long.
func clampLong(n int64) int64 { return n }
