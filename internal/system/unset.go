package system

import (
	"time"

	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
)

// NeverSetMargin is far more than sources or a careless operator step a clock back by, and far less than what a machine
// without a battery is behind.
const NeverSetMargin = 30 * 24 * time.Hour

// unset reports whether the clock is known to be wrong because it shows a time that is past: before the program was
// built, or, until sources or an operator have set it, before the last time that this host was right; or because it was set to that
// time at the start, for want of a better one. Such a clock is never served, whatever the local stratum says
// (docs/rules/clock.md#unset-clock). The second half ends with the first consensus, because those who told the saved time may
// have lied.
func (s *System) unset(clock ntp.Timestamp) bool {
	t := clock.Time(s.params.Pivot)
	return t.Before(s.params.Built) || !s.set && (s.params.Guessed > 0 || t.Before(s.params.LastRight))
}

// neverSet reports whether nobody has set the clock since the machine was switched on, so that a step forward is a first
// one although the allowance of this boot is used: the clock is long before the build, and this run has followed no
// consensus. The saved time does not count here, nor the last days before the build: who can step the clock back a little and
// then provoke a restart would get there.
func (s *System) neverSet(clock ntp.Timestamp) bool {
	return !s.followed && clock.Time(s.params.Pivot).Before(s.params.Built.Add(-NeverSetMargin))
}

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
	if s.params.Guessed > 0 {
		return // told at the start
	}
	floor := s.params.Built
	if s.params.LastRight.After(floor) {
		floor = s.params.LastRight
	}
	fx.note(Warn, logtarget.System, "the clock is unset: it shows %s, which is before %s; it is not served until sources or an operator set it",
		shown, floor.UTC().Format(time.DateTime))
}
