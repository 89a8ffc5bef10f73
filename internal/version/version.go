// Package version says which build this is. The linker sets the variables (see the Makefile); nothing else may.
package version

import "time"

// Set with -ldflags "-X ntp-daemon/internal/version.Commit=…".
var (
	Version    = "0.1.0"
	Commit     = "-"
	CommitDate = "2026-11-25" // YYYY-MM-DD, UTC
)

// Built returns the day of the commit: the floor under any believable clock reading and the pivot that decides
// eras (rows C33, KC19). A build without the variable falls back to the day of the release.
func Built() time.Time {
	t, err := time.Parse(time.DateOnly, CommitDate)
	if err != nil {
		return time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	}
	return t
}
