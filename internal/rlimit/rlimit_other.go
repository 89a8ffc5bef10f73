//go:build !linux

package rlimit

// Check finds nothing on this platform: its limits are not known to us.
func Check(int) error { return nil }
