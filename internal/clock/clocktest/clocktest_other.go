//go:build !linux

package clocktest

import "testing"

// Main runs the tests.
func Main(m *testing.M) int { return m.Run() }

// Guard skips the test.
func Guard(t testing.TB) { t.Skip("skipped: the system clock is steered on Linux only") }
