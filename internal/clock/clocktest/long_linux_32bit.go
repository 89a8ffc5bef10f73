//go:build linux && (386 || arm || mips || mipsle)

package clocktest

// clampLong converts to the kernel's long; what these tests write is small.
func clampLong(n int64) int32 { return int32(n) }
