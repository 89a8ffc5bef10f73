package system

import (
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/ntp"
)

// leapMargin is the time around the end of a leap day in which no sample is believed: one side may already
// have counted the second that the other has not (row K10).
const leapMargin = 2 * time.Second

// leap is the warning that we pass on.
type leap struct {
	armed ntp.LeapIndicator // LeapNone, LeapInsert or LeapDelete
}

// update follows the vote while the calendar allows a leap second, and clears it otherwise (row K09).
func (l *leap) update(vote ntp.LeapIndicator, clock ntp.Timestamp, pivot time.Time) (changed bool) {
	was := l.armed
	t := clock.Time(pivot).UTC()
	switch {
	case l.near(clock, pivot): // decided: votes around the second itself mean nothing
	case leapDay(t):
		l.armed = vote
	default:
		l.armed = ntp.LeapNone
	}
	return l.armed != was
}

// near reports whether an announced leap second is at most leapMargin away.
func (l *leap) near(clock ntp.Timestamp, pivot time.Time) bool {
	if l.armed == ntp.LeapNone {
		return false
	}
	t := clock.Time(pivot).UTC()
	before, after := t.Add(leapMargin), t.Add(-leapMargin)
	return leapDay(t) && !leapDay(before) || leapDay(after) && !leapDay(t)
}

// leapDay reports whether t lies in the last day of June or December, the only ones that end with a leap
// second in practice (RFC 5905 §7.3; ITU-R TF.460).
func leapDay(t time.Time) bool {
	_, m, d := t.Date()
	return m == time.June && d == 30 || m == time.December && d == 31
}

// leapVote returns the warning that more than half of the selected sources give.
func (s *System) leapVote() ntp.LeapIndicator {
	var votes [4]int
	all := 0
	for _, src := range s.sources {
		if src.judging && src.judged.Verdict == algorithm.Selected {
			votes[src.last.Leap&3]++
			all++
		}
	}
	for _, l := range [...]ntp.LeapIndicator{ntp.LeapInsert, ntp.LeapDelete} {
		if 2*votes[l] > all {
			return l
		}
	}
	return ntp.LeapNone
}
