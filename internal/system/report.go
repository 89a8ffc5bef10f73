package system

import (
	"fmt"
	"math"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/ntp"
)

// Role is the part that a source plays.
type Role uint8

// The roles.
const (
	RoleExcluded    Role = iota // not a candidate, see Reason
	RoleCandidate               // would vote, but there is no consensus
	RoleFalseticker             // outside the consensus
	RoleSelected                // steers the clock
	RolePeer                    // selected, and the one whose stratum and root values clients are told
)

// String is the wording of status output.
func (r Role) String() string {
	switch r {
	case RoleCandidate:
		return "candidate"
	case RoleFalseticker:
		return "falseticker"
	case RoleSelected:
		return "selected"
	case RolePeer:
		return "system peer"
	}
	return "excluded"
}

// State is the condition of the whole.
type State uint8

// The states.
const (
	Unsynchronized State = iota // no consensus now, and the last one is too old or never was
	HoldOver                    // no consensus now, but the clock still runs on the last one
	Synchronized                // a consensus steers the clock
	LocalClock                  // no consensus; serving our own clock at the local stratum
	Refused                     // a step limit was exceeded
)

// String is the wording of status output.
func (s State) String() string {
	switch s {
	case HoldOver:
		return "hold-over"
	case Synchronized:
		return "synchronised"
	case LocalClock:
		return "local"
	case Refused:
		return "refused"
	}
	return "unsynchronised"
}

// SourceRow is what the system process knows of one source, each part as its owner declares it.
type SourceRow struct {
	Added
	Role     Role
	Reason   string                   // why not selected; empty when selected
	Last     ntp.Measurement          // newest sample, with what the source claims of itself; zero before the first
	Updated  ntp.Timestamp            // clock reading at that sample
	Estimate algorithm.SourceEstimate // what follows from all samples
}

// Report is the state of the system process for the snapshot.
type Report struct {
	State      State
	Selected   int  // sources in the consensus
	Candidates int  // sources that had a vote
	Following  bool // a consensus is followed, whether or not we may call ourselves synchronised, see Unserved
	View       ntp.View

	EstimateKnown bool          // the four fields below have meaning
	Offset        time.Duration // true time minus clock at the last update, positive: slow
	OffsetSigma   time.Duration
	Frequency     float64 // s/s, wanted correction of the bare oscillator: what a drift file stores
	FreqSigma     float64 // s/s
	Applied       float64 // s/s now in force, a slew included

	// Variance of the clock's error t seconds after the clock read VarianceAt: base, linear, quadratic, cubic term. It is of what
	// is not known: Offset is known, and is being taken out.
	RootVariance [4]float64
	VarianceAt   ntp.Timestamp // 0 while nothing is known or nothing is served

	Unserved           string             // why we are not synchronised although a consensus is followed; empty otherwise
	Refusal            Refusal            // why the clock is left alone
	Refusals           [limitCount]uint64 // times that steering was given up, by Limit
	Unset              bool               // the clock is known to be wrong: it shows a time that is past
	Spent              Spent              // of what a day allows sources without authentication
	Steps              int                // made by us
	LastStep           time.Duration      // the latest of them, 0 if there was none
	AccumulatedSteps   time.Duration      // sum of their sizes after the first update
	AccumulatedLimit   time.Duration      // 0: none
	StartupAllowance   bool               // the start-up step limit still applies: no update was accepted yet
	ConsensusLost      uint64             // times that a consensus was lost
	LoopsDetected      uint64
	Sources            []SourceRow // by SourceID
	WrongEpoch, InLeap uint64      // samples dropped: other clock epoch, near a leap second
}

// Report returns the state for the snapshot.
func (s *System) Report() Report {
	e := &s.estimate
	r := Report{
		State: s.State(), Selected: s.decision.Selected, Candidates: s.decision.Candidates, View: s.view,
		Following:     s.phase.kind == following,
		EstimateKnown: e.Known, Offset: e.Offset, Frequency: e.Frequency, Applied: s.clock.Frequency,
		OffsetSigma: time.Duration(math.Sqrt(e.VarOffset) * 1e9), FreqSigma: math.Sqrt(e.VarFreq),
		RootVariance: [4]float64{e.VarOffset, 2 * e.Cov, e.VarFreq, e.Wander * e.Wander / 3},
		Refusal:      s.refusal, Refusals: s.refusals, Unset: s.unsetNow, Spent: s.limits.day.at(s.at.tick), LastStep: s.limits.last,
		Steps: s.limits.steps, AccumulatedSteps: s.limits.sum, AccumulatedLimit: s.limits.accumulated,
		StartupAllowance: !s.limits.spent, ConsensusLost: s.lost, LoopsDetected: s.loops,
		WrongEpoch: s.wrongEpoch, InLeap: s.inLeapWindow,
	}
	if s.holds && s.view.Synchronized {
		r.VarianceAt = s.estimated
	}
	if r.Following {
		r.Unserved = s.unserved.why
	}
	r.Sources = make([]SourceRow, len(s.sources))
	for i, src := range s.sources {
		r.Sources[i] = s.row(src, src == s.peer)
	}
	return r
}

func (s *System) row(src *source, peer bool) SourceRow {
	row := SourceRow{Added: src.Added, Last: src.last, Updated: src.updated, Estimate: s.disc.Source(src.ID)}
	row.Role, row.Reason = s.role(src)
	if peer && s.phase.kind == following && src.selected() {
		row.Role = RolePeer
	}
	return row
}

// role is the verdict on one source in the words of status output.
func (s *System) role(src *source) (Role, string) {
	switch {
	case src.status.Unusable && (!src.judging || src.judged.Verdict == algorithm.Excluded):
		return RoleExcluded, "association stopped"
	case src.bar != barNone:
		return RoleExcluded, src.bar.String()
	case src.status.Fault != "" && !src.status.Reachable:
		return RoleExcluded, src.status.Fault
	case !src.judging:
		return RoleExcluded, algorithm.ReasonNoSample.String()
	}
	reason := s.reason(src)
	switch src.judged.Verdict {
	case algorithm.Selected:
		if src.judged.Aside {
			return RoleSelected, "agrees, but is too far from most of the others to count"
		}
		return RoleSelected, ""
	case algorithm.Candidate:
		return RoleCandidate, reason
	case algorithm.Falseticker:
		return RoleFalseticker, reason
	}
	return RoleExcluded, reason
}

// reason is why a source that was judged is not selected. A limit is named with its key, and with what exceeds it.
func (s *System) reason(src *source) string {
	j := &src.judged
	if j.Reason != algorithm.ReasonDistance {
		return j.Reason.String()
	}
	return fmt.Sprintf("it may be off by %v, above maximum-source-uncertainty %v; it claims root dispersion %v and root delay %v, its round trip is %v",
		short(j.Radius), seconds(s.params.Algorithm.MaximumSourceUncertainty),
		short(src.last.RootDispersion), short(src.last.RootDelay), short(s.disc.Source(src.ID).Delay))
}

// short drops digits that nobody wants to read.
func short(d time.Duration) time.Duration { return d.Round(max(d.Abs()/1000, 1)) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
