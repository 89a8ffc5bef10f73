//go:build !linux

package clock

import (
	"context"
	"fmt"
	"runtime"
)

// Kernel exists on Linux only. The methods are never reached: OpenKernel returns no value of it here.
type Kernel struct{ ReadOnly }

// OpenKernel refuses: steering is built for Linux. Measuring (OpenReadOnly) and a virtual clock work.
func OpenKernel() (*Kernel, Leftovers, error) {
	return nil, Leftovers{}, fmt.Errorf("steer the system clock on %s: %w; use clock-control = false or clock = \"virtual\"",
		runtime.GOOS, ErrUnsupported)
}

// WatchSteps waits for ctx to end and reports nothing: this system does not tell when its clock is set.
func WatchSteps(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return ctx.Err()
}
