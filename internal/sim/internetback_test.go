package sim

import (
	"testing"
	"time"

	"ntp-daemon/internal/source"
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
		t.Logf("seed %d: followed after %v", seed, w.Elapsed()-back)
	}
}

// TestInternetBack_Sparing: who wants no more than one packet per 64 s asks silent servers rarely, and has them back within the longest
// interval; the first of them that answers wakes the others.
func TestInternetBack_Sparing(t *testing.T) {
	const off = 9 * time.Hour
	for seed := uint64(1); seed <= 3; seed++ {
		w := Scenario{
			Seed: seed, Servers: 3, Agree: 3, ClientOffset: 100 * ms, ClientFreq: 20e-6, Wander: 1e-8, Delay: 15 * ms, Jitter: 3 * ms,
			Polls: true, PollMin: 6, PollMax: 10, Down: []Window{{6 * time.Hour, 6*time.Hour + off}},
		}.Build()
		c := w.Clients[0]
		count := func() (sent, good int) {
			for _, a := range c.assocs {
				sent, good = sent+a.Sent, good+a.Verdicts[source.Accepted]
			}
			return
		}
		w.RunFor(6 * time.Hour)
		before, _ := count()
		w.RunFor(off)
		sent, good := count()
		if sent -= before; sent > 3*60 {
			t.Errorf("seed %d: %d requests to three silent servers in %v", seed, sent, off)
		}
		back, heard := w.Elapsed(), time.Duration(0)
		for c.Report().State != system.Synchronized && w.Elapsed() < back+time.Hour {
			w.RunFor(time.Second)
			if _, now := count(); heard == 0 && now > good {
				heard = w.Elapsed()
			}
		}
		if d := w.Elapsed() - back; d > 20*time.Minute {
			t.Errorf("seed %d: followed again %v after the return", seed, d)
		}
		if d := w.Elapsed() - heard; d > 10*time.Second {
			t.Errorf("seed %d: followed %v after the first reply", seed, d)
		}
		t.Logf("seed %d: %d requests, heard after %v, followed after %v", seed, sent, heard-back, w.Elapsed()-back)
	}
}
