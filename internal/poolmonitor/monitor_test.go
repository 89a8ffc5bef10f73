package poolmonitor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/nts/aead"
)

// TestSteady: a pool in order stays so for a day, over paths whose halves differ.
func TestSteady(t *testing.T) {
	w := newWorld(t, 7)
	w.run(24 * time.Hour)
	w.requireSteady()
	for f := range Families {
		if n := w.usable(f); n != 7 {
			t.Errorf("%d usable over %v", n, f)
		}
	}
	v, _ := w.m.Views("m0", w.now)
	if v[0].Score < 19 || v[0].State != Usable {
		t.Errorf("score %v, %v", v[0].Score, v[0].State)
	}
	if s := w.m.Status(); s.Reference.Origin != FromMembers || s.Reference.Voices < 4 || s.Rounds < 2300 || s.Rounds > 3200 {
		t.Errorf("status %+v", s)
	}
}

// TestP18_DeadMemberIsOut: whenever in a round it dies, and however slowly its probes fail, a dead time source is out in under 90 s.
func TestP18_DeadMemberIsOut(t *testing.T) {
	var worst time.Duration
	for seed := range 40 {
		w := newWorld(t, 6)
		if seed%2 == 0 {
			w.nodes[5].broken = dead // rounds are long
		}
		w.run(10*time.Minute + time.Duration(seed)*1100*time.Millisecond)
		w.nodes[2].broken = dead
		worst = max(worst, w.until(90*time.Second, "dead member is out", func() bool { return !w.m.Verdict("m2").For(IPv4) && !w.m.Verdict("m2").For(IPv6) }))
		if n := w.usable(IPv4); n != 4+seed%2 {
			t.Errorf("%d are left", n)
		}
		if r := w.m.Verdict("m2").Reason[IPv4]; r != "no keys: timeout" {
			t.Errorf("reason %q", r)
		}
	}
	t.Logf("worst case %v", worst)
	if worst > 90*time.Second {
		t.Errorf("worst case %v", worst)
	}
}

// TestP19_KeysButNoTime: a time source whose key exchange works and whose NTP does not is out, for the family in which that is so.
func TestP19_KeysButNoTime(t *testing.T) {
	w := newWorld(t, 5)
	w.run(5 * time.Minute)
	w.nodes[1].edit = func(a *Attempt) { a.Answers[IPv6] = Answer{Outcome: Silent} }
	w.until(90*time.Second, "out over IPv6", func() bool { return !w.m.Verdict("m1").For(IPv6) })
	w.run(5 * time.Minute)
	if v := w.m.Verdict("m1"); !v.For(IPv4) || v.For(IPv6) || v.Reason[IPv6] != "no reply" {
		t.Errorf("verdict %+v", v)
	}
}

// TestNoAddress: a family in which the name has no address is out at once, costs no score, and does not count as a fault that many have.
func TestNoAddress(t *testing.T) {
	w := newWorld(t, 5)
	for _, n := range w.nodes[:4] {
		n.edit = func(a *Attempt) { a.Answers[IPv6] = Answer{Outcome: NoAddress} }
	}
	w.run(time.Minute)
	if v := w.m.Verdict("m0"); !v.For(IPv4) || v.For(IPv6) || v.Reason[IPv6] != "no address" || w.m.Status().VoidRounds != 0 {
		t.Errorf("verdict %+v, %+v", v, w.m.Status())
	}
	w.nodes[0].edit = nil
	took := w.until(15*time.Minute, "usable once it has one", func() bool { return w.m.Verdict("m0").For(IPv6) })
	if took < 5*time.Minute {
		t.Errorf("entered after %v, want fourteen good probes", took)
	}
}

// TestP20_WrongClockIsOut: a time source that is 100 ms wrong from one moment to the next is out in under five minutes, with the
// others or with sources of the configuration as reference, and comes back when it has been right for long enough.
func TestP20_WrongClockIsOut(t *testing.T) {
	for name, edit := range map[string]func(*world){
		"members": func(*world) {},
		"sources": func(w *world) {
			w.cond = func() Conditions {
				return Conditions{Sources: []Reading{{At: w.now.Add(-time.Minute), Claimed: 5 * time.Millisecond, Path: 10 * time.Millisecond}}}
			}
		},
		"host wrong by an hour": func(w *world) {
			for _, n := range w.nodes {
				n.offset = time.Hour
			}
		},
	} {
		for _, wrong := range []time.Duration{100 * time.Millisecond, -100 * time.Millisecond} {
			w := newWorld(t, 5)
			edit(w)
			w.run(10 * time.Minute)
			right := w.nodes[3].offset
			w.nodes[3].offset += wrong
			took := w.until(5*time.Minute, name, func() bool { return !w.m.Verdict("m3").For(IPv4) && !w.m.Verdict("m3").For(IPv6) })
			t.Logf("%s, %v: out after %v", name, wrong, took)
			if w.usable(IPv4) != 4 {
				t.Errorf("%s: %d are left", name, w.usable(IPv4))
			}
			if r := w.m.Verdict("m3").Reason[IPv4]; !strings.HasPrefix(r, "its clock is off by ") {
				t.Errorf("reason %q", r)
			}
			w.run(time.Hour)
			if w.m.Verdict("m3").For(IPv4) {
				t.Errorf("%s: came back wrong", name)
			}
			w.nodes[3].offset = right
			w.until(15*time.Minute, name+" back", func() bool { return w.m.Verdict("m3").For(IPv4) && w.m.Verdict("m3").For(IPv6) })
		}
	}
}

// TestClaimIsCapped: a time source that claims a large root distance is not excused by it.
func TestClaimIsCapped(t *testing.T) {
	w := newWorld(t, 5)
	w.nodes[0].claimed, w.nodes[0].offset = 900*time.Millisecond, 400*time.Millisecond
	w.until(5*time.Minute, "out", func() bool { return !w.m.Verdict("m0").For(IPv4) })
}

// TestP21_RegionDriftsOff: 40 % of a region whose clocks run away together are caught before they are 120 ms wrong, and do
// not drag the reference or a single honest one with them; so too when the rest is the smallest majority, and when those that remain are
// attacked once more.
func TestP21_RegionDriftsOff(t *testing.T) {
	for _, n := range []int{5, 10} {
		for _, rate := range []time.Duration{20 * time.Microsecond, 200 * time.Microsecond, -time.Millisecond} {
			w := newWorld(t, n)
			w.run(10 * time.Minute)
			drifting := n * 2 / 5
			began := w.now
			for _, o := range w.nodes[:drifting] {
				o.wander = rate
				o.offset = -time.Duration(float64(rate) * began.Sub(w.start).Seconds())
			}
			w.until(4*time.Hour, "drifting ones are out", func() bool { return w.usable(IPv4) <= n-drifting })
			off := time.Duration(float64(rate) * w.now.Sub(began).Seconds())
			t.Logf("%d of %d at %v/s: out after %v, %v off", drifting, n, rate, w.now.Sub(began), off)
			if off.Abs() > 120*time.Millisecond {
				t.Errorf("out only when %v off", off)
			}
			w.run(time.Hour)
			for i, o := range w.nodes {
				if got := w.m.Verdict(o.id).For(IPv4); got != (i >= drifting) {
					t.Errorf("%s usable: %v", o.id, got)
				}
			}
			if r := w.m.Status().Reference.Offset; r.Abs() > 12*time.Millisecond {
				t.Errorf("reference is %v off", r)
			}
		}
	}
}

// TestP22_PoolSideFault: what fails for most at once takes nobody out, whatever it is, is reported once, and leaves the scores as they were.
func TestP22_PoolSideFault(t *testing.T) {
	for _, tt := range []struct {
		name    string
		members int
		failing int
		outcome Outcome
		silent  bool
		word    string
	}{
		{"all", 6, 6, NoKeys, false, "all time sources failed at once"},
		{"most", 6, 4, NoKeys, false, "most time sources failed at once"},
		{"with the references", 6, 1, NoKeys, true, "the reference sources do not answer either"},
		{"wrong clock of the host", 6, 6, NotValid, false, "most certificates are not valid by this host's clock"},
		{"all of two", 2, 2, NoKeys, false, "all time sources failed at once"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.members)
			w.run(time.Hour)
			before, _ := w.m.Views("m0", w.now)
			fault := func(time.Time) Outcome { return tt.outcome }
			for _, n := range w.nodes[:tt.failing] {
				n.broken = fault
			}
			w.cond = func() Conditions { return Conditions{Silent: tt.silent} }
			w.reports = nil
			w.run(9 * time.Minute)
			if n := w.usable(IPv4); n != tt.members {
				t.Errorf("%d usable", n)
			}
			s := w.m.Status()
			if s.Void[IPv4] != tt.word || s.VoidRounds < 5 || s.Implausible != (tt.outcome == NotValid) {
				t.Errorf("status %+v", s)
			}
			after, _ := w.m.Views("m0", w.now)
			if after[0].Score != before[0].Score {
				t.Errorf("score %v became %v", before[0].Score, after[0].Score)
			}
			for _, n := range w.nodes {
				n.broken = nil
			}
			w.cond = nil
			w.run(2 * time.Minute)
			began, ended := 0, 0
			for _, r := range w.reports {
				if r.VoidBegan {
					began++
				}
				if r.VoidEnded {
					ended++
				}
			}
			if began != 1 || ended != 1 || w.usable(IPv4) != tt.members || w.m.Status().Implausible {
				t.Errorf("%d began, %d ended, %d usable", began, ended, w.usable(IPv4))
			}
		})
	}
}

// TestMostReallyDead: when most fail for ten minutes while others work it is taken for true, and when all fail it never is.
func TestMostReallyDead(t *testing.T) {
	w := newWorld(t, 6)
	w.run(10 * time.Minute)
	for _, n := range w.nodes[:4] {
		n.broken = dead
	}
	took := w.until(13*time.Minute, "believed", func() bool { return w.usable(IPv4) == 2 })
	if took < 10*time.Minute {
		t.Errorf("believed after %v", took)
	}
	for _, n := range w.nodes[4:] {
		n.broken = dead
	}
	w.run(50 * time.Minute)
	if w.usable(IPv4) != 2 {
		t.Errorf("%d usable when all are dead", w.usable(IPv4))
	}
}

// TestHalfIsNoFaultOfOurs: half of the time sources may die at once and are out.
func TestHalfIsNoFaultOfOurs(t *testing.T) {
	w := newWorld(t, 8)
	w.run(10 * time.Minute)
	for _, n := range w.nodes[:4] {
		n.broken = dead
	}
	w.until(90*time.Second, "out", func() bool { return w.usable(IPv4) == 4 })
}

// TestReferenceIsDoubted: sources that would put most time sources out at once are not believed, neither against them nor for the one that was out
// and is alone in agreeing with them.
func TestReferenceIsDoubted(t *testing.T) {
	w := newWorld(t, 6)
	w.nodes[5].offset = 300 * time.Millisecond
	w.until(5*time.Minute, "out by the others", func() bool { return !w.m.Verdict("m5").For(IPv4) })
	w.cond = func() Conditions {
		return Conditions{Sources: []Reading{{At: w.now, Offset: 300 * time.Millisecond, Path: time.Millisecond}}}
	}
	w.run(time.Hour)
	if w.usable(IPv4) != 5 || w.m.Verdict("m5").For(IPv4) || w.m.Status().Void[IPv4] != "most time sources would be wrong by the reference" {
		t.Errorf("%d usable, %+v", w.usable(IPv4), w.m.Status())
	}
	if v, _ := w.m.Views("m0", w.now); v[0].Score < 19 {
		t.Errorf("score %v by a reference that is doubted", v[0].Score)
	}
}

// TestNoReference: fewer than three healthy time sources are not compared with each other.
func TestNoReference(t *testing.T) {
	w := newWorld(t, 2)
	w.nodes[0].offset = 100 * time.Millisecond
	w.run(time.Hour)
	w.requireSteady()
	if s := w.m.Status(); s.Reference.Origin != NoReference {
		t.Errorf("reference %+v", s.Reference)
	}
}

// TestEntry: who is listed later has to earn its score; who was out for long needs longer than who was out for a moment.
func TestEntry(t *testing.T) {
	w := newWorld(t, 4)
	w.run(10 * time.Minute)
	w.nodes = append(w.nodes, newNode("late"))
	w.list()
	if w.m.Verdict("late").For(IPv4) || w.m.Verdict("late").Reason[IPv4] != "new" {
		t.Errorf("verdict %+v", w.m.Verdict("late"))
	}
	if took := w.until(10*time.Minute, "entry", func() bool { return w.m.Verdict("late").For(IPv4) }); took < 5*time.Minute {
		t.Errorf("entered after %v, want fourteen good probes", took)
	}
	comeback := func(outage time.Duration) time.Duration {
		w.run(2 * time.Hour)
		w.nodes[4].broken = dead
		w.run(outage)
		w.nodes[4].broken = nil
		return w.until(40*time.Minute, "comes back", func() bool { return w.m.Verdict("late").For(IPv4) })
	}
	short, long := comeback(2*time.Minute), comeback(3*time.Hour)
	t.Logf("back after %v and %v", short, long)
	if short > 15*time.Minute || long < 15*time.Minute {
		t.Errorf("back after %v and %v", short, long)
	}
}

// TestFlapping: a single failed probe, answered at the next try, takes nobody out and does not wait for the next round.
func TestFlapping(t *testing.T) {
	w := newWorld(t, 5)
	n := 0
	w.nodes[0].broken = func(time.Time) Outcome {
		if n++; n%3 != 0 {
			return Silent
		}
		return Good
	}
	w.run(3 * time.Hour)
	w.requireSteady()
	if v, _ := w.m.Views("m0", w.now); v[0].Score > 0 {
		t.Errorf("score %v", v[0].Score)
	}
}

// TestP23_AlgorithmThatFails: an algorithm that does not work is withheld while the others stay, and comes back.
func TestP23_AlgorithmThatFails(t *testing.T) {
	w := newWorld(t, 5)
	w.run(10 * time.Minute)
	broken := aead.Algorithm(30)
	w.nodes[2].edit = func(a *Attempt) {
		if a.Algorithm == broken {
			a.Answers[IPv4], a.Answers[IPv6] = Answer{Outcome: NAK}, Answer{Outcome: NAK}
		}
	}
	took := w.until(5*time.Minute, "30 is withheld", func() bool { return !w.m.Verdict("m2").Has(broken) })
	t.Logf("withheld after %v", took)
	w.run(time.Hour)
	v := w.m.Verdict("m2")
	if !v.For(IPv4) || !v.For(IPv6) || !v.Has(15) || !v.Has(17) || v.Has(broken) || len(w.log) > 0 {
		t.Errorf("verdict %+v, log %v", v, w.log)
	}
	if views, algorithms := w.m.Views("m2", w.now); views[0].Score < 15 || algorithms[2].Reason != "nts nak" {
		t.Errorf("score %v, %+v: what is expected to fail must not count", views[0].Score, algorithms)
	}
	w.nodes[2].edit = nil
	w.until(10*time.Minute, "30 is back", func() bool { return w.m.Verdict("m2").Has(broken) })
	var changes []bool
	for _, r := range w.reports {
		for _, a := range r.Algorithms {
			changes = append(changes, a.Usable)
		}
	}
	if !slices.Equal(changes, []bool{false, true}) {
		t.Errorf("changes %v", changes)
	}
}

// TestOnlyAlgorithmFails: without another one that works it is the time source that is out.
func TestOnlyAlgorithmFails(t *testing.T) {
	w := newWorld(t, 5)
	w.nodes[1].algorithms = []aead.Algorithm{15}
	w.nodes[1].edit = func(a *Attempt) { a.Answers[IPv4] = Answer{Outcome: NAK} }
	w.until(90*time.Second, "out", func() bool { return !w.m.Verdict("m1").For(IPv4) })
	if v := w.m.Verdict("m1"); !v.Has(15) || !v.For(IPv6) {
		t.Errorf("verdict %+v", v)
	}
}

// TestStale: a view that nothing supports any more fades and is forgotten, in and out alike.
func TestStale(t *testing.T) {
	w := newWorld(t, 4)
	w.run(2 * time.Hour)
	w.nodes[0].broken = dead
	w.run(10 * time.Minute)
	for _, n := range w.nodes {
		n.broken = nil
		n.edit = func(a *Attempt) { a.Keys = NotProbed } // no route
	}
	score := func(i int) float64 { v, _ := w.m.Views(w.nodes[i].id, w.now); return v[0].Score }
	out, in := score(0), score(1)
	w.run(40 * time.Minute)
	if w.m.Verdict("m0").For(IPv4) || !w.m.Verdict("m1").For(IPv4) || score(0) < 0.8*out || score(1) > 0.8*in {
		t.Errorf("after 40 min: %v → %v, %v → %v", out, score(0), in, score(1))
	}
	w.run(40 * time.Minute)
	for _, n := range w.nodes {
		v, _ := w.m.Views(n.id, w.now)
		if v[0].State != Unknown || !w.m.Verdict(n.id).For(IPv4) {
			t.Errorf("%s is %v after 80 min", n.id, v[0].State)
		}
	}
}

// TestParallel: no more probes at a time than allowed, and every time source has its turn.
func TestParallel(t *testing.T) {
	w := newWorld(t, 100)
	for _, n := range w.nodes {
		n.rtt = time.Second
	}
	most := 0
	for range 600 {
		w.run(100 * time.Millisecond)
		most = max(most, len(w.flying))
	}
	if most > 32 || most < 20 {
		t.Errorf("%d at a time", most)
	}
	if n := w.m.Status().Rounds; n == 0 || w.tasks < 100 {
		t.Errorf("%d rounds, %d probes", n, w.tasks)
	}
}

// TestReloadInARound: time sources that come and go while they are probed disturb nobody.
func TestReloadInARound(t *testing.T) {
	w := newWorld(t, 6)
	for range 300 {
		w.run(time.Duration(w.rnd.IntN(3000)) * time.Millisecond)
		gone := w.nodes[5]
		w.nodes = w.nodes[:5]
		w.list()
		if w.m.Verdict("m5") != nil {
			t.Fatal("still there")
		}
		left := w.flying[:0]
		for _, f := range w.flying {
			w.m.Absorb(w.now, f.a)
			_ = left
		}
		w.flying = left
		w.run(time.Duration(w.rnd.IntN(3000)) * time.Millisecond)
		w.nodes = append(w.nodes, gone)
		w.list()
	}
	w.run(time.Minute)
	if len(w.log) > 0 || w.m.probing < 0 || w.m.probing > 6 {
		t.Errorf("%d probing, %v", w.m.probing, w.log)
	}
	if w.m.Status().Rounds < 10 {
		t.Errorf("%d rounds", w.m.Status().Rounds)
	}
}

// TestReferenceNeedsAMajority: two camps of equal size are no reference, for neither of them.
func TestReferenceNeedsAMajority(t *testing.T) {
	w := newWorld(t, 6)
	for _, n := range w.nodes[:3] {
		n.offset = 200 * time.Millisecond
	}
	w.run(time.Hour)
	w.requireSteady()
	if s := w.m.Status(); s.Reference.Origin != NoReference {
		t.Errorf("reference %+v", s.Reference)
	}
}

// TestOutHaveNoVoice: those that are out for their clocks do not help the next ones that go the same way: four of ten drift off, and when they
// are out two more follow them to where they are, which would be six of ten.
func TestOutHaveNoVoice(t *testing.T) {
	w := newWorld(t, 10)
	w.run(10 * time.Minute)
	for _, n := range w.nodes[:4] {
		n.offset = 300 * time.Millisecond
	}
	w.until(5*time.Minute, "four are out", func() bool { return w.usable(IPv4) == 6 })
	for _, n := range w.nodes[4:6] {
		n.offset = 300 * time.Millisecond
	}
	w.until(5*time.Minute, "six are out", func() bool { return w.usable(IPv4) == 4 })
	w.run(time.Hour)
	for i, n := range w.nodes {
		if got := w.m.Verdict(n.id).For(IPv4); got != (i >= 6) {
			t.Errorf("%s usable: %v", n.id, got)
		}
	}
}

// TestNextIsNotNow: whenever nothing is due, the next moment at which something is lies ahead.
func TestNextIsNotNow(t *testing.T) {
	w := newWorld(t, 100)
	for _, n := range w.nodes {
		n.rtt = time.Second // there are never enough places
	}
	for range 20 * 60 {
		w.run(50 * time.Millisecond)
		if len(w.m.Due(w.now)) == 0 && !w.m.Next(w.now).After(w.now) {
			t.Fatalf("at %v: nothing is due, and the next moment is %v ago, with %d probes under way", w.now.Sub(w.start), w.now.Sub(w.m.Next(w.now)), w.m.probing)
		}
	}
}

// TestNobodyWanted: a list of which nobody is to be probed does not hold up the one that comes after it.
func TestNobodyWanted(t *testing.T) {
	m := New(Params{}, func() float64 { return 0.5 }, simStart)
	m.SetMembers(simStart, []Target{{ID: "a"}})
	if tasks := m.Due(simStart); tasks != nil || !m.RoundOver() {
		t.Fatalf("%v, over: %v", tasks, m.RoundOver())
	}
	m.Judge(simStart, Conditions{})
	m.SetMembers(simStart, []Target{{ID: "a"}, {ID: "b", Wanted: [Families]bool{true, true}}})
	now := simStart
	for range 3 {
		now = m.Next(now)
		if tasks := m.Due(now); len(tasks) == 1 && tasks[0].Member == "b" {
			return
		}
	}
	t.Error("the new one is not probed")
}

// TestThreeOfWhichOneWasWrong: in a pool of three the one that was wrong is out, stays out while it is wrong, and can prove that it is right again, although
// two are too few to be a reference for it.
func TestThreeOfWhichOneWasWrong(t *testing.T) {
	w := newWorld(t, 3)
	w.run(10 * time.Minute)
	w.nodes[1].offset = -100 * time.Millisecond
	w.until(5*time.Minute, "out", func() bool { return !w.m.Verdict("m1").For(IPv4) })
	w.run(3 * time.Hour)
	if w.usable(IPv4) != 2 || w.m.Verdict("m1").For(IPv4) {
		t.Errorf("%d usable: %v", w.usable(IPv4), w.log)
	}
	w.nodes[1].offset = 0
	w.until(15*time.Minute, "back", func() bool { return w.m.Verdict("m1").For(IPv4) })
}
