package sim

import (
	"testing"
	"time"

	"ntp-daemon/internal/system"
)

// TestK12_PausedWithoutBatteryClock: a virtual machine was paused, or restored from a saved state, and has no battery clock
// that would tell. The first sample afterwards asks all sources at once, and when more than half say the same the clock is
// set with one step: seconds after the first poll, not polls later. What was learnt of the oscillator stays.
func TestK12_PausedWithoutBatteryClock(t *testing.T) {
	for _, row := range []struct {
		name    string
		servers int
		pause   time.Duration
	}{{"one source", 1, 30 * time.Second}, {"three sources", 3, 30 * time.Second}, {"five, ten minutes", 5, 10 * time.Minute}} {
		t.Run(row.name, func(t *testing.T) {
			w := Scenario{
				Seed: 51, Servers: row.servers, Agree: min(row.servers, 3), ClientOffset: 100 * ms, ClientFreq: 20e-6, Wander: 1e-9,
				Delay: 5 * ms, Jitter: ms, Polls: true, PollMin: 6, PollMax: 6,
			}.Build()
			w.RunFor(4 * time.Hour)
			c := w.Clients[0]
			steps, lost := len(c.Steps), c.Report().ConsensusLost
			served := func() (n int) {
				for _, r := range w.References {
					n += len(r.Served)
				}
				return n
			}
			before := served()
			c.pause(row.pause)
			w.RunFor(row.pause)
			for served() == before {
				w.RunFor(100 * ms)
			}
			asked := w.Elapsed()
			for c.Offset().Abs() > 5*ms && w.Elapsed() < asked+time.Minute {
				w.RunFor(100 * ms)
			}
			if took := w.Elapsed() - asked; took > 3*time.Second {
				t.Errorf("right again %v after the first request, error %v", took, c.Offset())
			}
			w.RunFor(10 * time.Minute)
			if r := c.Report(); len(c.Steps) != steps+1 || c.Offset().Abs() > 5*ms || r.State != system.Synchronized || r.ConsensusLost > lost+1 {
				t.Errorf("steps %v, error %v, state %v, lost %d times", c.Steps[steps:], c.Offset(), r.State, r.ConsensusLost-lost)
			}
			if f := c.Frequency(); f > 1e-6 || f < -1e-6 {
				t.Errorf("rate error %g", f)
			}
			if n := c.said("the clock was displaced"); n != 1 {
				t.Errorf("said %d times", n)
			}
		})
	}
}

// TestK12_OneDisplacedServer: a server that is suddenly off by ten seconds is its own problem: the others are asked, and
// nothing happens to the clock or to what is served.
func TestK12_OneDisplacedServer(t *testing.T) {
	w := polls(Scenario{Seed: 52, Servers: 4, Agree: 3, ClientOffset: 100 * ms, ClientFreq: 20e-6}, 6).Build()
	w.RunFor(2 * time.Hour)
	c := w.Clients[0]
	steps := len(c.Steps)
	w.lie(1, 10*time.Second)
	for range 60 {
		w.RunFor(time.Minute)
		if !c.published.Synchronized || c.Offset().Abs() > 5*ms {
			t.Fatalf("serves %+v, error %v", *c.published, c.Offset())
		}
	}
	if len(c.Steps) != steps || c.said("displaced") != 0 || c.Report().ConsensusLost != 0 {
		t.Errorf("steps %v, lost %d times", c.Steps[steps:], c.Report().ConsensusLost)
	}
}
