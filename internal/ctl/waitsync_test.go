package ctl

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ntp-daemon/internal/observe"
)

// script serves snapshots in order, the last one for ever.
func script(list ...*observe.Snapshot) func() *observe.Snapshot {
	var n atomic.Int64 // each connection has its own goroutine
	return func() *observe.Snapshot { return list[min(int(n.Add(1)), len(list))-1] }
}

// reads is how often wait-sync slept, plus one.
func waiting(t *testing.T, next func() *observe.Snapshot, most int, args ...string) (c *console, code, sleeps int) {
	t.Helper()
	c = newConsole(t)
	path := observed(t, next)
	c.Sleep = func(_ context.Context, d time.Duration) error {
		if d != readingInterval {
			t.Errorf("slept %v", d)
		}
		if sleeps++; sleeps >= most {
			return context.DeadlineExceeded
		}
		return nil
	}
	code = c.run(append([]string{"wait-sync", "--socket", path}, args...)...)
	return c, code, sleeps
}

func off(offset, freq float64) *observe.Snapshot {
	s := busy()
	s.Suite.VirtualTruth = &observe.VirtualTruth{Offset: offset, Frequency: freq}
	return s
}

func TestWaitSync_WithoutLimitsOneReadingIsEnough(t *testing.T) {
	c, code, sleeps := waiting(t, script(starting(), starting(), busy()), 10)
	c.expect(t, code, 0, "synchronised to 192.0.2.1 at stratum 3", "")
	if sleeps != 2 || strings.Count(c.out.String(), "\n") != 1 {
		t.Errorf("%d sleeps, output %q", sleeps, c.out.String())
	}
}

func TestWaitSync_ThreeReadingsInARow(t *testing.T) {
	good := off(-1e-4, 1e-6)
	for _, bad := range []*observe.Snapshot{off(3e-4, 1e-6), off(-3e-4, 1e-6), off(1e-4, 4e-6), off(1e-4, -4e-6)} {
		c, code, sleeps := waiting(t, script(good, good, bad, good, good, good), 20, "--max-offset", "200us", "--max-frequency", "3ppm")
		c.expect(t, code, 0, "offset -100 µs, frequency error +1.000 ppm (virtual clock", "")
		if sleeps != 5 {
			t.Errorf("%+v: %d sleeps, want 5", bad.Suite.VirtualTruth, sleeps)
		}
	}
}

func TestWaitSync_ReasonsOnTimeout(t *testing.T) {
	estimate := func(known bool) *observe.Snapshot {
		s := busy()
		s.Suite.VirtualTruth = nil
		s.Suite.EstimateKnown = known
		s.Suite.Offset, s.Suite.Uncertainty = 1e-6, 5e-3
		return s
	}
	limits := []string{"--max-offset", "200us", "--max-frequency", "3ppm"}
	lost := starting()
	lost.Sources = busy().Sources[:3]
	refused := starting()
	refused.Suite.Refusal = "a step of 2000 s exceeds the limit"
	unset := starting()
	unset.Suite.ClockUnset = true
	unserved := starting()
	unserved.Suite.Unserved = "the clock may be off by 2s; maximum-root-distance is 1.5s"
	for _, tt := range []struct {
		name string
		s    *observe.Snapshot
		want string
	}{
		{"unset", unset, "the clock is unset, it shows a time that is past; the daemon is unsynchronised and has no source yet"},
		{"too uncertain to be served", unserved, "not synchronised: the clock may be off by 2s; maximum-root-distance is 1.5s"},
		{"unsynchronised", starting(), "the daemon is unsynchronised and has no source yet"},
		{"sources", lost, "source pool.example.org:123: falseticker (outside the consensus); source pool.example.org:123: excluded (no answer yet)"},
		{"refused", refused, "refuses to steer: a step of 2000 s"},
		{"offset", off(3e-4, 0), "offset +300 µs is above the limit of 200 µs"},
		{"frequency", off(0, -5e-6), "frequency error -5.000 ppm is above the limit of 3.000 ppm"},
		{"uncertain estimate", estimate(true), "offset +1.00 µs ± 5.00 ms is above"},
		{"no estimate", estimate(false), "no estimate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, code, _ := waiting(t, script(tt.s), 4, limits...)
			c.expect(t, code, 1, "", tt.want)
			if strings.Count(c.err.String(), "\n") != 1 || c.out.Len() != 0 {
				t.Errorf("stderr %q, stdout %q", c.err.String(), c.out.String())
			}
		})
	}
}

func TestWaitSync_DaemonComesLater(t *testing.T) {
	c := newConsole(t)
	path := t.TempDir() + "/late"
	c.Sleep = sleep
	begin := time.Now()
	code := c.run("wait-sync", "--socket", path, "--timeout", "50ms")
	c.expect(t, code, 1, "", path)
	if time.Since(begin) > 5*time.Second {
		t.Errorf("took %v", time.Since(begin))
	}
}

func TestWaitSync_Usage(t *testing.T) {
	c := newConsole(t)
	for _, args := range [][]string{
		{"--max-offset", "-1ms"}, {"--max-offset", "soon"}, {"--max-frequency", "-3ppm"}, {"--max-frequency", "x"}, {"--timeout", "3"}, {"now"},
	} {
		if code := c.run(append([]string{"wait-sync", "--socket", "/nonexistent"}, args...)...); code != 64 {
			t.Errorf("%v: exit %d, %q", args, code, c.err.String())
		}
	}
}
