package system

import (
	"fmt"
	"time"
)

// Limit is what refused a step. Its name is the key of the configuration that sets it.
type Limit uint8

// The limits.
const (
	LimitNone            Limit = iota
	LimitStartup               // of the first update of a boot
	LimitSingle                // of every later step
	LimitAccumulated           // of the sum of all steps after the first update
	LimitUnauthenticated       // of the sum of a day's steps that sources without authentication asked for
	limitCount
)

// String is the key of the configuration, which is also the label of the metric.
func (l Limit) String() string {
	switch l {
	case LimitStartup:
		return "startup-step-panic-threshold"
	case LimitSingle:
		return "single-step-panic-threshold"
	case LimitAccumulated:
		return "accumulated-step-panic-threshold"
	case LimitUnauthenticated:
		return "unauthenticated-steps-per-day"
	}
	return ""
}

// Limits lists every limit that can refuse a step.
func Limits() []Limit {
	return []Limit{LimitStartup, LimitSingle, LimitAccumulated, LimitUnauthenticated}
}

// limits decides which steps are allowed (docs/rules/clock.md#step-limits, rows K02 to K04). The wide limit of the
// start holds until the first accepted update, whether or not that one stepped (CVE-2015-5300); a restart
// within the same boot does not bring it back, see Params.StartupSpent. Sources that nothing authenticates may in
// addition move the clock by a limited sum per day, because whoever sits on the path speaks for all of them
// (docs/rules/clock.md#unauthenticated-steps).
type limits struct {
	startup, single StepLimit
	accumulated     time.Duration // 0: none
	daily           time.Duration // for unauthenticated consensuses; 0: no step, Unlimited: none

	spent bool          // the start-up allowance is used
	first bool          // the next step to be applied belongs to the start and is not accumulated
	sum   time.Duration // of steps after the start
	steps int
	last  time.Duration // size of the latest step

	asked wish // what the step that is being made was asked for by
	day   day
	// others is what others moved the clock by since the last consensus, + forward: a step that takes it back is not of the day.
	others time.Duration
}

// wish is what is known of a step before the clock confirms it.
type wish struct {
	at            time.Time
	authenticated bool // more than half of those that ask for it are
	excepted      bool // beyond a limit, see claim
	unset         bool // the clock was known to be wrong: a first step, which is not counted
}

func newLimits(p *Params) limits {
	l := limits{
		startup: p.StartupStep, single: p.SingleStep, accumulated: p.AccumulatedSteps, daily: p.UnauthenticatedSteps,
		spent: p.StartupSpent, day: day{restored: p.Spent},
	}
	if l.accumulated == Unlimited || l.accumulated < 0 {
		l.accumulated = 0
	}
	return l
}

// allows returns the limit that forbids a step, LimitNone if it may be made. unset: the clock is known to be wrong, so
// that a step forward is the first one whatever was made before.
func (l *limits) allows(now time.Time, step time.Duration, authenticated, unset bool) Limit {
	limit, which := l.single, LimitSingle
	if !l.spent || unset && step > 0 {
		limit, which = l.startup, LimitStartup
	}
	switch {
	case !limit.allows(step):
		return which
	case which == LimitStartup:
	case l.accumulated > 0 && addAbs(l.sum, step) > l.accumulated:
		return LimitAccumulated
	case !authenticated && l.daily != Unlimited && (l.daily == 0 || addAbs(l.day.at(now).Sum, l.beyond(step)) > l.daily):
		return LimitUnauthenticated
	}
	return LimitNone
}

// why tells the operator what the limit says of a step.
func (l *limits) why(now time.Time, limit Limit, step time.Duration) string {
	switch limit {
	case LimitAccumulated:
		return fmt.Sprintf("steps of %v in all exceed %v %v: the sources or the clock are unreliable", addAbs(l.sum, step), limit, l.accumulated)
	case LimitUnauthenticated:
		return fmt.Sprintf("steps of %v in a day exceed %v %v, and most sources that ask for them are not authenticated (NTS)",
			addAbs(l.day.at(now).Sum, l.beyond(step)), limit, l.daily)
	}
	return fmt.Sprintf("a step of %v exceeds %v", step, limit)
}

func (s StepLimit) allows(step time.Duration) bool {
	return (s.Forward == Unlimited || step < s.Forward) && (s.Backward == Unlimited || step > -s.Backward)
}

// accepted notes that a consensus was followed; step tells that it asks for a step, w who it is.
func (l *limits) accepted(step bool, w wish) {
	if !l.spent {
		l.spent = true
		l.first = step
	}
	if !step {
		l.others = 0 // the sources are content with what others did
	}
	l.asked = w
}

// moved notes by how much others moved the clock, + forward.
func (l *limits) moved(by time.Duration) {
	if sum := addAbs(l.others.Abs(), by); sum < Unlimited {
		l.others += by
	}
}

// beyond is the part of a step that does not take back what others did (docs/rules/clock.md#unauthenticated-steps).
func (l *limits) beyond(step time.Duration) time.Duration {
	if step < 0 == (l.others < 0) {
		return step
	}
	return max(step.Abs()-l.others.Abs(), 0)
}

// stepped notes a step that was made.
func (l *limits) stepped(step time.Duration) {
	l.steps++
	l.last = step
	beyond := l.beyond(step)
	l.others = 0
	if l.first || l.asked.unset {
		l.first = false
		return
	}
	l.sum = addAbs(l.sum, step)
	if !l.asked.authenticated {
		l.day.add(l.asked.at, beyond, l.asked.excepted)
	}
}

// forgive forgets what was done so far: an operator has set the clock after a refusal.
func (l *limits) forgive() { l.sum, l.day = 0, day{begin: l.day.begin} }

// addAbs returns sum + |step| and saturates.
func addAbs(sum, step time.Duration) time.Duration {
	a := step.Abs()
	if sum > Unlimited-a {
		return Unlimited
	}
	return sum + a
}

// Spent is what sources without authentication have used of what a day allows them. It outlives a restart in the same
// boot, as the start-up allowance does.
type Spent struct {
	Sum      time.Duration // of the sizes of their steps, ≥ 0
	Excepted bool          // one of them was the one beyond the limits that a day may have, see claim
}

// hoursKept is how many hours, begun ones included, a step counts: it counts for 24 to 25 hours.
const hoursKept = 25

// day sums what was done in the last day, by the hour of a clock that nobody sets. What an earlier run had spent counts
// as if it were spent in the first hour of this one, because what has passed between is not known for certain.
type day struct {
	restored Spent
	begin    time.Time // of hour 0; zero before the first event
	hours    [hoursKept]struct {
		number int64
		Spent
	}
}

// at returns what is spent of the day that ends now.
func (d *day) at(now time.Time) Spent {
	if d.begin.IsZero() {
		return d.restored
	}
	var all Spent
	hour := int64(now.Sub(d.begin) / time.Hour)
	for i := range d.hours {
		if h := &d.hours[i]; hour-h.number < hoursKept {
			all.Sum, all.Excepted = addAbs(all.Sum, h.Sum), all.Excepted || h.Excepted
		}
	}
	return all
}

// start makes now the beginning of the first hour.
func (d *day) start(now time.Time) { d.begin, d.hours[0].Spent = now, d.restored }

// add enters a step.
func (d *day) add(now time.Time, step time.Duration, excepted bool) {
	hour := int64(now.Sub(d.begin) / time.Hour)
	h := &d.hours[hour%hoursKept]
	if h.number != hour {
		h.number, h.Spent = hour, Spent{}
	}
	h.Sum, h.Excepted = addAbs(h.Sum, step), h.Excepted || excepted
}
