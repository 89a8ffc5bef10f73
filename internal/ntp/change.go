package ntp

import (
	"errors"
	"time"
)

// ClockStatus is what the kernel, and through it every program on the host, is told about the quality of the clock.
type ClockStatus struct {
	Leap         LeapIndicator // arms or disarms the kernel's leap second; LeapUnknown disarms
	MaxError     time.Duration // root distance: a bound of the error, ≥ 0
	EstError     time.Duration // expected error, ≥ 0
	Synchronized bool
	TAI          int // TAI - UTC, s; 0: not known, what the kernel has stays
}

// ForeignChange describes what somebody else did to the clock between two looks. Enter it in the ledger with
// Append(f.Entry, f.Elapsed). Entry.Foreign is set when the offset is unknown from now on; it is not set when
// the change is fully accounted for by Entry.Step: a leap second that we had armed, or what the clock gained by
// another program's frequency.
type ForeignChange struct {
	Entry   LedgerEntry
	Elapsed time.Duration // oscillator time since the previous entry, by a clock that nobody steers
	Jump    time.Duration // measured size of the step, 0 if there was none
	Sleep   time.Duration // how long the machine was suspended, 0 if it was not

	Leap     bool    // the jump is the leap second we had armed
	Tampered bool    // frequency, tick, status or a pending slew differ from what we last wrote
	Was, Is  float64 // frequency as we last wrote it and as it was found, s/s, without the tick
}

// Why a clock does not take a correction. Nothing was written then.
var (
	// ErrClockPermission: the clock may not be set by this process; CAP_SYS_TIME is missing.
	ErrClockPermission = errors.New("no permission to set the clock (CAP_SYS_TIME)")
	// ErrForeignChange: the clock was stepped by somebody else, or the machine slept, since the last look.
	// CheckForeign tells more, after which the call may be repeated.
	ErrForeignChange = errors.New("clock was changed by another program")
	// ErrClockReadOnly: this clock is not to be steered.
	ErrClockReadOnly = errors.New("clock control is off")
)
