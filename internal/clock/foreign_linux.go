package clock

import (
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// CheckForeign implements Clock. What it finds becomes the known state; the next SetFrequency puts right what
// is wrong with it.
func (k *Kernel) CheckForeign() (ntp.ForeignChange, bool) {
	is, s, err := k.look()
	if err != nil {
		return ntp.ForeignChange{}, false // the next write will say so
	}
	step, suspend := moved(k.origin, s)
	stepped := step != 0 || suspend != 0
	if !stepped && is == k.known {
		return ntp.ForeignChange{}, false
	}
	f := ntp.ForeignChange{Elapsed: s.raw - k.entered, Tampered: is != k.known, Was: k.known.Frequency, Is: is.Frequency}
	f.Entry = ntp.LedgerEntry{Time: s.real, Frequency: is.rate()}
	if stepped {
		f.Jump, f.Sleep = step, suspend
		if f.Leap = k.leapSecond(f.Jump, f.Sleep); f.Leap {
			f.Jump = f.Jump.Round(time.Second)
		}
		f.Entry.Foreign, f.Entry.Leap = !f.Leap, f.Leap
		k.advance(s.real, step)
		k.origin = s
	}
	switch {
	case f.Entry.Foreign, !f.Tampered:
		f.Entry.Step = f.Jump
	default:
		f.Entry.Step = k.excess(s.real.Sub(k.last.Time), f.Elapsed)
	}
	k.last, k.known, k.entered = f.Entry, is, s.raw
	return f, true
}

// leapTolerance is how far from one second the kernel's leap second may seem to be.
const leapTolerance = time.Millisecond

// leapSecond reports whether a jump is the leap second that we had armed: one second back where one was
// inserted, one second forward where one was left out.
func (k *Kernel) leapSecond(jump, sleep time.Duration) bool {
	if sleep.Abs() > leapTolerance {
		return false
	}
	switch k.leap {
	case unix.STA_INS:
		return (jump + time.Second).Abs() < leapTolerance
	case unix.STA_DEL:
		return (jump - time.Second).Abs() < leapTolerance
	}
	return false
}
