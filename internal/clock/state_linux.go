package clock

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

const (
	// nominalTick is the length of a tick of USER_HZ = 100, µs, on every architecture the suite supports.
	nominalTick = 10000

	// leapStatus are the bits that arm the kernel's leap second.
	leapStatus = unix.STA_INS | unix.STA_DEL

	// ownedStatus are the bits that only we may set. The others report, or are set by the kernel itself:
	// STA_UNSYNC when the error bound passes 16 s or the clock is stepped, STA_NANO as the unit of struct timex.
	ownedStatus = unix.STA_PLL | unix.STA_FLL | unix.STA_FREQHOLD | unix.STA_PPSFREQ | unix.STA_PPSTIME | leapStatus

	// adjtimeRead asks for the rest of an adjtime(3) request without changing it.
	adjtimeRead = unix.ADJ_OFFSET_SS_READ
)

// readState asks the kernel how the clock runs; it writes nothing. The second value is the kernel's answer.
func readState(adjtime func(*timex) (int, error)) (State, timex, error) {
	var tx timex
	if _, err := adjtime(&tx); err != nil {
		return State{}, tx, kernelError("read clock state", err)
	}
	single := timex{modes: adjtimeRead}
	if _, err := adjtime(&single); err != nil {
		return State{}, tx, kernelError("read adjtime", err)
	}
	return State{
		Frequency: fromKernel(tx.freq),
		Tick:      tx.tick,
		Status:    int(tx.status) & ownedStatus,
		Offset:    tx.inUnit(tx.offset),
		Adjtime:   time.Duration(single.offset) * time.Microsecond, // always µs
	}, tx, nil
}

// inUnit converts a value that is in ns or µs, as STA_NANO says.
func (t *timex) inUnit(n int64) time.Duration {
	if t.status&unix.STA_NANO != 0 {
		return time.Duration(n)
	}
	return time.Duration(n) * time.Microsecond
}

// reading is the clock at the moment of the call that filled t, after its step if it made one.
func (t *timex) reading() ntp.Timestamp { return ntp.FromUnix(t.sec, int64(t.inUnit(t.subsec))) }

// rate is the correction in force, s/s, the tick included. A slew of the kernel's own loops is not in it: it
// changes every second, which shows as a changed Offset or Adjtime.
func (s State) rate() float64 {
	return float64(s.Tick-nominalTick)/nominalTick + s.Frequency
}

// clean reports whether nothing but the frequency and a leap second armed by us acts on the clock.
func (s State) clean(leap int) bool {
	return s.Tick == nominalTick && s.Status == leap && s.Offset == 0 && s.Adjtime == 0
}

// leftovers names what is wrong with the state, in the order of Leftovers.Fixed.
func (s State) leftovers() (names []string) {
	for _, l := range []struct {
		name  string
		wrong bool
	}{
		{"pll", s.Status&unix.STA_PLL != 0},
		{"fll", s.Status&unix.STA_FLL != 0},
		{"freqhold", s.Status&unix.STA_FREQHOLD != 0},
		{"pps", s.Status&(unix.STA_PPSFREQ|unix.STA_PPSTIME) != 0},
		{"leap", s.Status&leapStatus != 0},
		{"tick", s.Tick != nominalTick},
		{"offset", s.Offset != 0},
		{"adjtime", s.Adjtime != 0},
	} {
		if l.wrong {
			names = append(names, l.name)
		}
	}
	return names
}

// normalise stops everything that acts on the clock apart from the frequency, and leaves the given leap bits
// armed. The kernel says "not synchronised" until the next SetStatus.
func normalise(adjtime func(*timex) (int, error), is State, leap int) error {
	steps := make([]timex, 0, 3)
	if is.Offset != 0 {
		// The kernel forgets what is left to slew only while its loop is on; with the hold bit it learns
		// nothing from that.
		steps = append(steps, timex{modes: unix.ADJ_OFFSET | unix.ADJ_STATUS | unix.ADJ_NANO, status: unix.STA_PLL | unix.STA_FREQHOLD | unix.STA_UNSYNC})
	}
	steps = append(steps, timex{modes: unix.ADJ_STATUS | unix.ADJ_TICK | unix.ADJ_NANO, status: unix.STA_UNSYNC | int32(leap), tick: nominalTick})
	if is.Adjtime != 0 {
		steps = append(steps, timex{modes: unix.ADJ_OFFSET_SINGLESHOT})
	}
	for i := range steps {
		if _, err := adjtime(&steps[i]); err != nil {
			return kernelError("normalise clock", err)
		}
	}
	return nil
}

// kernelError names the step and maps the refusals that callers match.
func kernelError(step string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s: %w", step, ntp.ErrClockPermission)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%s: clock_adjtime is %w", step, ErrUnsupported)
	}
	return fmt.Errorf("%s: %w", step, err)
}
