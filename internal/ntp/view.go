package ntp

import (
	"math"
	"time"
)

// dispersionRate is PHI of RFC 5905 §7.2: the growth of the error bound of an undisciplined clock, s/s.
const dispersionRate = 15e-6

// View is the immutable set of system variables shown to clients (RFC 5905 §11.1); published through one
// atomic pointer by the timekeeper.
type View struct {
	Leap         LeapIndicator
	Stratum      Stratum // 1…15, or MaxStratum when not synchronised
	RefID        RefID
	Reference    Timestamp     // clock reading at the last update
	RootDelay    time.Duration // to the reference clock, ≥ 0
	Dispersion   time.Duration // error bound at Reference, ≥ 0
	Wander       float64       // growth of Dispersion, s/s; 0 means PHI
	Precision    int8          // log2 s, measured at start
	Synchronized bool
}

// RootDispersion returns the error bound extrapolated to clock reading at; readings before Reference count as
// Reference, and a bound that does not fit is the largest one.
func (v *View) RootDispersion(at Timestamp) time.Duration {
	age := max(at.Sub(v.Reference), 0)
	growth := float64(age) * v.Rate()
	if !(growth < float64(math.MaxInt64-v.Dispersion)) { // NaN included
		return math.MaxInt64
	}
	return v.Dispersion + time.Duration(growth)
}

// Rate returns the growth of RootDispersion, s/s.
func (v *View) Rate() float64 {
	if v.Wander <= 0 {
		return dispersionRate
	}
	return v.Wander
}

// Advice is what the system process asks of one association.
type Advice struct {
	Source  SourceID
	Poll    PollExp // wanted interval; the association keeps it inside its limits
	PollNow bool    // poll as soon as the rate rules allow: after a step, a resume, or a lost majority
	// Stood is for how long the machine did not run just before, clock of timers included: for the server so much more time has
	// passed since the last poll.
	Stood  time.Duration
	Urgent bool // nothing is known of the clock: a poll that goes unanswered is repeated soon, a few times
}
