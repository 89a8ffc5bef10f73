package ntp

import (
	"math"
	"time"
)

// LedgerEntry is one change of the steered clock that the kernel confirmed. From Time on, the clock runs at
// 1+Frequency times the bare oscillator.
type LedgerEntry struct {
	Time      Timestamp     // reading of the clock right after the change
	Step      time.Duration // added to the clock by this change; positive = clock moved forward
	Frequency float64       // s/s in force from Time on, relative to the bare oscillator
	// Foreign marks a change of unknown size that was not ours: a step by another program, or a suspend.
	// Local runs on (by a monotonic clock), but exchanges across it are void and the offset is unknown.
	Foreign bool
	// Leap marks a leap second that the kernel made at our wish: true time, as everybody counts it, has moved by
	// the whole seconds of Step too, so the offset stays what it was.
	Leap bool
	// Steer is the number of the decision that this change confirms; 0 for every other change.
	Steer uint64

	// Set by Ledger.Append.
	Local    Local         // oscillator time of the change
	ClockGap time.Duration // clock minus Local right after the change, counted from the ledger's first reading
}

// ledgerDepth bounds the history. Only exchanges and stored samples that straddle older entries are lost. An exchange
// lasts 5 s at most; an interleaved reply tells of one that lies a poll interval back.
const ledgerDepth = 256

// Ledger keeps the estimator off the clock that it steers: it is the list of all changes of that clock, and takes them
// out of every reading. Entry i says that at oscillator time L_i the clock read C_i and from then on ran at 1+f_i, so
// that until the next entry
//
//	reading C = C_i + (L - L_i)·(1 + f_i)        local L = L_i + (C - C_i)/(1 + f_i)
//
// A change of ours leaves L continuous: L_i is the local time of the reading before the step, C_i - step. A change by
// others breaks that, and L_i comes from a monotonic clock instead. What is measured in L (Place) stays true whatever
// the clock is made to do afterwards, so a steer appends one entry and touches no filter. An entry is appended when
// the kernel has confirmed the change, never when it was only wished for.
//
// A Ledger is immutable: Append returns a new value, and the zero value is not usable, see NewLedger. Ledgers that follow from
// each other share memory; Append must not run at the same time on two of them.
type Ledger struct {
	base    Timestamp
	entries []LedgerEntry // oldest first, at least one
	free    *int          // slots after the newest entry that no ledger of this memory uses
}

// NewLedger starts a ledger: at clock reading `at` the clock runs with the given frequency correction, and
// Local starts at zero there.
func NewLedger(at Timestamp, frequency float64) Ledger {
	return Ledger{base: at, entries: []LedgerEntry{{Time: at, Frequency: frequency}}, free: new(int)}
}

// Last returns the newest entry.
func (l Ledger) Last() LedgerEntry { return l.entries[len(l.entries)-1] }

// Append enters a change. For our own changes Local follows from the previous entry and the step; for a
// foreign one the caller says how much oscillator time passed since the previous entry.
func (l Ledger) Append(e LedgerEntry, elapsedIfForeign time.Duration) Ledger {
	last := l.Last()
	if e.Foreign {
		e.Local = last.Local.Add(elapsedIfForeign)
	} else {
		e.Local = last.local(e.Time.Add(-e.Step))
	}
	e.ClockGap = e.Time.Sub(l.base) - time.Duration(e.Local)
	keep := l.entries
	if len(keep) >= ledgerDepth {
		keep = keep[len(keep)-ledgerDepth+1:]
	}
	if left := cap(keep) - len(keep); left > 0 && left == *l.free { // nobody has appended to l before
		*l.free--
		return Ledger{base: l.base, entries: append(keep, e), free: l.free}
	}
	entries := append(make([]LedgerEntry, 0, 2*len(keep)+1), keep...)
	free := cap(entries) - len(entries) - 1
	return Ledger{base: l.base, entries: append(entries, e), free: &free}
}

// local maps a reading taken while e was the newest entry.
func (e *LedgerEntry) local(t Timestamp) Local {
	dc := t.Sub(e.Time)
	return e.Local.Add(dc - nearest(float64(dc)*e.Frequency/(1+e.Frequency)))
}

// ClockGapAt returns clock minus Local at oscillator time l, for l at or after the entry.
func (e *LedgerEntry) ClockGapAt(l Local) time.Duration {
	return e.ClockGap + nearest(float64(l-e.Local)*e.Frequency)
}

// nearest rounds to a nanosecond. Truncation would lose half a nanosecond at every change in the same
// direction, which looks like a frequency error of the oscillator.
func nearest(ns float64) time.Duration { return time.Duration(math.Round(ns)) }

// Local maps a current reading of the clock, one taken at or after the newest entry.
func (l Ledger) Local(t Timestamp) Local {
	last := l.Last()
	return last.local(t)
}

// Place fills At, TrueGap and RTT of a two-way measurement whose T1 and T4 are readings of the steered clock: offset and
// delay of RFC 5905 §8 with local times L1 and L4 in their place, At = (L1+L4)/2, TrueGap = (T2+T3)/2 - At,
// RTT = (L4-L1) - (T3-T2). It
// returns false, and leaves m unusable, when a step or a foreign change lies inside the exchange or the
// ledger no longer reaches back to T1. Frequency changes inside the exchange are accounted for.
//
// After a step back the same readings come a second time, and nothing in them tells which time is meant: the
// caller drops exchanges whose Epoch has passed. Place itself refuses what shows: a reply before its request.
func (l Ledger) Place(m *Measurement) bool {
	i4 := l.find(m.T4.Time, len(l.entries)-1)
	if i4 < 0 {
		return false
	}
	i1 := i4
	for m.T1.Time.Before(l.entries[i1].Time) {
		if i1 == 0 || l.entries[i1].Step != 0 || l.entries[i1].Foreign {
			return false
		}
		i1--
	}
	l1, l4 := l.entries[i1].local(m.T1.Time), l.entries[i4].local(m.T4.Time)
	if l4 < l1 {
		return false
	}
	m.At = l1 + (l4-l1)/2
	t2, t3 := m.T2.Time.Sub(l.base), m.T3.Time.Sub(l.base)
	m.TrueGap = t2 + (t3-t2)/2 - time.Duration(m.At)
	m.RTT = l4.Sub(l1) - (t3 - t2)
	return true
}

// find returns the index of the entry in force at reading t, looking back from index i; -1 if t is older than
// the ledger.
func (l Ledger) find(t Timestamp, i int) int {
	for i >= 0 && t.Before(l.entries[i].Time) {
		i--
	}
	return i
}
