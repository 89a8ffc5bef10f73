package ctl

import (
	"cmp"
	"slices"
)

// sample is one source's word on the time, in seconds: true time less ours is within offset ± bound if the source
// and the path to it are honest.
type sample struct {
	name    string
	address string
	nts     bool
	offset  float64
	bound   float64
}

// majority finds the samples whose intervals share a point with the most others, and their offset: the mean,
// in which a sample weighs the more the narrower its interval is. Of several places with equal counts it is the
// first, which quorum then refuses. The result is by index, ascending.
func majority(samples []sample) (agreeing []int, offset float64) {
	type edge struct {
		at   float64
		open int // +1 an interval begins, -1 it ends
	}
	edges := make([]edge, 0, 2*len(samples))
	for _, s := range samples {
		edges = append(edges, edge{s.offset - s.bound, 1}, edge{s.offset + s.bound, -1})
	}
	// At the same point beginnings come first: intervals that touch agree.
	slices.SortStableFunc(edges, func(a, b edge) int {
		if c := cmp.Compare(a.at, b.at); c != 0 {
			return c
		}
		return b.open - a.open
	})
	depth, most, from, to := 0, 0, 0.0, 0.0
	for i, e := range edges {
		depth += e.open
		if depth > most {
			most, from, to = depth, e.at, edges[i+1].at // an interval that began must end later
		}
	}
	var sum, weights float64
	for i, s := range samples {
		if s.offset-s.bound <= from && s.offset+s.bound >= to {
			agreeing = append(agreeing, i)
			w := 1 / s.bound
			sum += float64(w * s.offset)
			weights += w
		}
	}
	if weights == 0 {
		return nil, 0
	}
	return agreeing, sum / weights
}

// quorum is how many samples must agree: more than half of those that came, at least half of those wanted, and
// never fewer than the configuration asks of the daemon.
func quorum(came, wanted, minimum int) int {
	return max(came/2+1, (wanted+1)/2, minimum)
}
