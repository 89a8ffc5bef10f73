package sim

import (
	"fmt"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/timekeeper"
)

// TestChrony_101_Poll has every interval from 1/64 s to 16 384 s, a quiet clock and little jitter.
func TestChrony_101_Poll(t *testing.T) {
	for p := ntp.PollExp(-6); p <= 14; p++ {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			s := polls(chronyDefault(1), p)
			s.Wander, s.Jitter = -1, us
			w := s.Build()
			sync := p.Duration()*21/10 + 20*time.Second
			w.RunFor(max(10*p.Duration(), 40*time.Second))
			w.Require(t, chronyLimits(Limits{SyncBefore: sync, MaxOffset: 10 * us, RMSOffset: 5 * us, MaxFreq: 10e-6, RMSFreq: 5e-6}))
		})
	}
}

// withDrift starts the client with a frequency from its drift file, s/s, one sigma 1 ppm.
func withDrift(s Scenario, f float64) *World {
	old := s.System
	s.System = func(p *system.Params) {
		if old != nil {
			old(p)
		}
		p.Algorithm.KnownFrequencyUncertainty = 1e-6
	}
	w := s.Build()
	w.Clients[0].drift(f, s.params())
	return w
}

// TestChrony_102_Burst: with a drift file and a burst at the start, in sync within 6 s.
func TestChrony_102_Burst(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) {
		w := withDrift(chronyDefault(seed), -100e-6)
		w.RunFor(10000 * time.Second)
		w.Require(t, chronyLimits(Limits{SyncBefore: 6 * time.Second}))
	})
}

// TestChrony_103_InitialStep: what initstepslew does is done by the burst and the first step.
func TestChrony_103_InitialStep(t *testing.T) {
	for _, d := range []time.Duration{-2 * time.Second, -200 * ms, 200 * ms, 2 * time.Second, -100 * time.Second, 100 * time.Second, -1e8 * time.Second} {
		t.Run(d.String(), func(t *testing.T) {
			s := chronyDefault(1)
			s.ClientOffset, s.ClientFreq, s.Wander = d, 0, -1
			w := s.Build()
			w.RunFor(100 * time.Second)
			w.Require(t, chronyLimits(Limits{SyncBefore: 35 * time.Second, RMSOffset: ms}))
		})
	}
}

// TestChrony_104_DriftFile: no server; the frequency of the drift file is in force from the first second on.
func TestChrony_104_DriftFile(t *testing.T) {
	for _, f := range []float64{-450e-6, -5e-6, 5e-6, 450e-6} {
		t.Run(fmt.Sprint(f), func(t *testing.T) {
			w := New(1, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
			s := Scenario{}
			c := w.AddClient(Machine{Frequency: f, System: s.params()})
			c.drift(1/(1+f)-1, s.params())
			w.RunFor(10 * time.Second)
			if st := w.Stats(time.Second, ms); st.MaxFreq > 1e-9 {
				t.Errorf("runs %g wrong", st.MaxFreq)
			}
		})
	}
}

// drift puts a fresh timekeeper in charge that begins with a frequency, as a start with a drift file does.
func (c *Client) drift(f float64, p system.Params) {
	c.clock.set(0, f)
	c.clock.enter(ntp.LedgerEntry{Time: c.clock.Now(), Frequency: c.clock.freq})
	c.keeper = timekeeper.New(c.clock, c.clock.freq, p)
	c.handle(system.Tick{})
	for _, a := range c.assocs {
		c.handle(system.Added{ID: a.id, Name: a.server.addr.String(), Address: a.server.addr})
	}
}

// TestChrony_109_MakeStep: large and small offsets are gone in 150 s, none of them by a slew of hours.
func TestChrony_109_MakeStep(t *testing.T) {
	for _, d := range []time.Duration{-time.Second, -100 * ms, 100 * ms, time.Second, -100 * time.Second, 100 * time.Second, -1e8 * time.Second} {
		t.Run(d.String(), func(t *testing.T) {
			s := chronyDefault(1)
			s.ClientOffset, s.Jitter = d, 10*us
			w := s.Build()
			w.RunFor(200 * time.Second)
			w.Require(t, chronyLimits(Limits{SyncBefore: 150 * time.Second, MaxSteps: 2}))
		})
	}
}

// TestChrony_113_LeapSecond: right again within a second of midnight, with the kernel that inserts it and with one that was not
// told; and one of three servers announces a leap second that does not come.
func TestChrony_113_LeapSecond(t *testing.T) {
	leap := func(servers int) (*World, time.Duration) {
		s := chronyDefault(1)
		s.Servers, s.Agree, s.Start = servers, servers/2+1, time.Date(2008, 12, 31, 20, 0, 0, 0, time.UTC)
		return s.Build(), 4 * time.Hour
	}
	t.Run("announced", func(t *testing.T) {
		w, at := leap(1)
		w.leapAt(at, -time.Second)
		w.RunFor(8 * time.Hour)
		w.Require(t, chronyLimits(Limits{}))
	})
	t.Run("one of three is wrong", func(t *testing.T) {
		w, _ := leap(3)
		w.References[0].View.Leap = ntp.LeapInsert
		w.RunFor(8 * time.Hour)
		w.Require(t, chronyLimits(Limits{}))
		if l := w.Clients[0].published.Leap; l != ntp.LeapNone {
			t.Errorf("tells its own clients %v", l)
		}
	})
}

// TestChrony_116_MinimumSources: with fewer than three sources nothing is followed.
func TestChrony_116_MinimumSources(t *testing.T) {
	s := chronyDefault(1)
	s.Agree = 3
	w := s.Build()
	w.RunFor(10000 * time.Second)
	if c := w.Clients[0]; c.Sets+len(c.Steps) != 0 || c.published.Synchronized {
		t.Errorf("followed one source: steps %v", c.Steps)
	}
	s.Servers = 3
	chronyRun(t, s, Limits{})
}

// TestChrony_118_Drift: the oscillator drifts by 1e-10 per second, with the jitter of the test of maxdelay, which is not built:
// excess delay lowers a sample's weight instead.
func TestChrony_118_Drift(t *testing.T) {
	s := polls(chronyDefault(1), 6)
	s.Wander, s.Delay, s.Jitter = -1, 10*us, 10*us
	w := s.Build()
	w.drive(func(at time.Duration) float64 { return 100e-6 + 1e-10*at.Seconds() })
	w.RunFor(10000 * time.Second)
	w.Require(t, chronyLimits(Limits{SyncBefore: 2000 * time.Second, RMSOffset: 200 * us}))
}

// drive makes the first client's oscillator follow y, once per second.
func (w *World) drive(y func(at time.Duration) float64) {
	var tick func()
	tick = func() {
		o := w.Clients[0].osc
		o.read(w.now)
		o.y = y(w.Elapsed())
		w.After(w.Elapsed()+time.Second, tick)
	}
	w.After(0, tick)
}

// TestChrony_121_Local: a server that is away for the first 1000 s of every 2000 s. The local stratum serves meanwhile, and the
// server is followed again whenever it answers.
func TestChrony_121_Local(t *testing.T) {
	s := polls(chronyDefault(1), 6)
	s.ClientOffset, s.ClientFreq, s.Wander = 0, 0, -1
	s.Down = []Window{{0, 1000 * time.Second}, {2000 * time.Second, 3000 * time.Second}}
	s.System = func(p *system.Params) { p.LocalStratum = 10 }
	w := s.Build()
	for _, row := range []struct {
		at    time.Duration
		state system.State
	}{{500, system.LocalClock}, {1500, system.Synchronized}, {2990, system.LocalClock}, {3900, system.Synchronized}} {
		w.RunFor(row.at*time.Second - w.Elapsed())
		if v := w.Clients[0]; v.Report().State != row.state || !v.published.Synchronized {
			t.Errorf("after %d s: %v, want %v", row.at, v.Report().State, row.state)
		}
	}
}

// TestChrony_121_Orphan: three servers without a reference ask each other, and a client asks the last of them from 140 s on. All follow
// the one that leads, whose clock is right here, and the client is two strata below it.
func TestChrony_121_Orphan(t *testing.T) {
	w := New(1, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	s := chronyDefault(1)
	c := w.AddClient(Machine{Offset: s.ClientOffset, Frequency: s.ClientFreq, Wander: 1e-9, System: s.params()})
	s.System = func(p *system.Params) { p.LocalStratum, p.Orphan = 5, true }
	path := Path{Out: Link{Delay: 100 * us, Jitter: 100 * us}, Back: Link{Delay: 100 * us, Jitter: 100 * us}}
	var servers []*Client
	for i := range 3 {
		m := Machine{System: s.params()}
		if i > 0 {
			m.Frequency, m.Wander = 100e-6, 1e-9
		}
		servers = append(servers, w.AddClient(m))
	}
	for _, a := range servers {
		for _, b := range servers {
			if a != b {
				w.Connect(a, &b.node, path, s.source())
			}
		}
	}
	w.After(140*time.Second, func() { w.Connect(c, &servers[2].node, path, s.source()) })
	w.RunFor(10000 * time.Second)
	w.Require(t, chronyLimits(Limits{SyncBefore: 900 * time.Second, RMSOffset: 500 * us}))
	if v := c.Report().View; v.Stratum != 7 {
		t.Errorf("stratum %d", v.Stratum)
	}
}

// TestChrony_122_Interleaved: a client asks for interleaved answers, of servers that take time to send them.
func TestChrony_122_Interleaved(t *testing.T) {
	for seed := range uint64(3) {
		s := chronyDefault(seed)
		s.Interleaved, s.Sending, s.SendingSpread = source.InterleaveAlways, 500*us, 200*us
		w := chronyRun(t, s, Limits{})
		if st := w.Clients[0].assocs[0].src.Status(); !st.Interleaved || st.InterleavedReplies < uint64(w.Clients[0].assocs[0].Sent-5) {
			t.Errorf("seed %d: %+v of %d", seed, st, w.Clients[0].assocs[0].Sent)
		}
	}
}

// TestChrony_125_Loss: a third of all packets is lost.
func TestChrony_125_Loss(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) {
		s := chronyDefault(seed)
		s.Loss = 0.33
		chronyRun(t, s, Limits{SyncBefore: 1000 * time.Second})
	})
}

// TestChrony_126_FewPass: every fourth request passes.
func TestChrony_126_FewPass(t *testing.T) {
	w := chronyDefault(1).Build()
	w.sieve(4)
	w.RunFor(10000 * time.Second)
	w.Require(t, chronyLimits(Limits{SyncBefore: 730 * time.Second}))
}

// TestChrony_127_FastPoll: 16 s between samples, which chrony filters by fifteens and we do not.
func TestChrony_127_FastPoll(t *testing.T) {
	chronyRun(t, polls(chronyDefault(1), 4), Limits{SyncBefore: 720 * time.Second})
}

// TestChrony_131_MaximumChange: an offset beyond the limit ends the daemon where that is its setting.
func TestChrony_131_MaximumChange(t *testing.T) {
	s := chronyDefault(1)
	s.System = exits
	w := s.Build()
	w.After(2000*time.Second, func() { w.lie(1, 2000*time.Second) })
	w.RunFor(10000 * time.Second)
	if c := w.Clients[0]; c.Refused == "" || len(c.Steps) > 1 {
		t.Errorf("ended %q, steps %v", c.Refused, c.Steps)
	}
}

// TestChrony_133_FastClean: timestamps without noise, one per second, a path of 100 µs whose jitter is chrony's.
func TestChrony_133_FastClean(t *testing.T) {
	w := polls(chronyDefault(1), 0).Build()
	w.RunFor(200 * time.Second)
	w.Require(t, chronyLimits(Limits{SyncBefore: 20 * time.Second}))
}

// TestChrony_135_RateLimit: a server that answers once per 64 s and says RATE is asked less often, and the clock is right all the
// same.
func TestChrony_135_RateLimit(t *testing.T) {
	w := polls(chronyDefault(1), 3).Build()
	c := w.Clients[0]
	w.References[0].responder = server.NewResponder(server.Config{
		Limiter:  server.NewRateLimiter(server.RateLimit{Prefixes: 16, Interval: 64 * time.Second, Burst: 2}),
		KissRate: server.NewKissLimiter(16, [2]uint64{}), Rand: w.reader(),
	})
	w.RunFor(10000 * time.Second)
	w.Require(t, chronyLimits(Limits{}))
	asked, accepted := len(w.References[0].Served), c.assocs[0].Verdicts[source.Accepted]
	t.Logf("asked %d times, %d answers", asked, accepted)
	if asked > 1300 || accepted < 60 {
		t.Errorf("asked %d times, %d answers", asked, accepted)
	}
}

// TestChrony_138_Loop: a client that serves is given its own address among its sources, and a server that follows it.
func TestChrony_138_Loop(t *testing.T) {
	w := New(1, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	s := polls(Scenario{Delay: 100 * us, Jitter: 100 * us}, 6)
	c := w.AddClient(Machine{Offset: 100 * ms, Frequency: 100e-6, Wander: 1e-9, System: s.params()})
	a := w.AddReference(0)
	w.Connect(c, &a.node, s.path(), s.source())
	b := w.AddClient(Machine{Offset: 100 * ms, Frequency: -100e-6, Wander: 1e-9, System: s.params()})
	w.Connect(b, &c.node, s.path(), s.source())
	w.Connect(c, &c.node, s.path(), s.source())
	w.Connect(c, &b.node, s.path(), s.source())
	w.RunFor(10000 * time.Second)
	w.Require(t, chronyLimits(Limits{}))
	r := c.Report()
	for i, src := range r.Sources[1:] {
		if src.Role != system.RoleExcluded || r.View.Stratum != 2 {
			t.Errorf("source %d is %v, stratum %d", i+2, src.Role, r.View.Stratum)
		}
	}
}

// TestChrony_150_Unreachable: of two servers the better one goes away; the other, with half a second of delay each way, keeps the
// clock.
func TestChrony_150_Unreachable(t *testing.T) {
	w := New(1, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	s := polls(Scenario{}, 6)
	c := w.AddClient(Machine{Offset: 100 * ms, Frequency: 100e-6, Wander: 1e-9, System: s.params()})
	for i := range 2 {
		l := Link{Delay: 100 * us, Jitter: 100 * us}
		if i == 0 {
			l.Down = []Window{{2000 * time.Second, 100 * time.Hour}}
		} else {
			l.Delay += 500 * ms
		}
		w.Connect(c, &w.AddReference(0).node, Path{l, l}, s.source())
	}
	w.RunFor(10000 * time.Second)
	w.Require(t, chronyLimits(Limits{}))
	if r := c.Report(); r.State != system.Synchronized || r.Sources[1].Role != system.RolePeer && r.Sources[1].Role != system.RoleSelected {
		t.Errorf("%v, the second source is %v", r.State, r.Sources[1].Role)
	}
}
