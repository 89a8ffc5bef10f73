package poolke

import (
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/pool"
)

// The words of config key selection that shares are computed for; with the others the choice depends on the user.
var selectRoundRobin, selectWeighted = pool.RoundRobin.String(), pool.Weighted.String()

// servedMarks remembers how many users a time source had served at the end of each of the last minutes.
type servedMarks struct {
	marks [recentMinutes]uint64
	n     int // minutes so far
}

// add ends a minute.
func (s *servedMarks) add(served uint64) {
	s.marks[s.n%recentMinutes] = served
	s.n++
}

// oldest is where lately is measured from: 0 for a time source that is new.
func (s *servedMarks) oldest() uint64 {
	if s.n < recentMinutes {
		return 0
	}
	return s.marks[s.n%recentMinutes]
}

// lately is how many users the time source served in the last five minutes.
func (u *upstream) lately() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.tally[Served].Load() - u.marks.oldest()
}

// markMinute ends a minute.
func (u *upstream) markMinute() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.marks.add(u.tally[Served].Load())
}

// observeShares fills in who served how many of the users lately, lately[i] being what servers[i] did, and what the choice
// aims at: equal parts in turn, or parts by weight, of those who can be handed out now.
func observeShares(selection string, servers []observe.PoolServer, lately []uint64) {
	var served, weight float64
	for i := range servers {
		served += float64(lately[i])
		weight += partOf(selection, &servers[i])
	}
	for i := range servers {
		if served > 0 {
			share := float64(lately[i]) / served
			servers[i].Share = &share
		}
		if weight > 0 && (selection == selectRoundRobin || selection == selectWeighted) {
			expected := partOf(selection, &servers[i]) / weight
			servers[i].Expected = &expected
		}
	}
}

// partOf is the part of one time source in the choice, before it is divided by that of all.
func partOf(selection string, s *observe.PoolServer) float64 {
	switch {
	case !s.Usable():
		return 0
	case selection == selectWeighted:
		return float64(s.Weight)
	}
	return 1
}
