package system

import (
	"time"

	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
)

const (
	// minDisplaced is far beyond the noise of any server's clock that is worth following, and of any path: an offset of this
	// size is another time.
	minDisplaced = 500 * time.Millisecond
	// displacedFor is how long what one source said waits for the others, which are asked at once; it is two poll intervals where
	// that is longer, because a server may have asked for less than we would.
	displacedFor = 20 * time.Second
	// displacedEvery is how often samples alone may say so. Sources that go to and fro are judged by the discipline.
	displacedEvery = 5 * time.Minute
	// minInsist separates two samples of which the second confirms the first.
	minInsist = 500 * time.Millisecond
	// stoodAbout is what a battery clock in whole seconds leaves open of a standstill.
	stoodAbout = 2 * time.Second
)

// doubt is a sample that contradicts what the clock was just known to show.
type doubt struct {
	sample ntp.Measurement
	since  ntp.Timestamp // when the first request was sent whose reply said so
	twice  bool          // two samples say so
	until  time.Time     // zero: none
}

// doubted looks whether a sample contradicts the consensus that is followed: its interval, all contributions of the path
// and the source included, and that of our own clock lie far apart. Such a sample is kept aside, once, and all sources
// are asked at once. When more than half of all sources say the same, and an only source says it twice, it is our clock that was
// displaced: the machine was paused or restored from a saved state. One of several is a server with a problem of its own,
// which the discipline judges.
func (s *System) doubted(now Now, src *source, m *ntp.Measurement, fx *Effects) bool {
	if s.phase.kind != following || !s.view.Synchronized || m.Kind != ntp.TwoWay || m.Leap == ntp.LeapUnknown || now.Mono.Before(s.at.displaced) {
		return false
	}
	off := s.ahead(m)
	reach := m.RTT/2 + m.RootDelay/2 + m.RootDispersion + s.view.RootDelay/2 + s.view.RootDispersion(now.Clock)
	if off.Abs()-reach < minDisplaced {
		src.doubt = doubt{}
		return false
	}
	alone := max(len(s.sources), s.params.Expected) <= 1
	old := &src.doubt.sample
	switch {
	case !src.doubts(now.Mono):
		src.doubt = doubt{sample: *m, since: m.T1.Time, until: now.Mono.Add(max(displacedFor, 2*m.Poll.Duration()))}
	case !alone, (s.ahead(old) - off).Abs() >= minDisplaced, m.At.Sub(old.At) < minInsist:
		return false // it insists, and the others do not say so
	default:
		src.doubt.sample, src.doubt.twice = *m, true
	}
	if since, agreed := s.displaced(now, off); agreed && (src.doubt.twice || !alone) {
		s.at.displaced = now.Mono.Add(displacedEvery)
		fx.Displaced, fx.Since = off, since
		return true
	}
	fx.note(Debug, logtarget.System, "source %v (%s) says that the clock is off by %v: all are asked", src.ID, src.Name, off)
	s.askAgain(src, fx)
	s.burst(now, fx)
	for i := range fx.Advice {
		fx.Advice[i].Urgent = true
	}
	return true
}

// displaced reports whether more than half of all sources say that the clock is off by about off, and since when.
func (s *System) displaced(now Now, off time.Duration) (since ntp.Timestamp, agreed bool) {
	votes := 0
	for _, src := range s.sources {
		if !src.doubts(now.Mono) || (s.ahead(&src.doubt.sample)-off).Abs() >= minDisplaced {
			continue
		}
		if votes++; votes == 1 || src.doubt.since.Before(since) {
			since = src.doubt.since
		}
	}
	return since, 2*votes > max(len(s.sources), s.params.Expected)
}

// ahead is by how much true time is ahead of the clock, by a sample.
func (s *System) ahead(m *ntp.Measurement) time.Duration { return m.TrueGap - s.clock.ClockGapAt(m.At) }

// doubts reports whether the source said something of late that was kept aside.
func (src *source) doubts(now time.Time) bool { return now.Before(src.doubt.until) }

// explains reports whether a sample that was off by so much before the change was taken in was right.
func (e ForeignStep) explains(off time.Duration) bool {
	return e.Displaced != 0 && (off-e.Displaced).Abs() < minDisplaced || e.Stood > 0 && (off-e.Stood).Abs() < stoodAbout
}

// settleDoubts takes in what was kept aside, after a foreign change that explains it: it is all that is known of the clock now,
// and the change lies behind it. Any other change, such as a step by an operator, leaves nothing to go by. It reports whether
// there was any.
func (s *System) settleDoubts(now Now, e ForeignStep) (any bool) {
	for _, src := range s.sources {
		if src.doubts(now.Mono) && e.explains(s.ahead(&src.doubt.sample)) {
			s.disc.Absorb(src.doubt.sample)
			any = true
		}
		src.doubt = doubt{}
	}
	if any {
		s.phase = phase{kind: waiting, deadline: now.Mono.Add(startupLimit)}
	}
	return any
}
