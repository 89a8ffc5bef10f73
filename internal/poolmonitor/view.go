package poolmonitor

import (
	"fmt"
	"strings"
	"time"
)

// State is what is known of a time source in one family.
type State uint8

// The states.
const (
	Unknown   State = iota // not judged yet: the operator listed it, so users may have it
	Usable                 // proven
	Probation              // listed while others were judged already: not used until its score is above 10
	Out                    // not used until its score is above 10 again
	states
)

var stateNames = [states]string{"unknown", "usable", "probation", "out"}

// String is the word of the state.
func (s State) String() string {
	if s < states {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// in reports whether users may be sent there.
func (s State) in() bool { return s == Unknown || s == Usable }

const (
	// outFailures is how many failed probes in a row take a time source out, and outWrong how many rounds in a row with an
	// offset beyond its bound.
	outFailures, outWrong = 3, 3
	// entryRounds is how many good rounds in a row there must be before it enters, whatever the score.
	entryRounds = 3
	// staleAfter is how long a score lasts without a probe that counted; from then on it decays. After forgetAfter the verdict
	// is forgotten as well: it tells nothing about the present.
	staleAfter, forgetAfter = 10 * time.Minute, time.Hour
	// halfLife is in what time a score that nothing supports halves.
	halfLife = time.Hour
)

// view is a time source as the users of one family see it. It moves through its states like this, one look per round:
//
//	unknown ── good round ──► usable          probation ── score > 10, 3 good rounds ──► usable
//	unknown, usable, probation ── 3 failed probes in a row, or 3 rounds in a row beyond the bound, or no address ──► out
//	out ── score > 10, 3 good rounds, its clock right in each ──► usable
//	out ── no address ──► out, until there is one, and then as above
//	any ── no probe that counted for an hour ──► unknown
type view struct {
	state  State
	since  time.Time // of the state
	reason string    // of probation and out

	score  float64
	failed int  // probes in a row
	wrong  int  // rounds in a row beyond the bound
	good   int  // rounds in a row without a failed probe, and with a clock that is right
	liar   bool // it is out because of its clock, which has to prove itself right again

	probed   time.Time // latest probe
	outcome  Outcome   // of it
	cause    string    // of it, if it failed
	counted  time.Time // latest probe that moved the score
	answered time.Time // latest answer
	reading  Reading   // of it
	offset   time.Duration
	history  history
}

// set changes the state.
func (v *view) set(now time.Time, s State, reason string) {
	if v.state != s {
		v.since = now
	}
	v.state, v.reason = s, reason
}

// count enters one probe that counts.
func (v *view) count(now time.Time, p *probe, offsets []time.Duration, keepHistory bool) {
	step, limit := p.outcome.step()
	if p.outcome == Good {
		step, limit = goodStep(offsets, p.answer.FewCookies)
	}
	v.score = moved(v.score, step, limit)
	v.counted = now
	if p.outcome.failed() {
		v.failed++
		v.good = 0
	} else {
		v.failed = 0
	}
	if !keepHistory {
		return
	}
	slot := v.history.add(now, v.score, p.outcome.failed())
	for _, o := range offsets {
		if o.Abs() > slot.Offset.Abs() {
			slot.Offset = o
		}
	}
}

// decay lets a score fade that nothing supports, as far as elapsed goes.
func (v *view) decay(now time.Time, elapsed time.Duration) {
	switch idle := now.Sub(v.counted); {
	case idle <= staleAfter:
	case idle > forgetAfter && v.state != Unknown && !v.absent():
		v.set(now, Unknown, "")
		v.failed, v.wrong, v.good, v.liar = 0, 0, 0, false
		fallthrough
	default:
		v.score = faded(v.score, elapsed)
	}
}

// absent reports that it is out for lack of an address.
func (v *view) absent() bool { return v.state == Out && v.outcome == NoAddress }

// settle draws the conclusion of a round, whose last probe was good or not.
func (v *view) settle(now time.Time, good bool) {
	switch {
	case v.outcome == NoAddress:
		v.set(now, Out, NoAddress.String())
		v.failed, v.good = 0, 0
	case v.failed >= outFailures:
		v.set(now, Out, v.failure())
	case v.wrong >= outWrong:
		v.liar = true
		v.set(now, Out, fmt.Sprintf("its clock is off by %v", v.offset.Round(10*time.Microsecond)))
	case v.state == Unknown && good:
		v.set(now, Usable, "")
	case !v.state.in() && v.good >= entryRounds && v.score > entryScore:
		v.liar = false
		v.set(now, Usable, "")
	case v.state == Out && v.good > 0 && !strings.HasPrefix(v.reason, recovering):
		v.set(now, Out, recovering+v.reason)
	}
}

// recovering begins the reason of a view that is good again and has not yet the score to enter.
const recovering = "good again, the score is still low after: "

// failure is the latest outcome in words.
func (v *view) failure() string {
	if v.cause == "" {
		return v.outcome.String()
	}
	return v.outcome.String() + ": " + v.cause
}
