package algorithm

import (
	"cmp"
	"math"
	"slices"
	"time"

	"ntp-daemon/internal/ntp"
)

// Discipline estimates the clock's error from measurements of many sources and decides how to steer. It keeps one
// bank of filters per source (tracker), whose state is true time minus the bare oscillator, so that steering touches no filter.
// The order of use, at every turn of the system process:
//
//	Absorb(sample)  one source's filter takes the sample in
//	Decide(now)     select the sources that agree, fuse their states, choose slew, step or nothing; changes nothing
//	Follow(d)       the caller acts on that decision: it becomes the one that is pending, and teaches the frequency
//	Applied(entry)  the clock has confirmed a change; with the number of the pending steer a slew begins, or ends
//
// A decision that is not followed leaves no trace, and a steer that the clock refused starts no slew. Formulas:
// docs/algorithm.md. Not safe for concurrent use; owned by system.System.
type Discipline struct {
	params    tuning
	trackers  []*tracker      // by SourceID
	clock     ntp.LedgerEntry // the newest change of the steered clock
	decisions uint64          // made so far

	y       float64 // last fused frequency that was followed, or what the clock started with: where a new source starts, s/s
	learned bool    // there was such a one
	pending uint64  // number of the steer that was followed and is not yet confirmed; 0: none
	asked   slew    // what the pending steer makes of the frequency
	slew    slew    // the same, as the clock has confirmed it

	buf buffers
}

// buffers are what one decision needs, kept for the next.
type buffers struct {
	cs             []candidate
	parts          []part
	delays, bounds []time.Duration
	judgements     []Judgement
}

// slew is a frequency that differs from the oscillator's need on purpose, until the offset is gone.
type slew struct {
	on   bool
	rest float64   // in force afterwards, s/s
	end  ntp.Local // when the offset is gone
}

// maxGap is beyond what two era-less timestamps can differ by, 68 years; the difference of two such gaps still
// fits a Duration.
const maxGap = 70 * 366 * 24 * time.Hour

// Verdict is what selection found about one source.
type Verdict uint8

// The verdicts.
const (
	Excluded    Verdict = iota // not a candidate, see Reason
	Falseticker                // a candidate outside the consensus
	Candidate                  // there is no consensus to be inside or outside of
	Selected                   // part of the consensus: its samples steer the clock
)

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
	ReasonWide            // agrees, but knows far less than the others
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
	case ReasonWide:
		return "far less certain than the others"
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
	Aside   bool        // selected, but so far from most of the others that its offset does not count
	Poll    ntp.PollExp // interval wanted for this source; the association keeps it inside its limits
	// Radius is the half width of the interval that the source vouches for, ≥ 0; it has a vote up to
	// maximum-source-uncertainty. 0 before its first sample.
	Radius time.Duration
	// Bound is by how much Estimate.Offset is wrong at most, by this source. Of a selected one only.
	Bound time.Duration
}

// Estimate is the fused knowledge of the clock. Valid only when Known.
type Estimate struct {
	Known     bool
	At        ntp.Local
	Offset    time.Duration // true time minus steered clock at At; positive means the clock is slow
	Frequency float64       // s/s, true rate minus the bare oscillator's: the frequency that the clock should have
	VarOffset float64       // s², errors common to all sources included
	Unseen    float64       // s², of VarOffset: what the oscillator does between samples and no filter foresees
	Cov       float64       // s·s/s
	VarFreq   float64       // (s/s)²
	Wander    float64       // s/s per sqrt(s), of the oscillator
	Beyond    float64       // s/s, ≥ 0: how far |Frequency| is above maximum-frequency-steer; the clock stays wrong by that rate
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
	Step      time.Duration // added to the clock, positive moves it forward, for SteerStep
	Number    uint64        // of the decision: the ledger entry that confirms the steer carries it; never 0 when there is something to do
}

// Decision is the answer to "what now?".
type Decision struct {
	Judgements []Judgement // one per known source, by SourceID; the next Decide writes over them
	Selected   int         // number of sources in the consensus; 0 means no consensus
	Candidates int         // number of sources that had a vote
	Estimate   Estimate
	// Bound is by how much Estimate.Offset is wrong at most, half of RootDelay included, and RootDelay is the round trip
	// to the reference clock: the lower medians of what the selected sources say. With a consensus only.
	Bound, RootDelay time.Duration
	Steer            Steer
	slew             slew // what Steer makes of the frequency
	// Wait is the time after which Decide must be called again for a slew to end on target; 0 means that
	// nothing is pending.
	Wait time.Duration
}

// SourceEstimate is what the samples of one source say together.
type SourceEstimate struct {
	Known       bool          // Offset and Uncertainty have meaning
	Offset      time.Duration // true time minus steered clock, as this source has it, at the last sample or the newest change of the clock
	Uncertainty time.Duration // one sigma of Offset
	Frequency   float64       // s/s, relative to the bare oscillator
	Delay       time.Duration // shortest recent round trip
	Jitter      time.Duration // one sigma of a single sample's offset
}

// New returns a discipline without sources. Settings out of range are replaced (row K08). Call Applied with
// the ledger's first entry before the first Decide when it carries a frequency.
func New(p Params) *Discipline { return &Discipline{params: newTuning(p)} }

// Absorb takes in one measurement that Ledger.Place has placed. One-way and pulse measurements are ignored:
// nothing produces them yet. So are those that no path can have made.
func (d *Discipline) Absorb(m ntp.Measurement) {
	if m.Kind != ntp.TwoWay || m.RTT > maxRoundTrip || ntp.ImpossibleDelay(m.RTT, m.Held(), m.Precision) || m.TrueGap > maxGap || m.TrueGap < -maxGap {
		return
	}
	i, known := d.find(m.Source)
	if !known {
		d.trackers = slices.Insert(d.trackers, i, newTracker(&m, d.y, &d.params))
	}
	d.trackers[i].absorb(&m, &d.params)
}

// Decide selects, fuses and says how to steer at oscillator time now. It may be called at any time; without
// new samples it repeats itself, except that a slew ends.
func (d *Discipline) Decide(now ntp.Local) Decision {
	cs := d.candidates(now)
	dec := Decision{}
	dec.Selected, dec.Candidates = agree(cs, d.params.MinimumAgreeing)
	d.weigh(cs)
	d.setAside(cs, max(d.params.MinimumAgreeing, dec.Candidates/2+1))
	dec.Judgements = d.judgements(cs)
	if dec.Selected > 0 {
		fused, intensity := d.fuse(cs)
		dec.Estimate = d.estimate(fused, intensity, now)
		dec.Estimate.Unseen = commonUnseen(cs)
		dec.Estimate.VarOffset += dec.Estimate.Unseen
		dec.Bound, dec.RootDelay = d.told(cs, &fused, dec.Judgements)
	}
	if dec.Estimate.Known {
		d.steer(&dec, interval(cs))
	} else {
		dec.Selected = 0
		d.endSlew(now, &dec)
	}
	d.number(&dec)
	return dec
}

// Follow tells that a decision is acted on. Its steer is then the pending one, and sources to come start with the
// frequency of its consensus. A decision that waits for more sources is not followed and teaches nothing.
func (d *Discipline) Follow(dec *Decision) {
	if dec.Selected > 0 {
		d.y, d.learned = dec.Estimate.Frequency, true
	}
	for i := range dec.Judgements {
		j := &dec.Judgements[i]
		if at, known := d.find(j.Source); known && j.Verdict == Selected {
			d.trackers[at].aside = j.Aside
			if j.Aside {
				e := &dec.Estimate
				d.trackers[at].yield(e.At, e.Offset+d.clock.ClockGapAt(e.At), e.VarOffset)
			}
		}
	}
	d.pending, d.asked = dec.Steer.Number, dec.slew
	if dec.Steer.Kind == SteerNone && dec.Selected > 0 && d.slew.on { // the slew goes on at the same rate, or is over
		d.slew = dec.slew
	}
}

// Hold is the decision to leave the clock alone whatever the sources say: only a slew that is under way ends on target.
// It is followed instead of one whose step is refused.
func (d *Discipline) Hold(now ntp.Local) Decision {
	var dec Decision
	d.endSlew(now, &dec)
	d.number(&dec)
	return dec
}

// number makes a steer recognizable by the ledger entry that confirms it.
func (d *Discipline) number(dec *Decision) {
	if dec.Steer.Kind != SteerNone {
		d.decisions++
		dec.Steer.Number = d.decisions
	}
}

// Applied tells of a change of the clock that the kernel confirmed. Our own changes touch no filter: the state
// is about Local. A leap second moves true time with the clock. After a foreign change Local itself is in doubt, so
// every offset is found anew, while frequencies, wander and delays stay.
func (d *Discipline) Applied(e ntp.LedgerEntry) {
	if math.IsNaN(e.Frequency) || math.Abs(e.Frequency) >= maxBelievedFrequency {
		return // no kernel has confirmed this (row K08)
	}
	d.clock = e
	if e.Leap {
		for _, t := range d.trackers {
			t.leap(e.Step.Round(time.Second))
		}
	}
	if !d.learned && len(d.trackers) == 0 {
		d.y = e.Frequency
	}
	if e.Steer != 0 && e.Steer == d.pending {
		d.slew, d.pending = d.asked, 0
	}
	if !e.Foreign {
		return
	}
	d.slew.end = e.Local
	for _, t := range d.trackers {
		t.unseed()
	}
}

// Forget drops a source and all that was learned about it.
func (d *Discipline) Forget(id ntp.SourceID) {
	if i, known := d.find(id); known {
		d.trackers = slices.Delete(d.trackers, i, i+1)
	}
}

// Source returns the estimate of one source; zero before its first sample.
func (d *Discipline) Source(id ntp.SourceID) SourceEstimate {
	i, known := d.find(id)
	if !known || d.trackers[i].samples == 0 {
		return SourceEstimate{}
	}
	t := d.trackers[i]
	r := SourceEstimate{
		Known: t.fresh > 0, Frequency: t.s.y,
		Delay: t.noise.floor, Jitter: toDuration(math.Sqrt(t.noise.typical(t.last.Precision) + t.own)),
	}
	if r.Known {
		at := t.s.predict(d.clock.Local, t.intensity) // the newest entry holds only from its own time on
		r.Offset = at.origin - d.clock.ClockGapAt(at.at) + toDuration(at.x)
		r.Uncertainty = toDuration(math.Sqrt(at.pxx + t.hidden))
	}
	return r
}

// find returns where the source is, or where it belongs.
func (d *Discipline) find(id ntp.SourceID) (int, bool) {
	return slices.BinarySearchFunc(d.trackers, id, func(t *tracker, id ntp.SourceID) int {
		return cmp.Compare(t.id, id)
	})
}

// toDuration rounds to nanoseconds and saturates at ± 292 years.
func toDuration(sec float64) time.Duration {
	const limit = float64(math.MaxInt64) / 1e9
	switch {
	case math.IsNaN(sec):
		return 0
	case sec >= limit:
		return math.MaxInt64
	case sec <= -limit:
		return math.MinInt64 + 1
	}
	return time.Duration(math.Round(sec * 1e9))
}
