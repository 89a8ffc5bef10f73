//go:build !linux

package xdp

import (
	"context"
	"errors"

	"ntp-daemon/internal/program"
)

var errLinuxOnly = errors.New("answers in the network driver need Linux")

// Main says that there is no fast path here.
func Main(context.Context, string, string) error { return errLinuxOnly }

// ExitCode is our part of program.ExitCode; 0 for what is not ours alone.
func ExitCode(err error) int {
	if errors.Is(err, errLinuxOnly) {
		return program.ExitUnavailable
	}
	return 0
}
