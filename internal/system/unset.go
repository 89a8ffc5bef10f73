package system

import (
	"time"

	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
)

// unset reports whether the clock is known to be wrong because it shows a time that is past: before the program was
// built, or, until sources or an operator have set it, before the last time that this host was right. Such a clock is
// never served, whatever the local stratum says, and a step forward from there is a first step
// (docs/rules/clock.md#unset-clock). The second half ends with the first consensus, because those who told the saved time
// may have lied, and nobody must be able to bring the wide limit of a first step back by pulling the clock below it.
func (s *System) unset(clock ntp.Timestamp) bool {
	t := clock.Time(s.params.Pivot)
	return t.Before(s.params.Built) || !s.set && t.Before(s.params.LastRight)
}

// unsetForward reports whether a step forward may be as large as a first one because the clock is unset.
func (s *System) unsetForward(clock ntp.Timestamp) bool { return !s.set && s.unset(clock) }

// look notes whether the clock is unset, and tells it when it changes.
func (s *System) look(now Now, fx *Effects) {
	unset := s.unset(now.Clock)
	if unset == s.unsetNow {
		return
	}
	s.unsetNow = unset
	shown := now.Clock.Time(s.params.Pivot).UTC().Format(time.DateTime)
	if !unset {
		fx.note(Info, logtarget.System, "the clock is not unset any more, it shows %s", shown)
		return
	}
	floor := s.params.Built
	if s.params.LastRight.After(floor) {
		floor = s.params.LastRight
	}
	fx.note(Warn, logtarget.System, "the clock is unset: it shows %s, which is before %s; it is not served until sources or an operator set it",
		shown, floor.UTC().Format(time.DateTime))
}
