package sim

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
)

// said counts the lines with these words.
func (c *Client) said(words string) (n int) {
	for _, l := range c.Notices {
		if strings.Contains(l.Text, words) {
			n++
		}
	}
	return n
}

// TestK06_ForeignFrequency: a second time daemon sets the frequency, once and again and again. Each time it is adopted
// at the next turn and overruled by the next correction; no step is needed and the offset never becomes unknown.
func TestK06_ForeignFrequency(t *testing.T) {
	for _, row := range []struct {
		name  string
		every time.Duration
		limit time.Duration
	}{{"once", 100 * time.Hour, ms}, {"every five minutes", 5 * time.Minute, 2 * ms}} {
		t.Run(row.name, func(t *testing.T) {
			w := polls(Scenario{Seed: 31, ClientOffset: 100 * ms, ClientFreq: 20e-6}, 4).Build()
			c := w.Clients[0]
			times := 0
			for at := time.Hour; at < 3*time.Hour; at += row.every {
				times++
				w.After(at, func() { c.Tamper(100e-6 - float64(times%2)*30e-6) })
			}
			w.RunFor(4 * time.Hour)
			w.Require(t, Limits{SyncBefore: time.Minute, SyncOffset: row.limit, MaxOffset: row.limit, MaxSteps: 1})
			if off := w.Stats(3*time.Hour+30*time.Minute, ms); off.Max > ms || off.MaxFreq > 3e-6 {
				t.Errorf("half an hour after the last: %v, %g ppm", off.Max, off.MaxFreq*1e6)
			}
			if n := c.said("another program changed the clock's frequency"); n != times {
				t.Errorf("%d lines for %d changes", n, times)
			}
			if c.said("another program stepped") != 0 || c.Report().ConsensusLost != 0 {
				t.Errorf("a frequency was taken for a step: %+v", c.Notices)
			}
		})
	}
}

// TestK06_EverySecond: a second program writes a frequency of its own every second, 30 ppm and more from what the clock needs.
// Ours overrules it at each turn; the error stays below 10 ms and does not swing, and when it ends all is as before.
func TestK06_EverySecond(t *testing.T) {
	w := polls(Scenario{Seed: 37, ClientOffset: 100 * ms, ClientFreq: 20e-6}, 4).Build()
	c := w.Clients[0]
	n := 0
	for at := time.Hour; at < 2*time.Hour; at += time.Second {
		w.After(at, func() { n++; c.Tamper(-20e-6 + float64(n%2*2-1)*80e-6) })
	}
	w.RunFor(2 * time.Hour)
	if off := w.Stats(time.Hour, 10*ms); off.Max > 10*ms {
		t.Errorf("%v off meanwhile", off.Max)
	}
	w.RunFor(2 * time.Hour)
	w.Require(t, Limits{SyncBefore: time.Minute, SyncOffset: 10 * ms, MaxOffset: 10 * ms, MaxSteps: 2})
	if off := w.Stats(3*time.Hour, ms); off.Max > ms {
		t.Errorf("%v off an hour later", off.Max)
	}
	if c.said("another program stepped") != 0 {
		t.Errorf("a frequency was taken for a step: %+v", c.Notices)
	}
}

// TestK07_PermissionTakenAway: every write is refused for an hour. Nobody is served the clock meanwhile, nothing is
// entered in the ledger, and with the permission the clock is disciplined again.
func TestK07_PermissionTakenAway(t *testing.T) {
	w := polls(Scenario{Seed: 32, Servers: 3, Agree: 2, ClientOffset: 50 * ms, ClientFreq: 20e-6, Wander: 1e-7}, 4).Build()
	c := w.Clients[0]
	w.RunFor(time.Hour)
	c.Deny(fmt.Errorf("adjtimex: %w", ntp.ErrClockPermission))
	sets, freq := c.Sets, c.clock.freq
	w.RunFor(10 * time.Minute)
	for range 50 {
		w.RunFor(time.Minute)
		if c.published.Synchronized || c.published.Stratum != ntp.MaxStratum || c.Report().State != system.Unsynchronized {
			t.Fatalf("state %v, serves %+v", c.Report().State, *c.published)
		}
	}
	if c.Refused != "" || c.Sets != sets || c.clock.freq != freq || c.said("could not be corrected") != 1 {
		t.Errorf("ended %q, %d frequencies set, notices %+v", c.Refused, c.Sets-sets, c.Notices)
	}
	if n := c.said("still cannot be corrected"); n < 60 || n > 60*60/16+1 {
		t.Errorf("tried %d times in an hour", n)
	}
	c.Deny(nil)
	w.RunFor(2 * time.Minute)
	if c.said("can be corrected again") != 1 || c.Report().State != system.Synchronized || !c.published.Synchronized {
		t.Errorf("state %v two minutes later, notices %+v", c.Report().State, c.Notices)
	}
	w.RunFor(time.Hour)
	if off := w.Stats(2*time.Hour+10*time.Minute, ms); off.Max > ms {
		t.Errorf("%v off afterwards", off.Max)
	}
	if n := len(c.Steps); n > 2 {
		t.Errorf("steps %v", c.Steps)
	}
}

// TestK07_RefusedForGood: what a clock refuses for no reason that could pass ends the daemon.
func TestK07_RefusedForGood(t *testing.T) {
	w := Scenario{Seed: 33, ClientOffset: 50 * ms}.Build()
	c := w.Clients[0]
	c.Deny(errors.New("invalid argument"))
	w.RunFor(time.Minute)
	if !strings.Contains(c.Refused, "steer clock: invalid argument") || len(c.Steps) != 0 || c.published.Synchronized {
		t.Errorf("ended %q, steps %v, serves %+v", c.Refused, c.Steps, *c.published)
	}
}

// TestK05_StepDuringSteer: somebody sets the clock between our look and our write. The correction that was computed
// for the clock as it was is given up, the offset is found again.
func TestK05_StepDuringSteer(t *testing.T) {
	w := polls(Scenario{Seed: 34, ClientOffset: 100 * ms, ClientFreq: 20e-6}, 4).Build()
	c := w.Clients[0]
	w.RunFor(time.Hour)
	c.clock.meddling = func() {
		c.clock.meddling = nil
		c.clock.jump(5*time.Second, 0)
	}
	w.RunFor(time.Hour)
	if c.clock.meddling != nil || c.said("another program stepped the clock") != 1 {
		t.Fatalf("not met: %+v", c.Notices)
	}
	if len(c.Steps) != 2 || (c.Steps[1]+5*time.Second).Abs() > ms {
		t.Errorf("steps %v", c.Steps)
	}
	w.Require(t, Limits{SyncBefore: time.Hour + 2*time.Minute, MaxOffset: ms, MaxSteps: 2})
}

// TestK06_TamperedDuringEverySteer: another program changes the clock before each of our writes. Each turn ends, and when
// that program has gone the clock is disciplined.
func TestK06_TamperedDuringEverySteer(t *testing.T) {
	w := polls(Scenario{Seed: 35, ClientOffset: 100 * ms, ClientFreq: 20e-6}, 4).Build()
	c := w.Clients[0]
	n := 0
	c.clock.meddling = func() {
		n++
		c.clock.jump(time.Duration(n%3-1)*20*ms+ms, 0)
	}
	w.RunFor(10 * time.Minute)
	if n == 0 || c.Sets+len(c.Steps) != 0 || c.Refused != "" {
		t.Errorf("%d changes met, %d frequencies, steps %v, ended %q", n, c.Sets, c.Steps, c.Refused)
	}
	c.clock.meddling = nil
	w.RunFor(time.Hour)
	w.Require(t, Limits{SyncBefore: 12 * time.Minute, MaxOffset: ms, MaxSteps: 2})
}

// TestK15_Exit: what is left behind is the oscillator's frequency, not that of the slew in progress.
func TestK15_Exit(t *testing.T) {
	w := polls(Scenario{Seed: 36, ClientFreq: 20e-6, Wander: -1}, 4).Build()
	c := w.Clients[0]
	w.After(2*time.Hour, func() { w.References[0].Error = func(time.Duration) time.Duration { return 8 * ms } })
	slewing := false
	w.RunFor(2 * time.Hour)
	for range 60 {
		w.RunFor(10 * time.Second)
		if slewing = math.Abs(c.Frequency()) > 10e-6; slewing {
			break
		}
	}
	if !slewing {
		t.Fatal("no slew was met")
	}
	if err := c.Exit(); err != nil || math.Abs(c.Frequency()) > 1e-6 {
		t.Errorf("left %g ppm wrong, %v", c.Frequency()*1e6, err)
	}
}
