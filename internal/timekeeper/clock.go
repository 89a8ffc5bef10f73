package timekeeper

import (
	"time"

	"ntp-daemon/internal/ntp"
)

// Clock is the steerable clock as the timekeeper needs it; package clock documents the methods. Together with the
// arguments of Turn, what a Clock answers is all that a decision depends on.
type Clock interface {
	// Now reads the clock.
	Now() ntp.Timestamp
	// Epoch counts the steps seen so far, ours and foreign ones.
	Epoch() uint64
	// SetBase names the frequency that Rest leaves behind, s/s relative to the bare oscillator.
	SetBase(f float64) error
	// SetFrequency makes f the whole correction in force, s/s. Errors: ntp.ErrForeignChange, ntp.ErrClockPermission,
	// ntp.ErrClockReadOnly, or one that ends the program; then nothing was written.
	SetFrequency(f float64) (ntp.LedgerEntry, error)
	// Step adds d to the clock at once. Errors as SetFrequency.
	Step(d time.Duration) (ntp.LedgerEntry, error)
	// SetStatus tells the kernel how good the clock is. A step voids it.
	SetStatus(s ntp.ClockStatus) error
	// CheckForeign looks whether somebody else changed the clock since the last look, and adopts what it finds; ok is
	// false when all is as we left it.
	CheckForeign() (f ntp.ForeignChange, ok bool)
	// Rest ends a slew and disarms a leap second, for an orderly exit.
	Rest() error
}
