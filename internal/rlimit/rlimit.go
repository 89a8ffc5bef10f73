// Package rlimit looks at the process's resource limits before anything else does, so that one that is too low is
// named in one line instead of by a failure in the middle of the work (row L06).
//
// Two limits can end the Go runtime with a stack trace before the first line of Go: RLIMIT_AS below some 1.3 GB and
// RLIMIT_NPROC below about six threads. On linux/amd64 the programs are therefore linked with an entry of ours
// (entry_linux_amd64.s, EntryFlag), which looks at these two and hands over to the runtime.
package rlimit

import (
	"fmt"
	"syscall"
)

// EntryFlag is what the linker must be told for the early look at the limits. Only linux/amd64 has it; a program
// linked without it works the same, except under a limit that is too low for the Go runtime itself.
const EntryFlag = "-E ntp-daemon/internal/rlimit.entry"

// Short says that a limit is lower than what the program needs.
type Short struct {
	Name       string // RLIMIT_…
	Have, Need uint64 // in the limit's own unit
	Remedy     string
}

// Error names the limit, both numbers and what to do.
func (s *Short) Error() string {
	return fmt.Sprintf("%s leaves %d and %d are needed; %s", s.Name, s.Have, s.Need, s.Remedy)
}

// Unwrap makes it an error of the operating system for who maps errors to exit codes.
func (s *Short) Unwrap() error { return syscall.EAGAIN }

const (
	// leastFiles is the three standard files, the poller and its wake-up, and a few sockets: below it not even a
	// plain server starts.
	leastFiles = 16
	// leastSpace is what a Go program reserves at its start (1.28 GB measured) and room for a heap. It is address
	// space, not memory.
	leastSpace = 1536 << 20
	// checkBelow is where counting the user's threads is worth the effort.
	checkBelow = 4096
)
