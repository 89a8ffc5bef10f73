//go:build !linux

package alarm

func newBell(ring func()) bell { return newRuntimeBell(ring) }
