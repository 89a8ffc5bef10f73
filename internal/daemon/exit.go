package daemon

import (
	"errors"
	"syscall"

	"ntp-daemon/internal/clock"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/udp"
)

// Exit codes of the suite (sysexits; docs/man/ntp-daemon.8).
const (
	ExitUsage       = 64
	ExitUnavailable = 69 // a needed service or address is absent or taken
	ExitSoftware    = 70 // our mistake, or a step limit: do not restart
	ExitOS          = 71
	ExitPermission  = 77
	ExitConfig      = 78
)

// UsageError is a mistake on the command line.
type UsageError struct{ Text string }

// Error returns the text.
func (e *UsageError) Error() string { return e.Text }

// ConfigError wraps what is wrong with a file that the configuration names: a certificate, a key.
type ConfigError struct{ Err error }

// Error returns the text of the cause.
func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// ExitCode maps the error of Main to the code that a service manager understands.
func ExitCode(err error) int {
	var (
		usage    *UsageError
		problems config.Problems
		notBuilt *config.NotBuilt
		cfg      *ConfigError
		refused  *RefusedError
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &problems), errors.As(err, &notBuilt), errors.As(err, &cfg):
		return ExitConfig
	case errors.As(err, &refused):
		return ExitSoftware
	case errors.Is(err, clock.ErrPermission), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return ExitPermission
	case errors.Is(err, udp.ErrInUse), errors.Is(err, syscall.EADDRINUSE), errors.Is(err, syscall.EADDRNOTAVAIL):
		return ExitUnavailable
	case isErrno(err):
		return ExitOS
	default:
		return ExitSoftware
	}
}

func isErrno(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}
