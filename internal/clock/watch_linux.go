package clock

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// WatchSteps calls changed soon after somebody, ourselves included, set the system clock or the machine woke
// from a suspend; CheckForeign then tells what it was. It returns when ctx ends, with its error, or when the
// kernel cannot watch. changed must be quick; it runs on the caller's goroutine.
func WatchSteps(ctx context.Context, changed func()) error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watch clock: %w", err)
	}
	f := os.NewFile(uintptr(fd), "timerfd")
	defer f.Close()
	if err := armForSteps(fd); err != nil {
		return fmt.Errorf("watch clock: %w", err)
	}
	// The deadline ends a Read that is waiting; closing the file could race with its reuse.
	defer context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })()
	var expirations [8]byte
	for {
		_, err := f.Read(expirations[:])
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ECANCELED): // the timer stays armed
			changed()
		case err != nil:
			return fmt.Errorf("watch clock: %w", err)
		default: // the timer expired: somebody set the clock to its last second
			changed()
			if err := armForSteps(fd); err != nil && !errors.Is(err, unix.ECANCELED) {
				return fmt.Errorf("watch clock: %w", err)
			}
		}
	}
}

// armForSteps arms a timer that never expires but is cancelled when the clock is set.
func armForSteps(fd int) error {
	spec := struct{ interval, value timespec }{value: timespec{sec: math.MaxInt64}}
	_, _, errno := unix.Syscall6(sysTimerfdSettime, uintptr(fd),
		unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
