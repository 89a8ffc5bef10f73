package clock

import (
	"errors"
	"time"

	"ntp-daemon/internal/ntp"
)

// Clock is a clock that can be read and, as far as it allows, steered. Now, Epoch, EpochSince and Map are safe for
// concurrent use; everything else belongs to the timekeeper.
type Clock interface {
	// Now reads the clock.
	Now() ntp.Timestamp
	// Epoch counts the steps seen so far, ours and foreign ones. An exchange whose epochs differ at its two
	// ends straddles a step.
	Epoch() uint64
	// EpochSince is the reading up to which a stamp may be of an earlier epoch than that which Epoch said before: asked for after Epoch,
	// which is asked for after the stamp was taken. Zero before the first step.
	EpochSince() ntp.Timestamp
	// Map converts a time stamp of the kernel (CLOCK_REALTIME) to this clock's reading at that moment.
	Map(kernel ntp.Timestamp) ntp.Timestamp

	// Frequency is the correction now in force, s/s relative to the bare oscillator.
	Frequency() float64
	// SetFrequency makes f the whole correction in force. What lies beyond ±MaxFrequency is cut to it; the
	// entry says what was applied. Errors: ErrBadValue, ntp.ErrForeignChange, ntp.ErrClockPermission, ntp.ErrClockReadOnly; then nothing
	// was written.
	SetFrequency(f float64) (ntp.LedgerEntry, error)
	// SetBase names the part of the correction that stays when a slew ends: the frequency that Rest leaves
	// behind. Before the first call it is the correction found at the start. It touches no clock.
	SetBase(f float64) error
	// Step adds d to the clock at once. Errors as SetFrequency.
	Step(d time.Duration) (ntp.LedgerEntry, error)
	// SetStatus tells the kernel, and through it every program on the host, how good the clock is. A step
	// voids it.
	SetStatus(s ntp.ClockStatus) error

	// CheckForeign looks whether somebody else changed the clock since the last look, and adopts what it
	// finds; it never writes to the clock. ok is false when all is as we left it. Call it when WatchSteps
	// reports and before each correction: a correction computed for the clock as it was would be wrong.
	CheckForeign() (f ntp.ForeignChange, ok bool)
	// Rest prepares an orderly exit: a slew in progress ends (the base frequency is put in force), a leap
	// second that is armed is disarmed. The clock remains usable.
	Rest() error
}

// State is the part of the kernel's clock state that decides how the clock runs.
type State struct {
	Frequency float64       // s/s, without the tick
	Tick      int64         // µs per nominal 1/100 s, normally 10000
	Status    int           // STA_ bits that we own
	Offset    time.Duration // left to slew by the kernel's phase-locked loop
	Adjtime   time.Duration // left to slew of an adjtime(3) request
}

// MaxFrequency is the largest correction the kernel accepts, s/s (MAXFREQ of the kernel's timex.h: 500 ppm).
const MaxFrequency = 500e-6

// absurdFrequency is the size beyond which a frequency is a mistake of the caller and not a demand to be cut
// to MaxFrequency: no oscillator is 10 % off.
const absurdFrequency = 0.1

// Sentinels that callers match, beside those of ntp: ErrForeignChange, ErrClockPermission, ErrClockReadOnly.
var (
	// ErrBadValue: not a number, infinite, or beyond what any clock can do.
	ErrBadValue = errors.New("impossible clock correction")
	// ErrUnsupported: this operating system or kernel lacks what is needed.
	ErrUnsupported = errors.New("not supported on this system")
)
