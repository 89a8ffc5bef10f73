package system

import (
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/ntp"
)

// decide asks the discipline, keeps its answer inside the step limits, and updates state and view. fresh says
// that a new sample was taken in.
func (s *System) decide(now Now, fresh bool, fx *Effects) {
	if s.state == Refused {
		fx.Wait = idleWait
		return
	}
	before := s.state
	s.decision = s.disc.Decide(now.Local)
	s.judge(now, fx)
	wait := s.decision.Wait
	if s.decision.Selected > 0 {
		if left := s.patience(now); left > 0 {
			fx.Wait = left
			return
		}
		s.follow(now, fresh || before != Synchronized, fx)
	} else {
		s.drift(now, before, fx)
	}
	if wait > 0 && (fx.Wait == 0 || wait < fx.Wait) {
		fx.Wait = wait
	}
	if fx.Wait == 0 {
		fx.Wait = idleWait
	}
}

// judge enters the verdicts in the table and passes on wanted poll intervals.
func (s *System) judge(now Now, fx *Effects) {
	for _, src := range s.sources {
		src.judging = false
	}
	for _, j := range s.decision.Judgements {
		src := s.find(j.Source)
		if src == nil {
			continue
		}
		src.judged, src.judging = j, true
		if j.Verdict != src.told && (j.Verdict == algorithm.Falseticker || src.told == algorithm.Falseticker) {
			level, text := Info, "agrees again"
			if j.Verdict == algorithm.Falseticker {
				level, text = Warn, "disagrees with the majority, not used"
			}
			fx.note(src.voice.level(now.Mono, level), TargetSystem, "source %v (%s): %s", src.ID, src.Name, text)
		}
		src.told = j.Verdict
		if j.Poll != src.advised && j.Poll != src.last.Poll {
			fx.advise(ntp.Advice{Source: src.ID, Poll: j.Poll})
		}
		src.advised = j.Poll
	}
}

// advise adds one piece of advice unless the source already has one.
func (fx *Effects) advise(a ntp.Advice) {
	for i := range fx.Advice {
		if fx.Advice[i].Source == a.Source {
			fx.Advice[i].Poll = a.Poll
			fx.Advice[i].PollNow = fx.Advice[i].PollNow || a.PollNow
			return
		}
	}
	fx.Advice = append(fx.Advice, a)
}

// patience returns how long a new consensus should still wait: while sources that may yet answer could
// overrule those that have. A liar that answers first must not move the clock (reliability row C25), neither at the
// start nor after an outage or a foreign step.
func (s *System) patience(now Now) time.Duration {
	if s.state == Synchronized && !s.selected.IsZero() {
		return 0
	}
	if 2*s.decision.Selected > max(len(s.sources), s.params.Expected) {
		return 0
	}
	return startupPatience - now.Mono.Sub(s.measured)
}

// follow acts on a consensus.
func (s *System) follow(now Now, fresh bool, fx *Effects) {
	if !s.steer(fx) {
		return
	}
	s.disc.Followed()
	s.estimate = s.decision.Estimate
	s.selected, s.state = now.Mono, Synchronized
	if s.leap.update(s.leapVote(), now.Clock, s.params.Pivot) {
		fx.note(Info, TargetSystem, "leap second warning: %v", s.leap.armed)
		fresh = true
	}
	if !fresh {
		return
	}
	if peer := s.peer(); peer != nil {
		s.show(s.synchronizedView(now, peer, fx.Steer.By), fx)
	}
	s.lines.add(now.Mono, &s.decision.Estimate, s.clock.Frequency, fx)
}

// steer turns the discipline's wish into the command; false means that a limit forbids it.
func (s *System) steer(fx *Effects) bool {
	w := s.decision.Steer
	if s.params.Observe {
		s.limits.accepted(false)
		return true
	}
	switch w.Kind {
	case algorithm.SteerSlew:
		fx.Steer = Steer{Kind: Frequency, Target: w.Frequency}
	case algorithm.SteerStep:
		why, allowed := s.limits.allows(w.Step)
		if !allowed {
			s.refuse(why, fx)
			return false
		}
		fx.Steer = Steer{Kind: Step, By: w.Step}
		s.asked = w.Step
		fx.note(s.stepLevel(), targetKalman, "Jumped offset by %sms", milliseconds(w.Step.Seconds()))
	}
	s.limits.accepted(w.Kind == algorithm.SteerStep)
	return true
}

func (s *System) stepLevel() Level {
	if s.params.QuietSteps {
		return Info
	}
	return Warn
}

// refuse stops following for good: the caller ends the daemon.
func (s *System) refuse(why string, fx *Effects) {
	s.state, s.refusal = Refused, why
	fx.Steer = Steer{Kind: Refuse, Reason: why}
	fx.note(Error, TargetSystem, "%s", why)
	s.show(s.unsynchronizedView(), fx)
}

// drift is the life without a consensus: the last view holds over while its bound is small, then the local
// stratum or nothing is served. Only the end of a slew still touches the clock.
func (s *System) drift(now Now, before State, fx *Effects) {
	if w := s.decision.Steer; w.Kind == algorithm.SteerSlew && !s.params.Observe {
		fx.Steer = Steer{Kind: Frequency, Target: w.Frequency}
	}
	if before == Synchronized {
		s.lost++
		s.measured = time.Time{}
		if s.hurried.IsZero() || now.Mono.Sub(s.hurried) >= hurryGap {
			s.hurried = now.Mono
			s.pollNow(fx)
		}
	}
	if s.leap.update(s.leap.armed, now.Clock, s.params.Pivot) && s.view.Leap != ntp.LeapUnknown {
		v := s.view
		v.Leap = s.leap.armed
		s.show(v, fx)
	}
	local, wait := s.localDue(now)
	fx.Wait = wait
	switch {
	case local:
		s.state = LocalClock
		if age := now.Clock.Sub(s.view.Reference); before != LocalClock || age < 0 || age >= localRefresh {
			s.show(s.localView(now), fx)
		}
	case s.holdsOver(now):
		s.state = HoldOver
		if before != HoldOver || now.Mono.Sub(s.bounded) >= localRefresh {
			s.bounded = now.Mono
			s.show(s.holdOverView(now), fx)
		}
	default:
		s.state = Unsynchronized
		s.show(s.unsynchronizedView(), fx)
	}
}

// show publishes a view if it differs from the last.
func (s *System) show(v ntp.View, fx *Effects) {
	if v == s.view {
		return
	}
	s.view = v
	fx.View = s.publish()
}

// tell writes the lines about gained and lost consensus, once each.
func (s *System) tell(now Now, fx *Effects) {
	switch {
	case s.state == Synchronized:
		if s.unsettled || s.lines.told == 0 {
			s.lines.told++
			fx.note(s.found.level(now.Mono, Info), TargetSystem, "synchronised: %d of %d sources agree", s.decision.Selected, s.decision.Candidates)
		}
		s.unsettled = false
	case s.unsettled || s.state == Refused || !s.overdue(now):
	default:
		s.unsettled = true
		fx.note(s.gone.level(now.Mono, Warn), targetKalman, "No consensus on current time: %s", s.whyNot())
	}
}

// overdue reports whether a consensus could be expected by now: one was lost, or the start has had its time.
func (s *System) overdue(now Now) bool {
	if len(s.sources) == 0 || now.Mono.Before(s.patient) {
		return false
	}
	return s.lost > 0 && s.lines.told > 0 || now.Mono.Sub(s.born) > startupOverdue
}
