package daemon

import (
	"errors"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/timekeeper"
	"ntp-daemon/internal/udp"
)

// ExitCode is our part of program.ExitCode; 0 for what is not ours alone.
func ExitCode(err error) int {
	var refused *timekeeper.RefusedError
	switch {
	case errors.As(err, &refused):
		return program.ExitSoftware
	case errors.Is(err, ntp.ErrClockPermission):
		return program.ExitPermission
	case errors.Is(err, udp.ErrInUse):
		return program.ExitUnavailable
	}
	return 0
}
