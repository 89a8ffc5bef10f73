package system

import (
	"math"
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	// boundSigmas turns one sigma into what is told as a bound.
	boundSigmas = 3
	// wanderFloor is the least growth of the bound that is told, s/s: what a quiet oscillator may do unseen.
	wanderFloor = 1e-6
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

// synchronizedView follows from the estimate and the peer (docs/algorithm.md 13, 14). The dispersion is a bound: what is left to be
// slewed, three sigma, and what the source claims; half the root delay bounds the asymmetry of the path beside it.
// step is what the clock will be stepped by before anyone sees the view. A clock that is known to be further off
// than clients would accept is not synchronised, however well that is known.
func (s *System) synchronizedView(now Now, peer *source, step time.Duration) ntp.View {
	e := &s.decision.Estimate
	r := s.disc.Source(peer.ID)
	sigma := time.Duration(boundSigmas * math.Sqrt(e.VarOffset) * 1e9)
	v := ntp.View{
		Leap: s.leap.armed, Stratum: peer.last.Stratum + 1,
		RefID: ntp.RefIDFromAddr(peer.Address.Addr()), Reference: now.Clock.Add(step),
		RootDelay:  max(r.Delay, 0) + peer.last.RootDelay,
		Dispersion: (e.Offset - step).Abs() + sigma + peer.last.RootDispersion,
		Wander:     boundSigmas*math.Sqrt(e.VarFreq) + wanderFloor,
		Precision:  s.params.Precision, Synchronized: true,
	}
	if v.Stratum >= ntp.MaxStratum || v.RootDelay/2+v.Dispersion >= s.params.HoldOver || s.unset(v.Reference) {
		return s.unsynchronizedView()
	}
	return v
}

// holdsOver reports whether the last view may still be served: its root distance at now stays below the limit.
func (s *System) holdsOver(now Now) bool {
	return s.holds && s.view.Synchronized && !s.unset(now.Clock) &&
		s.view.RootDelay/2+s.view.RootDispersion(now.Clock) < s.params.HoldOver
}

// holdOverView is the last view with the growth of its bound that holds until the next refresh: the frequency goes on
// wandering, so that the error grows faster than in a line (docs/algorithm.md 15).
func (s *System) holdOverView(now Now) ntp.View {
	v, e := s.view, &s.estimate
	age := max(now.Clock.Sub(v.Reference), 0) + localRefresh
	walk := boundSigmas * e.Wander * math.Sqrt(age.Seconds()/3)
	v.Wander = max(v.Wander, boundSigmas*math.Sqrt(e.VarFreq)+wanderFloor+walk)
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
