//go:build !linux

package clock

import (
	"context"
	"time"
)

// CanStandStill reports whether this machine says of itself that it is a virtual one; not known here.
func CanStandStill() bool { return false }

// HasBattery reports whether the machine has a clock that runs while it is switched off; not known here, so it is trusted.
func HasBattery() bool { return true }

// WatchStandstills is for Linux only.
func WatchStandstills(context.Context, <-chan struct{}, func(time.Duration)) error {
	return ErrUnsupported
}
