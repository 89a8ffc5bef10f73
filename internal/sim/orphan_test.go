package sim

import (
	"testing"
	"time"

	"ntp-daemon/internal/system"
)

// island connects servers that ask each other; the first of them asks a reference as well, which is away in the given windows.
func island(down []Window) (*World, []*Client) {
	w := New(54, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	s := Scenario{Agree: 1, System: func(p *system.Params) { p.LocalStratum, p.Orphan = 10, true }}
	path := Path{Out: Link{Delay: ms, Jitter: 50 * us}, Back: Link{Delay: ms, Jitter: 50 * us}}
	cfg := Scenario{Agree: 1}.source()
	cfg.PollMin, cfg.PollMax = 4, 6
	var servers []*Client
	for i := range 3 {
		servers = append(servers, w.AddClient(Machine{
			Offset: time.Duration(i+1) * 40 * ms, Frequency: float64(i)*20e-6 - 20e-6, Wander: 1e-9, System: s.params(),
		}))
	}
	up := path
	up.Out.Down = down
	w.Connect(servers[2], &w.AddReference(0).node, up, cfg) // not the one that leads
	for i, c := range servers {
		for j, o := range servers {
			if i != j {
				w.Connect(c, &o.node, path, cfg)
			}
		}
	}
	return w, servers
}

// TestOrphans: three servers without a source follow the one with the smallest address, and stay together; when one of them
// hears a reference all follow it, and when that goes they are an island again.
func TestOrphans(t *testing.T) {
	const hour = time.Hour
	w, servers := island([]Window{{0, 4 * hour}, {8 * hour, 100 * hour}})
	apart := func() (most time.Duration) {
		for _, c := range servers {
			most = max(most, (c.Offset() - servers[0].Offset()).Abs())
		}
		return most
	}
	check := func(when string, strata [3]int, limit time.Duration) {
		t.Helper()
		for i, c := range servers {
			if int(c.published.Stratum) != strata[i] || !c.published.Synchronized {
				t.Errorf("%s: server %d serves stratum %d, want %d; state %v", when, i, c.published.Stratum, strata[i], c.Report().State)
			}
		}
		if d := apart(); d > limit {
			t.Errorf("%s: %v apart", when, d)
		}
	}
	w.RunFor(hour)
	check("an island", [3]int{10, 11, 11}, ms)
	for range 18 {
		w.RunFor(10 * time.Minute)
		check("still an island", [3]int{10, 11, 11}, ms)
	}
	if n := servers[0].said("leads the island"); n != 0 {
		t.Errorf("the leader looked for another %d times", n)
	}
	w.RunFor(hour)
	check("a reference", [3]int{3, 3, 2}, ms)
	w.RunFor(2*hour + 55*time.Minute)
	if e := servers[0].Offset().Abs(); e > ms {
		t.Errorf("with a reference: %v off", e)
	}
	w.RunFor(4 * hour)
	check("an island again", [3]int{10, 11, 11}, ms)
	if e := servers[0].Offset().Abs(); e > 20*ms {
		t.Errorf("the island is %v off after four hours", e)
	}
}
