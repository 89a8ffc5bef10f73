package system

import "time"

// phase is where the search for a consensus stands:
//
//	           first sample            majority of all sources, or deadline
//	searching ──────────────► waiting ──────────────────────────────────────► following
//	    ▲                                                                         │
//	    └────────────── consensus lost, or the clock changed by others ───────────┘
//
//	any ── a step beyond its limit ──► refused ── asks for less, or lasts (claim) ──► following
//	                                      └────── the clock changed by others ──────► searching
//
// With PanicExit refused is for good. A consensus that is lost while waiting changes nothing: what follows still waits for the same deadline.
type phase struct {
	kind     phaseKind
	deadline time.Time // waiting: from then on the consensus of those that have answered counts. Otherwise zero
	claim    claim     // refused: the step that is asked for. Otherwise zero
}

type phaseKind uint8

const (
	searching phaseKind = iota // no sample since the start, the last consensus or the last foreign change
	waiting                    // for the sources that may yet overrule those that have answered
	following                  // a consensus steers the clock
	refused                    // a step limit is exceeded: the clock is left alone
)

// deadlines are the moments at which something happens or is allowed, beside the end of a phase. Zero is long past.
type deadlines struct {
	tick      time.Time // the Tick that the latest Effects asked for; zero before the first event
	local     time.Time // the local stratum applies: localAfter after the start, a foreign step, the last consensus
	renewal   time.Time // an update is overdue, or in hold-over: the growth of the bound that is served is told anew
	burst     time.Time // the next lost consensus may make every source poll at once
	foreign   time.Time // foreignBursts burstIntervals before this the next foreign change makes every source poll at once
	displaced time.Time // samples alone may say again that the clock was displaced
	complaint time.Time // a missing consensus is worth a line
}

// start is what the first event finds.
func (s *System) start(now Now, fx *Effects) {
	s.at.local = now.Mono.Add(localAfter)
	s.at.complaint = now.Mono.Add(startupOverdue)
	s.limits.day.start(now.Mono)
	fx.View = s.publish()
}

// State is the condition of the whole, which Report has too.
func (s *System) State() State {
	switch s.phase.kind {
	case following:
		if !s.view.Synchronized { // we are what we tell others to be
			return Unsynchronized
		}
		return Synchronized
	case refused:
		if s.fallback == LocalClock {
			return LocalClock
		}
		return Refused
	}
	return s.fallback
}

// startupWait returns how long a new consensus should still wait: while sources that may yet answer could
// overrule those that have. A liar that answers first must not move the clock (row C25), neither at the
// start nor after an outage or a foreign step.
func (s *System) startupWait(now Now) time.Duration {
	if s.phase.kind == following || 2*s.decision.Selected > max(len(s.sources), s.params.Expected) {
		return 0
	}
	return s.phase.deadline.Sub(now.Mono)
}

// lose ends a consensus: the search begins anew.
func (s *System) lose() {
	if s.phase.kind == following {
		s.lost++
	}
	if s.phase.kind == refused && s.params.PanicAction == PanicExit {
		return
	}
	s.phase, s.refusal = phase{kind: searching}, Refusal{}
}
