package algorithm

import (
	"math"
	"slices"
	"time"

	"ntp-daemon/internal/ntp"
)

// candidate is one source's say at the moment of a decision.
type candidate struct {
	t       *tracker
	s       state         // predicted to the moment
	lo, hi  time.Duration // the gap lies between, by this source
	verdict Verdict
	reason  Reason
}

// candidates asks every source for its interval; those without a vote say why.
func (d *Discipline) candidates(now ntp.Local) []candidate {
	cs := make([]candidate, 0, len(d.trackers))
	for _, t := range d.trackers {
		c := candidate{t: t, s: t.s.predict(now, t.intensity), verdict: Excluded}
		r := t.radius(&c.s, &d.params)
		switch {
		case t.fresh == 0 || t.samples < minSamples:
			c.reason = ReasonNoSample
		case t.last.Leap == ntp.LeapUnknown:
			c.reason = ReasonLeap
		case t.stale(now):
			c.reason = ReasonStale
		case !c.s.finite() || !(r <= d.params.MaximumSourceUncertainty):
			c.reason = ReasonDistance
		default:
			mid := c.s.origin + toDuration(c.s.x)
			c.lo, c.hi = mid-toDuration(r), mid+toDuration(r)
			c.verdict, c.reason = Candidate, ReasonMinority
		}
		cs = append(cs, c)
	}
	return cs
}

// intersect finds the interval that the largest number of candidates share, and selects those that touch it,
// if they are a strict majority of all candidates and at least minAgreeing (RFC 5905 §11.2.1; ntpd-rs.md 7.6).
// It returns how many are selected and how many voted. With n candidates a lying minority, however placed,
// cannot move the shared interval away from the truth by more than the radius of an honest one.
func intersect(cs []candidate, minAgreeing int) (selected, voters int) {
	lo, hi, depth, voters := deepest(cs)
	if depth < minAgreeing || 2*depth <= voters {
		return 0, voters
	}
	for i := range cs {
		c := &cs[i]
		switch {
		case c.verdict != Candidate:
		case c.lo <= hi && c.hi >= lo:
			c.verdict, c.reason = Selected, ReasonNone
			selected++
		default:
			c.verdict, c.reason = Falseticker, ReasonOutside
		}
	}
	return selected, voters
}

// edge is one end of an interval.
type edge struct {
	at   time.Duration
	open bool
}

// deepest sweeps over the ends of all intervals and returns the first range where most of them overlap. At equal
// value an interval opens before another closes: touching counts as agreement.
func deepest(cs []candidate) (lo, hi time.Duration, depth, voters int) {
	edges := make([]edge, 0, 2*len(cs))
	for i := range cs {
		if cs[i].verdict == Candidate {
			edges = append(edges, edge{cs[i].lo, true}, edge{cs[i].hi, false})
			voters++
		}
	}
	slices.SortStableFunc(edges, func(a, b edge) int {
		switch {
		case a.at != b.at:
			if a.at < b.at {
				return -1
			}
			return 1
		case a.open == b.open:
			return 0
		case a.open:
			return -1
		}
		return 1
	})
	open := 0
	hi = math.MinInt64
	for i, e := range edges {
		if !e.open {
			open--
			continue
		}
		if open++; open > depth {
			depth, lo = open, e.at
			hi = edges[i+1].at // an opened interval closes later: there is a next edge
		}
	}
	return lo, hi, depth, voters
}

func judgements(cs []candidate) []Judgement {
	js := make([]Judgement, len(cs))
	for i := range cs {
		c := &cs[i]
		js[i] = Judgement{Source: c.t.id, Verdict: c.verdict, Reason: c.reason, Poll: c.t.poll}
	}
	return js
}
