package system

import (
	"fmt"
	"time"

	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
)

const (
	// wanderFloor is the growth of the bound of a clock that is itself the reference, s/s: what a quiet oscillator may do unseen.
	wanderFloor = 1e-6
	// boundPolls is how many intervals of the most often asked selected source the growth of the bound holds for.
	boundPolls = 2
	// localRefresh is how often the local clock renews its reference time, and hold-over its bound.
	localRefresh = 64 * time.Second
)

// localClock is the reference identifier of a local clock above stratum 1: 127.127.1.1, which every
// implementation knows.
const localClock ntp.RefID = 0x7f7f0101

// unsynchronizedName is what the reference suite shows (docs/rules/control.md#unsynchronised-name); it is not a kiss
// code (row S11).
const unsynchronizedName = "XNON"

func (s *System) unsynchronizedView() ntp.View {
	return ntp.View{
		Leap: ntp.LeapUnknown, Stratum: ntp.MaxStratum, RefID: ntp.RefIDFromString(unsynchronizedName),
		Precision: s.params.Precision,
	}
}

// localView serves our own clock as it is: on an island it is the reference, so its bound hardly grows.
func (s *System) localView(now Now) ntp.View {
	id := localClock
	if s.params.LocalStratum == 1 {
		id = s.params.LocalReference
	}
	return ntp.View{
		Stratum: s.params.LocalStratum, RefID: id, Reference: now.Clock, Precision: s.params.Precision,
		Dispersion: ntp.PrecisionExp(s.params.Precision).Duration(), Leap: s.leap.armed, Wander: wanderFloor, Synchronized: true,
	}
}

// synchronizedView follows from the estimate and the selected sources (docs/algorithm.md 13, 14). Half the root delay and the
// dispersion together are a bound of the clock's error: what is left to be slewed, what the selected sources vouch for, and our
// own precision. step is what the clock will be stepped by before anyone sees the view. A clock that is known to be
// further off than we would accept of a source is not synchronised, however well that is known; why says so then.
func (s *System) synchronizedView(now Now, peer *source, step time.Duration) (v ntp.View, why string) {
	e := &s.decision.Estimate
	precision := ntp.PrecisionExp(s.params.Precision).Duration()
	left := (e.Offset - step).Abs()
	v = ntp.View{
		Leap: s.leap.armed, Stratum: peer.last.Stratum + 1,
		RefID: ntp.RefIDFromAddr(peer.Address.Addr()), Reference: now.Clock.Add(step),
		RootDelay:  s.decision.RootDelay,
		Dispersion: left + max(s.decision.Bound-s.decision.RootDelay/2, 0) + precision,
		Wander:     e.Growth(s.horizon()),
		Precision:  s.params.Precision, Synchronized: true,
	}
	switch distance := v.RootDelay/2 + v.Dispersion; {
	case v.Stratum >= ntp.MaxStratum:
		return s.unsynchronizedView(), fmt.Sprintf("the sources are at stratum %d, which leaves none for us", peer.last.Stratum)
	case distance >= s.params.HoldOver:
		return s.unsynchronizedView(), fmt.Sprintf("the clock may be off by %v, of which %v is known and not yet corrected; maximum-root-distance is %v",
			distance.Round(time.Microsecond), left.Round(time.Microsecond), s.params.HoldOver)
	case s.unset(v.Reference):
		return s.unsynchronizedView(), "the clock is unset: it shows a time that is past"
	}
	return v, ""
}

// horizon is how long after an update another one can be expected.
func (s *System) horizon() time.Duration {
	shortest := ntp.MaxPollExp
	for _, src := range s.sources {
		if src.selected() {
			shortest = min(shortest, src.last.Poll)
		}
	}
	return max(boundPolls*shortest.Duration(), idleWait)
}

// holdsOver reports whether the last view may still be served: its root distance at now stays below the limit.
func (s *System) holdsOver(now Now) bool {
	return s.holds && s.view.Synchronized && !s.unset(now.Clock) &&
		s.view.RootDelay/2+s.view.RootDispersion(now.Clock) < s.params.HoldOver
}

// holdOverView is the last view with the growth of its bound that holds until the next refresh: the frequency goes on
// wandering, so that the error grows faster than in a line (docs/algorithm.md 15).
func (s *System) holdOverView(now Now) ntp.View {
	v := s.view
	age := max(now.Clock.Sub(v.Reference), 0) + localRefresh
	v.Wander = max(v.Wander, s.estimate.Drift(age))
	return v
}

// localDue reports whether the local stratum applies, and if not yet, in how long.
func (s *System) localDue(now Now) (bool, time.Duration) {
	if s.params.LocalStratum == 0 || s.params.LocalStratum >= ntp.MaxStratum || s.unset(now.Clock) {
		return false, 0
	}
	if left := s.at.local.Sub(now.Mono); left > 0 && !s.params.NoSources {
		return false, left
	}
	return true, localRefresh
}

// publish returns a copy of the view for the Effects.
func (s *System) publish() *ntp.View {
	v := s.view
	return &v
}

// unserved is why nothing is served as synchronised although a consensus is followed.
type unserved struct {
	why      string // empty: it is served
	throttle logThrottle
}

// tell notes that, when it begins.
func (u *unserved) tell(why string, now time.Time, fx *Effects) {
	if why != "" && u.why == "" {
		fx.note(u.throttle.level(now, Warn), logtarget.System, "the sources agree, but we are not synchronised: %s", why)
	}
	u.why = why
}
