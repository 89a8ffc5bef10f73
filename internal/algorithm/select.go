package algorithm

import (
	"ntp-daemon/internal/ntp"
)

// candidate is one source's say at the moment of a decision.
type candidate struct {
	t       *tracker
	s       state    // predicted to the moment
	radius  float64  // s, half width of says
	says    Interval // the gap lies in it, by this source
	verdict Verdict
	reason  Reason
	aside   bool    // selected, but its offset does not count, see setAside
	bias    float64 // s², what averaging cannot remove from it
}

// wide is s with what no filter foresees.
func (c *candidate) wide() state {
	s := c.s
	s.pxx += c.t.hidden
	return s
}

// candidates asks every source for its interval; those without a vote say why.
func (d *Discipline) candidates(now ntp.Local) []candidate {
	cs := d.buf.cs[:0]
	for _, t := range d.trackers {
		c := candidate{t: t, s: t.s.predict(now, t.intensity), verdict: Excluded}
		wide := c.wide()
		c.radius = t.distance(&wide, d.params.RangeStatisticalWeight, &d.params)
		switch {
		case t.fresh == 0 || t.samples < minSamples:
			c.reason = ReasonNoSample
		case t.last.Leap == ntp.LeapUnknown:
			c.reason = ReasonLeap
		case t.stale(now):
			c.reason = ReasonStale
		case !c.s.finite() || !(c.radius <= d.params.MaximumSourceUncertainty):
			c.reason = ReasonDistance
		default:
			mid, r := c.s.origin+toDuration(c.s.x), toDuration(c.radius)
			c.says = Interval{mid - r, mid + r}
			c.verdict, c.reason = Candidate, ReasonMinority
		}
		cs = append(cs, c)
	}
	d.buf.cs = cs
	return cs
}

// agree selects the candidates that touch the interval which the largest number of them share, if they are a strict
// majority of all candidates and at least minAgreeing (docs/rules/clock.md#selection). It returns how many are selected
// and how many voted. With n candidates a lying minority, however placed, cannot move the shared interval away from the
// truth by more than the radius of an honest one.
func agree(cs []candidate, minAgreeing int) (selected, voters int) {
	var room [16]Interval // on the stack, as long as they fit
	said := room[:0]
	for i := range cs {
		if cs[i].verdict == Candidate {
			said = append(said, cs[i].says)
		}
	}
	shared, depth := Intersect(said)
	if depth < minAgreeing || 2*depth <= len(said) {
		return 0, len(said)
	}
	for i := range cs {
		c := &cs[i]
		switch {
		case c.verdict != Candidate:
		case c.says.Touches(shared):
			c.verdict, c.reason = Selected, ReasonNone
			selected++
		default:
			c.verdict, c.reason = Falseticker, ReasonOutside
		}
	}
	return selected - prune(cs, max(minAgreeing, len(said)/2+1)), len(said)
}

// prune takes those out of the consensus that know far less than the rest of it, the widest first, as long as enough for a consensus
// stay, and returns how many they were. That is the purpose of the cluster algorithm of RFC 5905 §11.2.2: whose interval is wide
// enough agrees with everybody, whatever it says.
func prune(cs []candidate, enough int) (pruned int) {
	var room [16]float64
	radii := room[:0]
	for i := range cs {
		if cs[i].verdict == Selected {
			radii = append(radii, cs[i].radius)
		}
	}
	limit := pruneFactor * lowerMedian(radii) // radii are sorted now
	for len(radii)-pruned > enough && radii[len(radii)-1-pruned] > limit {
		pruned++
	}
	for pruned > 0 && radii[len(radii)-1-pruned] == radii[len(radii)-pruned] {
		pruned-- // all of the same width, or none
	}
	if pruned == 0 {
		return 0
	}
	widest := radii[len(radii)-pruned]
	for i := range cs {
		if c := &cs[i]; c.verdict == Selected && c.radius >= widest {
			c.verdict, c.reason = Excluded, ReasonWide
		}
	}
	return pruned
}

// pruneFactor is how many times wider than the middle interval of a consensus one may be.
const pruneFactor = 16

// judgements writes the verdicts where the last ones were.
func (d *Discipline) judgements(cs []candidate) []Judgement {
	js := d.buf.judgements[:0]
	for i := range cs {
		c := &cs[i]
		js = append(js, Judgement{Source: c.t.id, Verdict: c.verdict, Reason: c.reason, Poll: c.t.poll.want, Radius: toDuration(c.radius), Aside: c.aside})
	}
	d.buf.judgements = js
	return js
}
