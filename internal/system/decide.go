package system

import (
	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
)

// decide asks the discipline, keeps its answer inside the step limits, and updates state and view. fresh says
// that a new sample was taken in.
func (s *System) decide(now Now, fresh bool, fx *Effects) {
	if s.phase.kind == refused && s.params.PanicAction == PanicExit {
		fx.Wait = idleWait
		return
	}
	s.decision = s.disc.Decide(now.Local)
	s.judge(now, fx)
	s.look(now, fx)
	if s.decision.Selected > 0 {
		if left := s.startupWait(now); left > 0 {
			fx.Wait = left
			return
		}
		s.follow(now, fresh || s.phase.kind != following, fx)
	} else {
		s.holdover(now, fx)
	}
	if wait := s.decision.Wait; wait > 0 && (fx.Wait == 0 || wait < fx.Wait) {
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
		s.tellVerdict(now, src, fx)
		if j.Poll != src.advised && j.Poll != src.last.Poll {
			fx.advise(ntp.Advice{Source: src.ID, Poll: j.Poll})
		}
		src.advised = j.Poll
	}
}

// tellVerdict writes what is new about the latest verdict on a source.
func (s *System) tellVerdict(now Now, src *source, fx *Effects) {
	verdict := src.judged.Verdict
	if verdict != src.told && (verdict == algorithm.Falseticker || src.told == algorithm.Falseticker) {
		level, text := Info, "agrees again"
		if verdict == algorithm.Falseticker {
			level, text = Warn, "disagrees with the majority, not used"
		}
		fx.note(src.agreeing.level(now.Mono, level), logtarget.System, "source %v (%s): %s", src.ID, src.Name, text)
	}
	src.told = verdict
	tooFar := src.judged.Reason == algorithm.ReasonDistance
	if tooFar && !src.tooFar {
		fx.note(src.limited.level(now.Mono, Warn), logtarget.System, "source %v (%s) is not used: %s", src.ID, src.Name, s.reason(src))
	}
	src.tooFar = tooFar
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

// follow acts on a consensus.
func (s *System) follow(now Now, fresh bool, fx *Effects) {
	if !s.steer(now, fx) {
		return
	}
	if s.phase.kind == refused {
		fx.note(Warn, logtarget.System, "the clock is steered again")
	}
	s.disc.Follow(&s.decision)
	s.phase, s.fallback, s.refusal = phase{kind: following}, Unsynchronized, Refusal{}
	s.set, s.followed = true, true
	s.estimate, s.estimated, s.holds = s.decision.Estimate, now.Clock, true
	s.at.local = now.Mono.Add(localAfter)
	if s.leap.update(s.leapVote(), now.Clock, s.params.Pivot) {
		fx.note(Info, logtarget.System, "leap second warning: %v", s.leap.armed)
		fresh = true
	}
	if !fresh {
		s.stretch(now, fx)
		return
	}
	s.at.renewal = now.Mono.Add(s.horizon())
	s.choosePeer()
	if s.peer != nil {
		v, why := s.synchronizedView(now, s.peer, fx.Steer.Step)
		s.unserved.tell(why, now.Mono, fx)
		s.show(v, fx)
	}
	s.lines.add(now.Mono, &s.decision.Estimate, s.clock.Frequency, fx)
	s.reach.tell(now.Mono, &s.decision.Estimate, s.params.Algorithm.MaximumFrequencySteer, fx)
}

// stretch renews the growth of the bound that is told when an update is overdue.
func (s *System) stretch(now Now, fx *Effects) {
	if s.view.Synchronized && s.peer != nil && !now.Mono.Before(s.at.renewal) {
		s.at.renewal = now.Mono.Add(localRefresh)
		s.show(s.holdOverView(now), fx)
	}
}

// steer passes the discipline's wish on; false means that a limit forbids it.
func (s *System) steer(now Now, fx *Effects) bool {
	w := &s.decision.Steer
	asked := wish{at: now.Mono, authenticated: s.authenticated(), unset: s.neverSet(now.Clock)}
	if s.params.Observe {
		s.limits.accepted(false, asked)
		return true
	}
	if w.Kind == algorithm.SteerStep {
		if l := s.limits.allows(now.Mono, w.Step, asked.authenticated, asked.unset); l != LimitNone {
			c, left := s.claimed(now, l, w.Step)
			if s.params.PanicAction == PanicExit || c.mustLast == 0 || left > 0 {
				s.refuse(now, l, c, fx)
				return false
			}
			asked.excepted = true
			fx.note(Warn, logtarget.System, "a step beyond %v is accepted: the sources have agreed on it for %v", l, c.mustLast)
		}
		fx.note(s.stepLevel(), logtarget.Kalman, "Jumped offset by %sms", milliseconds(w.Step.Seconds()))
	}
	fx.Steer = *w
	s.limits.accepted(w.Kind == algorithm.SteerStep, asked)
	return true
}

func (s *System) stepLevel() Level {
	if s.params.QuietSteps {
		return Info
	}
	return Warn
}

// holdover acts on a missing consensus: the last view holds over while its bound is small, then the local
// stratum or nothing is served. Only the end of a slew still touches the clock.
func (s *System) holdover(now Now, fx *Effects) {
	switch s.phase.kind {
	case following:
		s.lose()
		s.burst(now, fx)
	case refused:
		s.phase.claim = claim{} // what is no longer claimed has not lasted
	}
	s.idle(now, &s.decision, fx)
}

// idle is what happens while no consensus is followed: the end of a slew, which d may ask for, and what stands in for
// a consensus.
func (s *System) idle(now Now, d *algorithm.Decision, fx *Effects) {
	if d.Steer.Kind == algorithm.SteerSlew && !s.params.Observe {
		fx.Steer = d.Steer
		s.disc.Follow(d)
	}
	if s.leap.update(s.leap.armed, now.Clock, s.params.Pivot) && s.view.Leap != ntp.LeapUnknown {
		v := s.view
		v.Leap = s.leap.armed
		s.show(v, fx)
	}
	s.standIn(now, fx)
}

// standIn chooses what is served without a consensus.
func (s *System) standIn(now Now, fx *Effects) {
	before := s.fallback
	local, wait := s.localDue(now)
	fx.Wait = wait
	switch {
	case local:
		s.electLeader(fx)
		s.fallback = LocalClock
		if age := now.Clock.Sub(s.view.Reference); before != LocalClock || age < 0 || age >= localRefresh {
			s.show(s.localView(now), fx)
		}
	case s.holdsOver(now):
		s.fallback = HoldOver
		if before != HoldOver || !now.Mono.Before(s.at.renewal) {
			s.at.renewal = now.Mono.Add(localRefresh)
			s.show(s.holdOverView(now), fx)
		}
	default:
		s.fallback = Unsynchronized
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
	case s.phase.kind == following:
		if s.complained || s.lines.told == 0 {
			if s.lines.told == 0 {
				s.at.complaint = now.Mono // the start is over: from now on a loss is told of at once
			}
			s.lines.told++
			fx.note(s.gained.level(now.Mono, Info), logtarget.System, "synchronised: %d of %d sources agree", s.decision.Selected, s.decision.Candidates)
		}
		s.complained = false
	case s.complained || s.phase.kind == refused || len(s.sources) == 0 || now.Mono.Before(s.at.complaint):
	default:
		s.complained = true
		fx.note(s.missing.level(now.Mono, Warn), logtarget.Kalman, "No consensus on current time: %s", s.whyNot())
	}
}
