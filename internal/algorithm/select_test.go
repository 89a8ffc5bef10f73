package algorithm

import (
	"math/rand/v2"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

func intervals(ends ...time.Duration) []candidate {
	var cs []candidate
	for i := 0; i+1 < len(ends); i += 2 {
		cs = append(cs, candidate{
			t: &tracker{id: ntp.SourceID(i/2 + 1)}, says: Interval{ends[i], ends[i+1]},
			verdict: Candidate, reason: ReasonMinority,
		})
	}
	return cs
}

func TestAgree(t *testing.T) {
	for _, row := range []struct {
		name     string
		ends     []time.Duration
		min      int
		selected string // S selected, F falseticker, C candidate
	}{
		{"nobody", nil, 1, ""},
		{"one is a majority of one", []time.Duration{0, 1}, 1, "S"},
		{"one where three must agree", []time.Duration{0, 1}, 3, "C"},
		{"two that disagree", []time.Duration{0, 1, 2, 3}, 1, "CC"},
		{"two that touch", []time.Duration{0, 1, 1, 3}, 2, "SS"},
		{"two of three", []time.Duration{0, 2, 1, 3, 10, 11}, 2, "SSF"},
		{"two of four is no majority", []time.Duration{0, 2, 1, 3, 10, 11, 20, 21}, 2, "CCCC"},
		{"two pairs", []time.Duration{0, 2, 1, 3, 10, 12, 11, 13}, 2, "CCCC"},
		{"three of five, liars apart", []time.Duration{0, 4, 1, 5, 2, 6, 100, 101, 200, 201}, 3, "SSSFF"},
		{"three of five, liars together", []time.Duration{100, 102, 101, 103, 0, 4, 1, 5, 2, 6}, 3, "FFSSS"},
		{"a chain has a middle", []time.Duration{0, 10, 5, 15, 9, 20, 19, 30}, 3, "SSSF"},
		{"points", []time.Duration{5, 5, 5, 5, 5, 5}, 3, "SSS"},
		{"negative", []time.Duration{-10, -5, -7, 0, 3, 4}, 2, "SSF"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cs := intervals(row.ends...)
			n, voters := agree(cs, row.min)
			got, want := "", 0
			for _, c := range cs {
				got += map[Verdict]string{Selected: "S", Falseticker: "F", Candidate: "C"}[c.verdict]
				if c.verdict == Selected {
					want++
				}
			}
			if got != row.selected || n != want || voters != len(cs) {
				t.Errorf("got %q, %d selected of %d, want %q", got, n, voters, row.selected)
			}
		})
	}
}

// TestIntersect_Property compares with counting at every end, and with permutations.
func TestIntersect_Property(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		n := 1 + rng.IntN(9)
		var ends []time.Duration
		for range n {
			lo := time.Duration(rng.IntN(20))
			ends = append(ends, lo, lo+time.Duration(rng.IntN(8)))
		}
		cs := intervals(ends...)
		var said []Interval
		for i := range cs {
			said = append(said, cs[i].says)
		}
		shared, depth := Intersect(said)
		best := 0
		for _, at := range ends {
			k := 0
			for i := range cs {
				if said[i].Lo <= at && at <= said[i].Hi {
					k++
				}
			}
			best = max(best, k)
		}
		if depth != best {
			t.Fatalf("depth %d, counted %d: %v", depth, best, ends)
		}
		touching := 0
		for _, i := range said {
			covers := i.Lo <= shared.Lo && i.Hi >= shared.Hi
			if i.Touches(shared) != covers {
				t.Fatalf("%v touches %v and does not cover it", i, shared)
			}
			if covers {
				touching++
			}
		}
		if touching != depth {
			t.Fatalf("%d of %d cover %v", touching, depth, shared)
		}
		selected, _ := agree(cs, 1)
		shuffled := intervals(ends...)
		rng.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		again, _ := agree(shuffled, 1)
		if selected != again || selected > 0 && 2*best <= n {
			t.Fatalf("%d selected, %d after shuffling, depth %d of %d: %v", selected, again, best, n, ends)
		}
	}
}

// TestDecide_Exclusion names the reason of every source without a vote.
func TestDecide_Exclusion(t *testing.T) {
	d := New(loose())
	good, few, far, leap, stale := newPath(1, ms, us), newPath(2, ms, us), newPath(3, 1100*ms, us), newPath(4, ms, us), newPath(5, ms, us)
	feed(d, 0, 10, stale)
	at := ntp.Local(500 * sec)
	for range 10 {
		at = at.Add(sec)
		d.Absorb(good.at(at))
		d.Absorb(far.at(at))
		m := leap.at(at)
		m.Leap = ntp.LeapUnknown
		d.Absorb(m)
	}
	d.Absorb(few.at(at))
	dec := d.Decide(at)
	want := []Reason{ReasonNone, ReasonNoSample, ReasonDistance, ReasonLeap, ReasonStale}
	for i, j := range dec.Judgements {
		if j.Reason != want[i] || (j.Verdict == Selected) != (i == 0) || j.Source != ntp.SourceID(i+1) {
			t.Errorf("source %d: %v, %v; want %v", j.Source, j.Verdict, j.Reason, want[i])
		}
	}
	if dec.Selected != 1 || dec.Candidates != 1 {
		t.Errorf("%d of %d", dec.Selected, dec.Candidates)
	}
}
