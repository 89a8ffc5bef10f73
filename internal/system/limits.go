package system

import (
	"fmt"
	"time"
)

// limits decides which steps are allowed (docs/rules/clock.md#step-limits, rows K02 to K04). The wide limit of the
// start holds until the first accepted update, whether or not that one stepped (CVE-2015-5300); a restart
// within the same boot does not bring it back, see Params.StartupSpent.
type limits struct {
	startup, single StepLimit
	accumulated     time.Duration // 0: none

	spent bool          // the start-up allowance is used
	first bool          // the next step to be applied belongs to the start and is not accumulated
	sum   time.Duration // of steps after the start
	steps int
	last  time.Duration // size of the latest step
}

func newLimits(p *Params) limits {
	l := limits{startup: p.StartupStep, single: p.SingleStep, accumulated: p.AccumulatedSteps, spent: p.StartupSpent}
	if l.accumulated == Unlimited || l.accumulated < 0 {
		l.accumulated = 0
	}
	return l
}

// allows reports whether a step may be made; if not, why.
func (l *limits) allows(step time.Duration) (string, bool) {
	limit, name := l.single, "single-step-panic-threshold"
	if !l.spent {
		limit, name = l.startup, "startup-step-panic-threshold"
	}
	if !limit.allows(step) {
		return fmt.Sprintf("a step of %v exceeds %s: set the clock by hand, or raise the threshold", step, name), false
	}
	if l.spent && l.accumulated > 0 && addAbs(l.sum, step) > l.accumulated {
		return fmt.Sprintf("steps of %v in all exceed accumulated-step-panic-threshold %v: the sources or the "+
			"clock are unreliable", addAbs(l.sum, step), l.accumulated), false
	}
	return "", true
}

func (s StepLimit) allows(step time.Duration) bool {
	return (s.Forward == Unlimited || step < s.Forward) && (s.Backward == Unlimited || step > -s.Backward)
}

// accepted notes that a consensus was followed; step tells that it asks for a step.
func (l *limits) accepted(step bool) {
	if !l.spent {
		l.spent = true
		l.first = step
	}
}

// stepped notes a step that was made.
func (l *limits) stepped(step time.Duration) {
	l.steps++
	l.last = step
	if l.first {
		l.first = false
		return
	}
	l.sum = addAbs(l.sum, step)
}

// addAbs returns sum + |step| and saturates.
func addAbs(sum, step time.Duration) time.Duration {
	a := step.Abs()
	if sum > Unlimited-a {
		return Unlimited
	}
	return sum + a
}
