package daemon

import (
	"errors"
	"syscall"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/timekeeper"
	"ntp-daemon/internal/udp"
)

// ExitCode is our part of program.ExitCode: what is neither usage nor configuration.
func ExitCode(err error) int {
	var refused *timekeeper.RefusedError
	switch {
	case errors.As(err, &refused):
		return program.ExitSoftware
	case errors.Is(err, ntp.ErrClockPermission), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return program.ExitPermission
	case errors.Is(err, udp.ErrInUse), errors.Is(err, syscall.EADDRINUSE), errors.Is(err, syscall.EADDRNOTAVAIL):
		return program.ExitUnavailable
	case errors.As(err, new(syscall.Errno)):
		return program.ExitOS
	}
	return program.ExitSoftware
}
