package algorithm

import (
	"time"

	"ntp-daemon/internal/ntp"
)

// Discipline estimates the clock error from measurements of many sources and decides how to steer. Not safe
// for concurrent use; owned by system.System.
type Discipline struct {
	params   Params
	trackers []*tracker      // by SourceID
	clock    ntp.LedgerEntry // the newest change of the steered clock
	lastY    float64         // last fused frequency: where a new source starts looking, s/s
}

// Verdict is what selection found about one source.
type Verdict uint8

// The verdicts.
const (
	Excluded    Verdict = iota // not a candidate, see Reason
	Falseticker                // a candidate outside the consensus
	Candidate                  // there is no consensus to be inside or outside of
	Selected                   // part of the consensus: its samples steer the clock
)

// String names the verdict as status output shows it.
func (v Verdict) String() string {
	switch v {
	case Falseticker:
		return "falseticker"
	case Candidate:
		return "candidate"
	case Selected:
		return "selected"
	}
	return "excluded"
}

// Reason says why a source is not selected.
type Reason uint8

// The reasons.
const (
	ReasonNone     Reason = iota
	ReasonNoSample        // nothing measured yet, or not enough since the start or a foreign step
	ReasonStale           // no sample for eight poll intervals
	ReasonLeap            // claims to be unsynchronised (leap indicator 3)
	ReasonDistance        // radius above maximum-source-uncertainty
	ReasonOutside         // its interval does not touch the consensus
	ReasonMinority        // no strict majority, or fewer than minimum-agreeing-sources agree
)

// String is the wording of status output.
func (r Reason) String() string {
	switch r {
	case ReasonNone:
		return ""
	case ReasonNoSample:
		return "too few samples"
	case ReasonStale:
		return "no recent sample"
	case ReasonLeap:
		return "not synchronised"
	case ReasonDistance:
		return "too uncertain"
	case ReasonOutside:
		return "outside the consensus"
	case ReasonMinority:
		return "no consensus"
	}
	return "unknown"
}

// Judgement is the verdict on one source.
type Judgement struct {
	Source  ntp.SourceID
	Verdict Verdict
	Reason  Reason
	Poll    ntp.PollExp // interval wanted for this source; the association keeps it inside its limits
}

// Estimate is the fused knowledge of the clock. Valid only when Known.
type Estimate struct {
	Known     bool
	At        ntp.Local
	Offset    float64 // s, true time minus steered clock at At; positive means the clock is slow
	Frequency float64 // s/s, true rate minus the bare oscillator's: the frequency that the clock should have
	VarOffset float64 // s², errors common to all sources included
	Cov       float64 // s·s/s
	VarFreq   float64 // (s/s)²
	Wander    float64 // s/s per sqrt(s), of the oscillator
}

// SteerKind tells what a Steer asks for.
type SteerKind uint8

// The kinds of steering.
const (
	SteerNone SteerKind = iota // leave the clock alone
	SteerSlew                  // run at Frequency
	SteerStep                  // step by Step
)

// Steer is the wanted change of the clock.
type Steer struct {
	Kind      SteerKind
	Frequency float64       // s/s, total relative to the bare oscillator, for SteerSlew
	Step      time.Duration // added to the clock, for SteerStep
}

// Decision is the answer to "what now?".
type Decision struct {
	Judgements []Judgement // one per known source, by SourceID
	Selected   int         // number of sources in the consensus; 0 means no consensus
	Candidates int         // number of sources that had a vote
	Estimate   Estimate
	Steer      Steer
	// Wait is the time after which Decide must be called again for a slew to end on target; 0 means that
	// nothing is pending.
	Wait time.Duration
}

// Report is one source's tracker as status output shows it.
type Report struct {
	Known          bool
	Samples        int
	Updated        ntp.Local     // time of the last sample
	Offset         time.Duration // true time minus steered clock, as this source has it, at Updated
	Uncertainty    time.Duration // one sigma of Offset
	Frequency      float64       // s/s, relative to the bare oscillator
	FreqSigma      float64       // s/s, one sigma
	Delay          time.Duration // shortest recent round trip
	Jitter         time.Duration // one sigma of a single sample's offset
	Wander         float64       // s/s per sqrt(s)
	RootDelay      time.Duration // claimed by the source
	RootDispersion time.Duration // claimed by the source
}

// New returns a discipline without sources. Settings out of range are replaced (row K08). Call Applied with
// the ledger's first entry before the first Decide when it carries a frequency.
func New(p Params) *Discipline { return &Discipline{params: p.sane()} }
