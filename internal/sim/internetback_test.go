package sim

import (
	"testing"
	"time"

	"ntp-daemon/internal/system"
)

// TestInternetBack: after nine hours in which requests leave and are lost, the clock is followed again within two minutes.
func TestInternetBack(t *testing.T) {
	const off = 9 * time.Hour
	for seed := uint64(1); seed <= 3; seed++ {
		w := Scenario{
			Seed: seed, Servers: 3, Agree: 3, ClientOffset: 100 * ms, ClientFreq: 20e-6, Wander: 1e-8, Delay: 15 * ms, Jitter: 3 * ms,
			Polls: true, PollMin: 4, PollMax: 10, Down: []Window{{6 * time.Hour, 6*time.Hour + off}},
		}.Build()
		w.RunFor(6*time.Hour + off)
		c := w.Clients[0]
		back, e := w.Elapsed(), c.Offset()
		for c.Report().State != system.Synchronized && w.Elapsed() < back+time.Hour {
			w.RunFor(time.Second)
		}
		if d := w.Elapsed() - back; d > 2*time.Minute {
			t.Errorf("seed %d: followed again %v after the return, error meanwhile %v", seed, d, e)
		}
	}
}
