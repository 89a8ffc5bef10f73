package system

import (
	"fmt"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/logtarget"
)

// PanicAction is what follows from a step beyond its limit.
type PanicAction uint8

const (
	// PanicHold leaves the clock alone and serves it as not synchronised until the sources ask for less, somebody sets
	// the clock, or the claim has lasted (see claim).
	PanicHold PanicAction = iota
	// PanicExit ends the program, as in the reference suite.
	PanicExit
)

// Refusal is why steering is given up.
type Refusal struct {
	Limit Limit  // LimitNone: it is not
	Text  string // for the operator, with the remedy
}

const (
	// exceptionLimit bounds the step that a consensus may make beyond the limits: a machine that was paused, and whose
	// clocks do not know, lags by the pause.
	exceptionLimit = 24 * time.Hour
	// authenticatedWait and plainWait are how long a claim must last before it is accepted. The second outlasts
	// a short attack on the path, and gives an operator who is told of it the time to look.
	authenticatedWait = 5 * time.Minute
	plainWait         = 30 * time.Minute
	// plainWitnesses is how many sources without authentication must agree: fewer are no evidence against the clock.
	plainWitnesses = 3
	// claimTolerance is how much a claim may change while it lasts: what clocks and paths do meanwhile, not what
	// somebody does who tries out how far he gets.
	claimTolerance = time.Second
)

// claim is a step that a consensus asks for and a limit refuses. A machine that was paused for a while looks like this
// for good, so some claims are accepted after they have lasted, without a break, for a while (docs/rules/clock.md#held-steps):
//
//	forward, below a day, the same within a second, not beyond the sum that accumulated-step-panic-threshold sets, and
//	more than half of those that agree are authenticated      5 minutes
//	three or more agree                                      30 minutes, once a day
type claim struct {
	step     time.Duration
	since    time.Time
	mustLast time.Duration // 0: not accepted by itself
}

// claimed follows the claim that the present decision makes, and returns what is left of the wait for its acceptance.
func (s *System) claimed(now Now, l Limit, step time.Duration) (c claim, left time.Duration) {
	c = claim{step: step, since: now.Mono, mustLast: s.mustLast(now, l, step)}
	old := &s.phase.claim
	if s.phase.kind == refused && old.mustLast == c.mustLast && (old.step-step).Abs() <= claimTolerance && !old.since.IsZero() {
		c.step, c.since = old.step, old.since
	}
	if c.mustLast == 0 {
		return c, idleWait
	}
	return c, c.mustLast - now.Mono.Sub(c.since)
}

// mustLast is how long a claim of these sources must last; 0: it is not accepted by itself.
func (s *System) mustLast(now Now, l Limit, step time.Duration) time.Duration {
	switch {
	case l == LimitAccumulated || step <= 0 || step >= exceptionLimit:
		return 0
	case s.authenticated():
		return authenticatedWait
	case s.decision.Selected >= plainWitnesses && !s.limits.day.at(now.Mono).Excepted:
		return plainWait
	}
	return 0
}

// authenticated reports whether more than half of the sources that agree are authenticated.
func (s *System) authenticated() bool {
	n := 0
	for _, src := range s.sources {
		if src.judging && src.judged.Verdict == algorithm.Selected && src.last.Authenticated {
			n++
		}
	}
	return 2*n > s.decision.Selected
}

// refuse is what follows from a step beyond limit l: the clock is left alone.
func (s *System) refuse(now Now, l Limit, c claim, fx *Effects) {
	begins := s.phase.kind != refused
	s.phase, s.holds = phase{kind: refused, claim: c}, false
	s.refusal = Refusal{Limit: l, Text: s.limits.why(now.Mono, l, s.decision.Steer.Step) + ": " + s.remedy(c)}
	if begins {
		s.refusals[l]++
		fx.note(s.refusing.level(now.Mono, Error), logtarget.System, "%s", s.refusal.Text)
	}
	if s.params.PanicAction == PanicExit {
		fx.Refusal, s.fallback = s.refusal.Text, Unsynchronized
		s.show(s.unsynchronizedView(), fx)
		return
	}
	if c.mustLast > 0 {
		s.burst(now, fx)
	}
	held := s.disc.Hold(now.Local)
	s.decision.Wait = held.Wait // not that of the step
	s.idle(now, &held, fx)
}

// remedy says what can be done about a refused claim.
func (s *System) remedy(c claim) string {
	if s.params.PanicAction == PanicExit {
		return "set the clock with 'ntp-ctl force-sync', or raise the threshold"
	}
	text := "the clock is left alone and not served as synchronised; if the sources are right, set it with 'ntp-ctl force-sync'"
	if c.mustLast > 0 {
		text += fmt.Sprintf(". Accepted by itself when the sources have agreed for %d minutes", int(c.mustLast.Minutes()))
	}
	return text
}
