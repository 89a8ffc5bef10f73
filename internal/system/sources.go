package system

import (
	"cmp"
	"slices"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/ntp"
)

// maxSources bounds the table; the associations come from the configuration, so this only stops a mistake.
const maxSources = 1024

// source is one row of the table.
type source struct {
	Added
	status   Status
	last     ntp.Measurement
	updated  ntp.Timestamp // clock at the last sample
	known    bool          // at least one sample
	reported bool          // status is known
	bar      bar
	judged   algorithm.Judgement
	judging  bool // judged holds a verdict
	told     algorithm.Verdict
	advised  ntp.PollExp
	agreeing logThrottle // lines about agreeing and disagreeing
	faults   logThrottle // lines about polls without a measurement
	tooFar   bool        // excluded for its distance
	limited  logThrottle // lines about that
	doubt    doubt       // a sample that is kept aside
}

// bar is a ground for exclusion that the discipline cannot see.
type bar uint8

const (
	barNone bar = iota
	barLoop
	barSelf
	barStratum
	barIsland
)

// String is the wording of status output and logs.
func (b bar) String() string {
	switch b {
	case barLoop:
		return "synchronised to us, a loop"
	case barSelf:
		return "this is ourselves"
	case barStratum:
		return "stratum too high"
	case barIsland:
		return "serves its own clock, as we would"
	}
	return ""
}

func (s *System) locate(id ntp.SourceID) (int, bool) {
	return slices.BinarySearchFunc(s.sources, id, func(src *source, id ntp.SourceID) int {
		return cmp.Compare(src.ID, id)
	})
}

func (s *System) find(id ntp.SourceID) *source {
	if i, known := s.locate(id); known {
		return s.sources[i]
	}
	return nil
}

func (s *System) add(e Added) {
	i, known := s.locate(e.ID)
	if known || len(s.sources) >= maxSources {
		return
	}
	s.sources = slices.Insert(s.sources, i, &source{Added: e})
}

func (s *System) remove(id ntp.SourceID) {
	if s.leader != nil && s.leader.ID == id {
		s.leader = nil
	}
	s.disc.Forget(id)
	if i, known := s.locate(id); known {
		s.sources = slices.Delete(s.sources, i, i+1)
	}
}

// wanted is the poll interval that the discipline would like.
func (src *source) wanted() ntp.PollExp {
	if src.judging {
		return src.judged.Poll
	}
	return src.status.Poll
}

// choosePeer picks the selected source whose stratum and address are told to clients; nil without a consensus. Its stratum
// is the lower median of the selected ones, because a stratum is only a claim (docs/rules/clock.md#claims). Of those at that
// stratum it is the latest peer, if that is one of them (no clock hopping, RFC 5905 §11.2.3), else the one that vouches for
// the smallest bound.
func (s *System) choosePeer() {
	var strata []ntp.Stratum
	for _, src := range s.sources {
		if src.selected() {
			strata = append(strata, src.last.Stratum)
		}
	}
	was := s.peer
	s.peer = nil
	if len(strata) == 0 {
		return
	}
	slices.Sort(strata)
	middle := strata[(len(strata)-1)/2]
	for _, src := range s.sources {
		switch {
		case !src.selected() || src.last.Stratum != middle:
		case src == was:
			s.peer = src
			return
		case s.peer == nil || src.judged.Bound < s.peer.judged.Bound:
			s.peer = src
		}
	}
}

// selected reports whether the source is part of the consensus.
func (src *source) selected() bool { return src.judging && src.judged.Verdict == algorithm.Selected }

const (
	// overdueAfter of its intervals, and no less than overdueLeast, without a sample make a source overdue.
	overdueAfter = 4
	overdueLeast = 256 * time.Second
)

// overdue reports whether a source that gave samples has been silent for long at Local time at.
func (src *source) overdue(at ntp.Local) bool {
	return src.known && at.Sub(src.last.At) > max(overdueAfter*src.last.Poll.Duration(), overdueLeast)
}

// wake asks the other sources that are overdue when this one, which was, answers again: what kept it silent may have been the network
// that they share (docs/rules/client.md#silence).
func (s *System) wake(back *source, at ntp.Local, fx *Effects) {
	if !back.overdue(at) {
		return
	}
	for _, src := range s.sources {
		if src != back && src.overdue(at) {
			fx.advise(ntp.Advice{Source: src.ID, Poll: src.wanted(), PollNow: true})
		}
	}
}
