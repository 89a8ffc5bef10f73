package sim

import (
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/system"
)

// site is a client that follows servers by their own clocks, of which the first are protected by NTS.
func site(t *testing.T, seed uint64, servers, protected int, change func(*system.Params)) *World {
	t.Helper()
	s := Scenario{Agree: min(servers, 3), System: change, Polls: true, PollMin: 4, PollMax: 10, Delay: 5 * ms, Jitter: ms}
	w := New(seed, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	c := w.AddClient(Machine{Offset: 100 * ms, Frequency: 20e-6, Wander: 1e-9, System: s.params()})
	for i := range servers {
		r := w.AddReference(0)
		cfg := s.source()
		if i < protected {
			if err := w.Protect(r); err != nil {
				t.Fatal(err)
			}
			session, err := w.Session(r, aead.SIVCMAC256)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Session = session
		}
		w.Connect(c, &r.node, s.path(), cfg)
	}
	return w
}

// lie moves the clocks of the first n servers.
func (w *World) lie(n int, by time.Duration) {
	for _, r := range w.References[:n] {
		r.Error = func(time.Duration) time.Duration { return by }
	}
}

// pause stops the machine for d, and its clocks do not know: no time passes for the oscillator.
func (c *Client) pause(d time.Duration) {
	c.osc.read(c.w.now)
	local, frac := c.osc.local, c.osc.frac
	c.stopped = c.w.now + int64(d)
	c.w.queue.schedule(c.stopped, func() { c.osc.read(c.w.now); c.osc.local, c.osc.frac = local, frac })
}

// TestHold_PausedMachine: a virtual machine is paused, and its clocks do not know. It must not be without time afterwards
// for good; for how long follows from how far it is off and from who says so.
func TestHold_PausedMachine(t *testing.T) {
	for _, row := range []struct {
		name      string
		pause     time.Duration
		protected int           // of three servers
		within    time.Duration // 0: it holds
	}{
		{"a moment", 700 * ms, 0, 30 * time.Minute},
		{"below the limit", 10 * time.Minute, 0, 30 * time.Minute},
		{"beyond it, NTS", 25 * time.Minute, 3, 30 * time.Minute},
		{"beyond it, mostly NTS", 25 * time.Minute, 2, 30 * time.Minute},
		{"beyond it, plain", 25 * time.Minute, 0, time.Hour},
		{"nearly a day", 23 * time.Hour, 3, 30 * time.Minute},
		{"three days", 3 * 24 * time.Hour, 3, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := site(t, 41, 3, row.protected, nil)
			w.RunFor(12 * time.Hour)
			c := w.Clients[0]
			c.pause(row.pause)
			w.RunFor(row.pause + 28*time.Minute)
			if row.within > 30*time.Minute {
				if c.Report().State != system.Refused || c.published.Synchronized {
					t.Errorf("after half an hour: state %v, steps %v", c.Report().State, c.Steps)
				}
			}
			w.RunFor(max(row.within, 30*time.Minute) - 28*time.Minute)
			r := c.Report()
			if row.within == 0 {
				w.RunFor(6 * time.Hour)
				if r := c.Report(); c.Refused != "" || r.State != system.Refused || len(c.Steps) != 1 || c.published.Synchronized || c.published.Stratum != ntp.MaxStratum {
					t.Errorf("ended with %q, state %v, steps %v", c.Refused, r.State, c.Steps)
				}
				return
			}
			if c.Refused != "" || c.Offset().Abs() > 10*ms || r.State != system.Synchronized || r.Refusal != (system.Refusal{}) {
				t.Errorf("%v later: error %v, state %v, refusal %+v, ended with %q, steps %v", row.within, c.Offset(), r.State, r.Refusal, c.Refused, c.Steps)
			}
		})
	}
}

// TestHold_LiarMajority: three of four servers ask for an hour back, and come to their senses after three hours. The clock
// is left alone and nobody is served it as good; then it goes on as if nothing had been.
func TestHold_LiarMajority(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, 25 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			w := site(t, 42, 4, 4, nil)
			c := w.Clients[0]
			w.RunFor(4 * time.Hour)
			w.lie(3, by)
			w.RunFor(2 * time.Hour)
			for range 6 {
				w.RunFor(10 * time.Minute)
				if c.Report().State != system.Refused || c.published.Synchronized || c.published.Leap != ntp.LeapUnknown {
					t.Fatalf("state %v, serves %+v", c.Report().State, *c.published)
				}
			}
			w.lie(3, 0)
			w.RunFor(time.Hour)
			w.Require(t, Limits{SyncBefore: time.Minute, MaxOffset: 10 * ms, MaxSteps: 1})
			if r := c.Report(); r.State != system.Synchronized || r.Refusals[system.LimitSingle] != 1 {
				t.Errorf("state %v, refused %v times", r.State, r.Refusals)
			}
		})
	}
}

// TestHold_SetByHand: an operator believes the sources and sets the clock, as ntp-ctl force-sync does. The daemon adopts
// his step and goes on within a minute.
func TestHold_SetByHand(t *testing.T) {
	w := site(t, 43, 3, 0, nil)
	c := w.Clients[0]
	w.RunFor(4 * time.Hour)
	w.lie(3, -5000*time.Second)
	w.RunFor(2 * time.Hour)
	if c.Report().State != system.Refused {
		t.Fatalf("state %v", c.Report().State)
	}
	c.Jump(-5000 * time.Second)
	w.RunFor(time.Minute)
	if r := c.Report(); r.State != system.Synchronized || r.Refusal != (system.Refusal{}) || (c.Offset()+5000*time.Second).Abs() > 10*ms {
		t.Errorf("state %v, refusal %+v, offset %v", r.State, r.Refusal, c.Offset())
	}
}

// TestUnauthenticatedStepsPerDay: whoever sits on the path of plain sources moves the clock by at most 1000 s a day in
// sum, whatever the direction, and once more after half an hour of lying for a pause. He moved it by six times 900 s in as
// many minutes. Authenticated sources are believed as before.
func TestUnauthenticatedStepsPerDay(t *testing.T) {
	for _, row := range []struct {
		name      string
		protected int
		lie       func(at time.Duration) time.Duration
		max       time.Duration // of the clock's error
		steps     int
	}{
		{"forward, a step a minute", 0, func(at time.Duration) time.Duration { return at.Truncate(time.Minute) * 15 }, 1000 * time.Second, 1},
		{"backward", 0, func(at time.Duration) time.Duration { return -at.Truncate(5*time.Minute) * 3 }, 1000 * time.Second, 2},
		{"NTS, one after the other", 3, func(at time.Duration) time.Duration { return at.Truncate(20*time.Minute) * 3 / 4 }, 100 * time.Hour, 5},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := site(t, 44, 3, row.protected, nil)
			c := w.Clients[0]
			w.RunFor(time.Hour)
			for _, r := range w.References {
				r.Error = func(at time.Duration) time.Duration { return row.lie(max(at-time.Hour, 0)) }
			}
			first := len(c.Steps)
			w.RunFor(2 * time.Hour)
			var sum time.Duration
			for _, s := range c.Steps[first:] {
				sum += s.Abs()
			}
			if steps := len(c.Steps) - first; sum > row.max || row.protected == 0 && steps > row.steps || row.protected > 0 && steps < row.steps {
				t.Errorf("steps %v, sum %v", c.Steps[first:], sum)
			}
			if state := c.Report().State; (state == system.Refused) != (row.protected == 0) {
				t.Errorf("state %v", state)
			}
		})
	}
}

// TestUnset_NeverServed: a clock at 1970 is not served on whatever stratum, and the first consensus sets it. When somebody
// sets it so again, it is not served either, until he takes it back.
func TestUnset_NeverServed(t *testing.T) {
	start := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	build := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	params := func(p *system.Params) {
		p.LocalStratum, p.Pivot, p.Built, p.LastRight = 10, build, build, build.AddDate(0, 0, 2)
	}
	run := func(t *testing.T, offset time.Duration, down []Window) *World {
		s := Scenario{Seed: 45, Servers: 3, Agree: 3, Start: start, ClientOffset: offset, ClientFreq: 20e-6, Down: down, System: params}
		return s.Build()
	}
	epoch := time.Unix(0, 0).Sub(start)
	t.Run("until a consensus", func(t *testing.T) {
		w := run(t, epoch, []Window{{0, 10 * time.Minute}})
		c := w.Clients[0]
		for range 9 {
			w.RunFor(time.Minute)
			if r := c.Report(); c.published.Synchronized || c.published.Stratum != ntp.MaxStratum || !r.Unset || r.State != system.Unsynchronized {
				t.Fatalf("state %v, unset %v, serves %+v", r.State, r.Unset, *c.published)
			}
		}
		w.RunFor(31 * time.Minute)
		if r := c.Report(); r.Unset || r.State != system.Synchronized || c.Offset().Abs() > ms {
			t.Errorf("state %v, unset %v, offset %v", r.State, r.Unset, c.Offset())
		}
		if c.said("the clock is unset") != 1 {
			t.Errorf("%+v", c.Notices)
		}
		c.Jump(epoch)
		w.RunFor(time.Minute)
		if r := c.Report(); c.Refused != "" || r.State != system.Refused || !r.Unset || c.published.Synchronized {
			t.Errorf("set to 1970 by somebody: ended with %q, state %v, unset %v, serves %+v", c.Refused, r.State, r.Unset, *c.published)
		}
		c.Jump(-epoch)
		w.RunFor(time.Minute)
		if r := c.Report(); r.State != system.Synchronized || r.Unset || c.Offset().Abs() > ms {
			t.Errorf("and back: state %v, offset %v, refusal %q", r.State, c.Offset(), r.Refusal.Text)
		}
	})
	for name, row := range map[string]struct {
		offset time.Duration
		unset  bool
	}{
		"before the build":       {-4 * 24 * time.Hour, true},
		"before the saved time":  {-40 * time.Hour, true},
		"after the saved time":   {-6 * time.Hour, false},
		"as far as one can know": {1000 * time.Hour, false},
	} {
		t.Run("alone, "+name, func(t *testing.T) {
			w := run(t, row.offset, []Window{{0, 100 * time.Hour}})
			w.RunFor(10 * time.Minute)
			c := w.Clients[0]
			if r := c.Report(); r.Unset != row.unset || c.published.Synchronized == row.unset || (r.State == system.LocalClock) == row.unset {
				t.Errorf("unset %v, state %v, serves %+v", r.Unset, r.State, *c.published)
			}
		})
	}
	t.Run("sources that live before the build", func(t *testing.T) {
		w := Scenario{Seed: 46, Servers: 3, Agree: 3, Start: build.AddDate(-1, 0, 0), System: params}.Build()
		w.RunFor(10 * time.Minute)
		if c := w.Clients[0]; c.published.Synchronized || !c.Report().Unset || c.Refused != "" {
			t.Errorf("serves %+v", *c.published)
		}
	})
	t.Run("a saved time that was a lie", func(t *testing.T) {
		lied := func(p *system.Params) { params(p); p.LastRight = start.AddDate(0, 1, 0) }
		w := Scenario{Seed: 47, Servers: 3, Agree: 3, Start: start, System: lied}.Build()
		w.RunFor(10 * time.Minute)
		if c := w.Clients[0]; !c.published.Synchronized || c.Report().Unset {
			t.Errorf("serves %+v", *c.published)
		}
	})
}

// TestUnset_SetForward: a clock that was set to the last known time at the start is not served, on whatever stratum, until
// sources or an operator have set it; sources may take back what was guessed, but no more than by any other first step.
func TestUnset_SetForward(t *testing.T) {
	start := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	run := func(offset time.Duration, down []Window) (*World, *Client) {
		w := Scenario{Seed: 50, Servers: 3, Agree: 3, Start: start, ClientOffset: offset, Down: down, System: func(p *system.Params) {
			p.LocalStratum = 10
			p.Pivot = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
			p.Built, p.LastRight, p.Guessed, p.StartupSpent = p.Pivot, start.Add(offset), 30*day, true
		}}.Build()
		return w, w.Clients[0]
	}
	for name, row := range map[string]struct {
		offset time.Duration
		want   system.State
	}{
		"switched off for two days":        {-2 * day, system.Synchronized},
		"the saved time was a lie":         {20 * day, system.Synchronized},
		"more than what was guessed, back": {40 * day, system.Refused},
	} {
		w, c := run(row.offset, nil)
		w.RunFor(10 * time.Minute)
		if r := c.Report(); r.State != row.want || row.want == system.Synchronized && (c.Offset().Abs() > ms || r.Unset) {
			t.Errorf("%s: state %v, error %v, unset %v, %s", name, r.State, c.Offset(), r.Unset, r.Refusal.Text)
		}
	}
	w, c := run(-2*day, []Window{{0, 100 * time.Hour}})
	w.RunFor(time.Hour)
	if c.published.Synchronized || !c.Report().Unset {
		t.Errorf("alone: serves %+v", *c.published)
	}
	c.Jump(2 * day)
	w.RunFor(10 * time.Minute)
	if c.published.Stratum != 10 || c.Report().Unset {
		t.Errorf("set by an operator: serves %+v", *c.published)
	}
}

// TestHold_AllSourcesGone: without any source the bound that is served grows and stays true; where it becomes too large the
// local stratum is served if there is one, at once ten seconds after the last consensus, and nothing otherwise. All comes
// back by itself, without a step.
func TestHold_AllSourcesGone(t *testing.T) {
	for _, row := range []struct {
		name   string
		local  ntp.Stratum
		limit  time.Duration // maximum-root-distance; 0: the default
		states map[time.Duration]system.State
	}{
		{"no local stratum", 0, 0, map[time.Duration]system.State{
			time.Hour: system.HoldOver, 8 * time.Hour: system.HoldOver, 11*time.Hour + 50*time.Minute: system.HoldOver,
		}},
		{"a small limit", 0, 15 * ms, map[time.Duration]system.State{20 * time.Minute: system.HoldOver, 11 * time.Hour: system.Unsynchronized}},
		{"local stratum", 8, 0, map[time.Duration]system.State{time.Hour: system.LocalClock, 8 * time.Hour: system.LocalClock}},
	} {
		t.Run(row.name, func(t *testing.T) {
			const gone, back = 6 * time.Hour, 18 * time.Hour
			w := Scenario{
				Seed: 53, Servers: 3, Agree: 2, ClientOffset: 100 * ms, ClientFreq: 20e-6, Wander: 1e-8, Delay: 5 * ms, Jitter: ms,
				Polls: true, PollMin: 6, PollMax: 6, Down: []Window{{gone, back}},
				System: func(p *system.Params) { p.LocalStratum, p.HoldOver = row.local, row.limit },
			}.Build()
			c := w.Clients[0]
			w.RunFor(gone)
			steps, stratum := len(c.Steps), c.published.Stratum
			last := time.Duration(0)
			for w.Elapsed() < back {
				w.RunFor(10 * time.Minute)
				v := *c.published
				for at, want := range row.states {
					if is := c.Report().State; (w.Elapsed()-gone-at).Abs() < 5*time.Minute && is != want {
						t.Errorf("after %v: %v, want %v", at, is, want)
					}
				}
				if !v.Synchronized {
					continue
				}
				bound := v.RootDelay/2 + v.RootDispersion(c.clock.read(w.now))
				if row.local == 0 && (bound <= last || c.Offset().Abs() > bound || v.Stratum != stratum) {
					t.Fatalf("after %v: bound %v, then %v; error %v, stratum %d", w.Elapsed()-gone, last, bound, c.Offset(), v.Stratum)
				}
				last = bound
				if row.local > 0 && w.Elapsed() > gone+time.Hour && v.Stratum != row.local {
					t.Fatalf("after %v: stratum %d", w.Elapsed()-gone, v.Stratum)
				}
			}
			w.RunFor(5 * time.Minute)
			if r := c.Report(); r.State != system.Synchronized || c.published.Stratum != stratum || !c.published.Synchronized || len(c.Steps) > steps+1 {
				t.Errorf("five minutes after the return: %v, stratum %d, steps %v", r.State, c.published.Stratum, c.Steps[steps:])
			}
			w.RunFor(time.Hour)
			if c.Offset().Abs() > ms {
				t.Errorf("error %v an hour later", c.Offset())
			}
		})
	}
}

// TestUnset_AfterARestart: a clock that was never set is set although the start-up allowance of the boot is used; one that
// is only before the saved time may have been pulled there, and is not.
func TestUnset_AfterARestart(t *testing.T) {
	start := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for offset, want := range map[time.Duration]system.State{
		time.Unix(0, 0).Sub(start): system.Synchronized, -36 * time.Hour: system.Refused, -4 * 24 * time.Hour: system.Refused,
		-60 * 24 * time.Hour: system.Synchronized,
	} {
		w := Scenario{Seed: 49, Servers: 3, Agree: 3, Start: start, ClientOffset: offset, System: func(p *system.Params) {
			p.Pivot = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
			p.Built, p.LastRight, p.StartupSpent = p.Pivot, start.Add(-time.Hour), true
		}}.Build()
		w.RunFor(10 * time.Minute)
		if r := w.Clients[0].Report(); r.State != want || r.Spent.Sum != 0 {
			t.Errorf("%v: state %v, want %v; spent %v, %s", offset, r.State, want, r.Spent, r.Refusal.Text)
		}
	}
}

// TestUnset_NoWayRoundTheLimits: once sources have set the clock, pulling it below the saved time does not make the
// next step a first one.
func TestUnset_NoWayRoundTheLimits(t *testing.T) {
	w := site(t, 48, 3, 0, func(p *system.Params) {
		p.LastRight, p.StartupSpent = time.Date(2026, 3, 1, 12, 3, 0, 0, time.UTC), true
	})
	c := w.Clients[0]
	w.RunFor(4 * time.Minute)
	w.lie(3, -900*time.Second)
	w.RunFor(8 * time.Minute)
	w.lie(3, 30*24*time.Hour)
	w.RunFor(time.Hour)
	if c.Report().State != system.Refused || len(c.Steps) != 2 {
		t.Errorf("state %v, steps %v", c.Report().State, c.Steps)
	}
}
