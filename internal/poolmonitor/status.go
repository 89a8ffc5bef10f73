package poolmonitor

import (
	"slices"
	"time"

	"ntp-daemon/internal/nts/aead"
)

// Verdict is where users may be sent, as it is handed to those who send them. It does not change.
type Verdict struct {
	Usable [Families]bool
	Reason [Families]string // why not
	Lacks  []aead.Algorithm // that the time source advertises and that do not work
}

// Verdict returns the verdict on a time source; nil if it is not on the list.
func (m *Monitor) Verdict(id string) *Verdict {
	o := m.byID[id]
	if o == nil {
		return nil
	}
	var v Verdict
	for f := range Families {
		v.Usable[f], v.Reason[f] = o.views[f].state.in(), o.views[f].reason
	}
	for i := range o.algorithms {
		if a := o.algorithms[i].id; o.lacks(a) {
			v.Lacks = append(v.Lacks, a)
		}
	}
	return &v
}

// Has reports whether users may get the algorithm; a nil Verdict says that nobody knows better.
func (v *Verdict) Has(id aead.Algorithm) bool { return v == nil || !slices.Contains(v.Lacks, id) }

// For reports whether users of the family may be sent there; a nil Verdict says that nobody knows better.
func (v *Verdict) For(f Family) bool { return v == nil || v.Usable[f] }

// Status is the state of the monitor itself.
type Status struct {
	Rounds, VoidRounds uint64
	Void               [Families]string // why the latest round was void
	Ended              time.Time        // of the latest round
	Reference          Reference        // of the latest round
	Implausible        bool             // most certificates are not valid by this host's clock
}

// voids reports whether the latest round was void in a family.
func (s *Status) voids() bool { return s.Void != [Families]string{} }

// conclude counts a round.
func (s *Status) conclude(now time.Time, ref Reference) {
	s.Rounds++
	if s.voids() {
		s.VoidRounds++
	}
	s.Ended, s.Reference = now, ref
}

// Status returns the present state of the monitor.
func (m *Monitor) Status() Status { return m.status }

// ViewStatus is a time source as users of one family see it.
type ViewStatus struct {
	Family        Family
	State         State
	Reason        string
	Since         time.Time
	Score         float64
	Failed, Wrong int // probes and rounds in a row
	Probed        time.Time
	Outcome       Outcome
	Cause         string
	Answered      time.Time     // zero: never
	Offset        time.Duration // from the reference of that round
	Reading       Reading
	History       []Slot // the oldest first; nil: none
	SlotLeft      time.Duration
}

// AlgorithmStatus is what is known of one algorithm of a time source.
type AlgorithmStatus struct {
	Algorithm aead.Algorithm
	Usable    bool
	Failed    int // rounds in a row
	Reason    string
}

// Views returns what is known of a time source in the families that it serves; nil if it is not on the list.
func (m *Monitor) Views(id string, now time.Time) (views []ViewStatus, algorithms []AlgorithmStatus) {
	o := m.byID[id]
	if o == nil {
		return nil, nil
	}
	for f := range Families {
		if !o.wanted[f] {
			continue
		}
		v := &o.views[f]
		s := ViewStatus{
			Family: f, State: v.state, Reason: v.reason, Since: v.since, Score: v.score, Failed: v.failed, Wrong: v.wrong, Probed: v.probed,
			Outcome: v.outcome, Cause: v.cause, Answered: v.answered, Offset: v.offset, Reading: v.reading,
		}
		s.History, s.SlotLeft = v.history.list(now)
		views = append(views, s)
	}
	for i := range o.algorithms {
		a := &o.algorithms[i]
		algorithms = append(algorithms, AlgorithmStatus{a.id, !o.lacks(a.id), a.failed, a.reason})
	}
	return views, algorithms
}
