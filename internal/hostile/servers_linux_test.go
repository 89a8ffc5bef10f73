package hostile_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/faultnet"
	"ntp-daemon/internal/observe"
)

var five = []string{far(1), far(2), far(3), far(4), far(5)}

// TestC25_TwoLiarsOfFive: the liars agree with each other and answer first; truth wins and the clock never goes their
// way.
func TestC25_TwoLiarsOfFive(t *testing.T) {
	slow := faultnet.Pair{Back: faultnet.Link{Delay: 40 * time.Millisecond}}
	w := newRoutedNet(t, 5, faultnet.Config{Paths: map[string]faultnet.Pair{far(3): slow, far(4): slow, far(5): slow}})
	faultnet.FakeNTP(t, w.far, far(1), faultnet.Liar(lie))
	faultnet.FakeNTP(t, w.far, far(2), faultnet.Liar(lie))
	w.honest(far(3), far(4), far(5))
	c := w.client(polls(-1) + sources("server", "", five...) + virtual(3, 0.25, 20))
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if s := snapshot(c); s != nil && s.Suite.VirtualTruth.Offset < -1 {
			t.Fatalf("the clock followed the liars: %v", s.Suite.VirtualTruth.Offset)
		}
	}
	s := c.synchronised(30 * time.Millisecond)
	for _, liar := range five[:2] {
		if row := source(s, liar); row == nil || row.Role == observe.RolePeer || row.Role == observe.RoleSelected {
			t.Errorf("liar %s: %+v", liar, row)
		}
	}
	c.holds(3*time.Second, 50*time.Millisecond)
}

// TestC26_ThreeLiarsOfFive: three lie, each another way. Nobody is followed; the daemon says so once.
func TestC26_ThreeLiarsOfFive(t *testing.T) {
	w := newRoutedNet(t, 5, faultnet.Config{})
	for i, by := range []time.Duration{lie, -2 * lie, 3 * lie} {
		faultnet.FakeNTP(t, w.far, far(1+i), faultnet.Liar(by))
	}
	w.honest(far(4), far(5))
	c := w.client(polls(-1) + sources("server", "", five...) + virtual(3, 0.25, 0))
	c.wait("a measurement of each source", func(s *observe.Snapshot) bool {
		n := 0
		for _, row := range s.Sources {
			if row.Measured {
				n++
			}
		}
		return n == 5
	})
	c.watch(8*time.Second, func(s *observe.Snapshot) {
		if s.Suite.Synchronized || s.Suite.Steps != 0 || math.Abs(s.Suite.VirtualTruth.Offset+0.25) > 0.01 {
			t.Errorf("state %s, %d steps, clock off by %v", s.Suite.State, s.Suite.Steps, s.Suite.VirtualTruth.Offset)
		}
	})
	c.WaitLog("No consensus on current time")
	if n := strings.Count(c.Log(), "No consensus"); n != 1 {
		t.Errorf("%d lines about the missing consensus", n)
	}
	if strings.Contains(c.Log(), "Jumped") {
		t.Error("the clock was stepped")
	}
}

// TestC26_FewerThanTheMinimum: three sources that agree, and one of them dies.
func TestC26_FewerThanTheMinimum(t *testing.T) {
	w := newRoutedNet(t, 3, faultnet.Config{})
	w.honest(far(1), far(2), far(3))
	c := w.client(polls(-2) + sources("server", "", far(1), far(2), far(3)) + virtual(3, 0.05, 0))
	c.synchronised(10 * time.Millisecond)
	dark := faultnet.Link{Dark: true}
	w.r.SetPathTo(far(3), faultnet.Pair{Out: dark, Back: dark})
	c.wait("loss of the consensus", func(s *observe.Snapshot) bool { return s.Suite.State != "synchronised" })
	c.WaitLog(`No consensus on current time: 2 of 3 sources usable`)
	c.holds(2*time.Second, 20*time.Millisecond)
	if n := strings.Count(c.Log(), "No consensus"); n != 1 {
		t.Errorf("%d lines about the missing consensus", n)
	}
}

// TestC03_C04_C05_C08_C09_C10_C11_C13_C15_C18_C19_C20_C21_C22_Misfits: every server sends, before each honest reply, one forged reply for each rule of the table of
// client rows, all ten seconds wrong.
func TestC03_C04_C05_C08_C09_C10_C11_C13_C15_C18_C19_C20_C21_C22_Misfits(t *testing.T) {
	w := newRoutedNet(t, 4, faultnet.Config{})
	for _, a := range four {
		faultnet.FakeNTP(t, w.far, a, faultnet.Noisy(faultnet.Misfits))
	}
	c := w.client("\n[source-defaults]\npoll-interval-limits = { min = -1, max = 6 }\ninitial-poll-interval = -1\n" +
		sources("server", "", four...) + virtual(3, 0.2, 20))
	c.synchronised(20 * time.Millisecond)
	steady(c, 6*time.Second)
	if log := c.Log(); strings.Contains(log, "rate limit") || strings.Contains(log, "denied") {
		t.Error("a misfit was believed")
	}
}

// TestPersonalities: five honest servers and four strange ones, in three mixtures. The strange ones are outvoted.
func TestPersonalities(t *testing.T) {
	t.Parallel()
	for _, mix := range []struct {
		name    string
		strange [4]faultnet.Personality
		never   [4]bool // never part of the time
	}{
		{"C12 K09 C10 era 1", [4]faultnet.Personality{faultnet.Extremes, faultnet.Leaps, faultnet.Strata, faultnet.Era1}, [4]bool{3: true}},
		{"falsetickers", [4]faultnet.Personality{
			faultnet.Drifter(0.05), faultnet.Turncoat(8, 300*time.Millisecond), faultnet.Liar(-lie), faultnet.Liar(365 * 24 * time.Hour),
		}, [4]bool{2: true, 3: true}},
		{"C14 C17 C18 late", [4]faultnet.Personality{
			faultnet.Rate(3), faultnet.Kisser("DENY"), faultnet.Kisser("XFUN"), faultnet.Late(700 * time.Millisecond),
		}, [4]bool{1: true, 2: true}},
		{"C03 C07 silent", [4]faultnet.Personality{faultnet.Twice, faultnet.Late(6 * time.Second), faultnet.Silent, faultnet.Kisser("RSTR")},
			[4]bool{1: true, 2: true, 3: true}},
	} {
		t.Run(mix.name, func(t *testing.T) {
			w := newRoutedNet(t, 9, faultnet.Config{})
			w.honest(five...)
			all := append([]string(nil), five...)
			for i, p := range mix.strange {
				faultnet.FakeNTP(t, w.far, far(6+i), p)
				all = append(all, far(6+i))
			}
			c := w.client(polls(-1) + sources("server", "", all...) + virtual(3, 0.1, 20))
			c.synchronised(20 * time.Millisecond)
			c.watch(10*time.Second, func(s *observe.Snapshot) {
				if e := seconds(s.Suite.VirtualTruth.Offset).Abs(); e > 40*time.Millisecond {
					t.Errorf("clock is %v off", e)
				}
				for i, bad := range mix.never {
					if bad && used(s, far(6+i)) {
						t.Errorf("used: %+v", source(s, far(6+i)))
					}
				}
			})
			s := snapshot(c)
			if s == nil || !s.Suite.Synchronized || s.System.LeapIndicator != "NoWarning" {
				t.Errorf("%+v", s)
			}
		})
	}
}
