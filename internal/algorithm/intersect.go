package algorithm

import (
	"cmp"
	"slices"
	"time"
)

// Interval is one source's word on the time: true time less our clock is between Lo and Hi, both included, if the
// source and the path to it are honest. Lo ≤ Hi.
type Interval struct{ Lo, Hi time.Duration }

// Touches reports whether the two have a point in common.
func (i Interval) Touches(o Interval) bool { return i.Lo <= o.Hi && i.Hi >= o.Lo }

// Intersect finds the range that the largest number of intervals share, and that number: 0, with no meaning of
// shared, if there are none. Of several such ranges it is the lowest.
//
// It is Marzullo's algorithm, from which the selection of RFC 5905 §11.2.1 comes: sort the ends of all intervals and
// walk from the lowest to the highest, counting one up where an interval begins and one down where it ends; the
// range lies where the count is highest. Where one ends and another begins the beginning is counted first, so that
// intervals which touch agree. Those that agree are the ones that touch the result; each of them covers all of it.
// Whether they are enough is for the caller to say. The RFC's version also counts the midpoints outside the range, and
// widens it until there are no more of them than falsetickers; here midpoints play no part, because an honest source
// behind an asymmetric path has its own outside, and its interval holds the truth all the same.
func Intersect(intervals []Interval) (shared Interval, depth int) {
	var room [32]edge // on the stack, as long as they fit
	edges := room[:0]
	for _, i := range intervals {
		edges = append(edges, edge{i.Lo, 1}, edge{i.Hi, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if c := cmp.Compare(a.at, b.at); c != 0 {
			return c
		}
		return b.change - a.change
	})
	open := 0
	for i, e := range edges {
		if open += e.change; open > depth {
			depth, shared = open, Interval{e.at, edges[i+1].at} // what began ends later: there is a next edge
		}
	}
	return shared, depth
}

// edge is one end of an interval.
type edge struct {
	at     time.Duration
	change int // of the number of intervals that overlap: +1 one begins, -1 one ends
}
