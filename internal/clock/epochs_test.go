package clock

import (
	"sync"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// TestEpochs_WhatMayBeOfBefore: whatever steps there were, a second apart, no stamp of an earlier epoch that is used in the latest one, within
// longestWait, is above the limit and not in the future. And after a step forward the next stamp is above the limit.
func TestEpochs_WhatMayBeOfBefore(t *testing.T) {
	start := ntp.FromUnix(1_700_000_000, 0)
	for _, steps := range [][]time.Duration{
		{time.Hour}, {time.Millisecond}, {0}, {-time.Millisecond}, {-3 * time.Second}, {-time.Hour}, {-10 * time.Second, 2 * time.Second},
		{-time.Hour, time.Second}, {-16500 * time.Millisecond, time.Second}, {-5 * time.Second, 3 * time.Second, time.Second}, {time.Hour, -time.Hour}, {-time.Second, -time.Second},
	} {
		var e epochs
		if !e.EpochSince().IsZero() {
			t.Fatal("a limit before the first step")
		}
		// at is the clock's reading so long after the start, in the epoch after so many steps.
		at := func(real time.Duration, epoch int) ntp.Timestamp {
			now := start.Add(real)
			for _, d := range steps[:epoch] {
				now = now.Add(d)
			}
			return now
		}
		for i, d := range steps {
			e.advance(at(time.Duration(i+1)*time.Second, i+1), d)
		}
		since, latest := e.EpochSince(), time.Duration(len(steps))*time.Second
		if now := at(latest, len(steps)); e.Epoch() != uint64(len(steps)) || since.Before(now) || len(steps) == 1 && steps[0] >= 0 && since != now {
			t.Errorf("%v: epoch %d, limit %v after the step", steps, e.Epoch(), since.Sub(now))
		}
		const grid = 100 * time.Millisecond
		for epoch := range steps {
			for stamped := time.Duration(epoch) * time.Second; stamped < time.Duration(epoch+1)*time.Second; stamped += grid {
				for read := latest; read <= stamped+longestWait; read += grid {
					if r := at(stamped, epoch); since.Before(r) && !at(read, len(steps)).Before(r) {
						t.Fatalf("%v: a stamp of %v, in epoch %d, is used at %v", steps, stamped, epoch, read)
					}
				}
			}
		}
	}
}

// TestEpochs_LimitFirst: who asks for the epoch and then for the limit never has that of an epoch before.
func TestEpochs_LimitFirst(t *testing.T) {
	const steps = 3_000_000
	var e epochs
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range steps {
			e.advance(ntp.Timestamp(i+1), 0)
		}
	})
	for n := uint64(0); n < steps; {
		n = e.Epoch()
		if since := uint64(e.EpochSince()); since < n {
			t.Errorf("epoch %d with the limit of %d", n, since)
			break
		}
	}
	writer.Wait()
}

// TestEpochs_AllClocksTell: each clock that steps or was stepped says which stamps may be of before.
func TestEpochs_AllClocksTell(t *testing.T) {
	for _, d := range []time.Duration{100 * time.Second, -3 * time.Second} {
		w := newSteadyKernel()
		stepped := newVirtual(time.Second, 0, w.read)
		if _, err := stepped.Step(d); err != nil {
			t.Fatal(err)
		}
		clocks := map[string]Clock{"virtual, foreign": newVirtual(time.Second, 0, w.read), "read only": newReadOnly(w.read)}
		w.s.real = w.s.real.Add(d)
		for name, c := range clocks {
			if _, ok := c.CheckForeign(); !ok {
				t.Errorf("%s: %v was not noticed", name, d)
			}
		}
		w.s.real = w.s.real.Add(-d)
		clocks["virtual"] = stepped
		for name, c := range clocks {
			now := c.Map(w.s.real)
			if name != "virtual" {
				now = c.Map(w.s.real.Add(d))
			}
			if want := now.Add(max(0, -d)); c.EpochSince() != want {
				t.Errorf("%s, %v: limit is %v off", name, d, c.EpochSince().Sub(want))
			}
		}
	}
}
