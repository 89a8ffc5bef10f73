package system

import (
	"cmp"
	"slices"

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
}

// bar is a ground for exclusion that the discipline cannot see.
type bar uint8

const (
	barNone bar = iota
	barLoop
	barSelf
	barStratum
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

// distance is half the round trip to the reference clock plus what the source claims to be off by (RFC 5905
// §11.1): the order among selected sources.
func (src *source) distance(delay, sigma int64) int64 {
	return (delay+int64(src.last.RootDelay))/2 + int64(src.last.RootDispersion) + 3*sigma
}

// peer returns the selected source that is told to clients: lowest stratum, then shortest distance, then the
// oldest; nil without a consensus.
func (s *System) peer() *source {
	var best *source
	var bestDistance int64
	for _, src := range s.sources {
		if !src.judging || src.judged.Verdict != algorithm.Selected {
			continue
		}
		r := s.disc.Source(src.ID)
		d := src.distance(int64(r.Delay), int64(r.Uncertainty))
		if best == nil || src.last.Stratum < best.last.Stratum ||
			src.last.Stratum == best.last.Stratum && d < bestDistance {
			best, bestDistance = src, d
		}
	}
	return best
}
