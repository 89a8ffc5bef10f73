package program

import (
	"errors"
	"syscall"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/rlimit"
)

// Exit codes of the suite (sysexits; docs/man/*.8).
const (
	ExitUsage       = 64 // the command line is wrong
	ExitUnavailable = 69 // a needed service or address is absent or taken
	ExitSoftware    = 70 // our mistake, or an end that a restart does not help: a step limit
	ExitOS          = 71 // the operating system refused something else
	ExitPermission  = 77 // a permission is missing
	ExitConfig      = 78 // the configuration, or a file that it names, is wrong
)

// UsageError is a mistake on the command line.
type UsageError struct{ Text string }

// Error returns the text.
func (e *UsageError) Error() string { return e.Text }

// ConfigError wraps what is wrong with the configuration beyond its own text: a certificate, a key, a list.
type ConfigError struct{ Err error }

// Error returns the text of the cause.
func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// ExitCode maps the error of a program to the code that a service manager understands (config.Checks). The program's own
// mapping is asked for what is neither usage nor configuration nor a resource limit; it returns 0 for what is none of its
// kind, and may be nil.
func ExitCode(err error, own func(error) int) int {
	var (
		usage    *UsageError
		problems config.Problems
		notBuilt *config.NotBuilt
		cfg      *ConfigError
		short    *rlimit.Short
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &problems), errors.As(err, &notBuilt), errors.As(err, &cfg):
		return ExitConfig
	case errors.As(err, &short):
		return ExitOS
	}
	if own != nil {
		if code := own(err); code != 0 {
			return code
		}
	}
	switch {
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return ExitPermission
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, syscall.EADDRNOTAVAIL):
		return ExitUnavailable
	case errors.As(err, new(syscall.Errno)):
		return ExitOS
	}
	return ExitSoftware
}
