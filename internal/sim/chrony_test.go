package sim

import (
	"fmt"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
)

// The tests of this file are the behaviours that chrony's own simulation suite checks, by its numbers, in our world and with its
// limits (docs/testing.md#chronys-own-list). chrony starts without a burst and makes no step; we do both by default, and
// its earliest times of synchronisation are therefore no limits here.

// chronyDefault is the world of chrony's suite: 0.1 s and 100 ppm off, 100 µs one way and as much exponential jitter, w = 1e-9.
func chronyDefault(seed uint64) Scenario {
	return Scenario{Seed: seed, ClientOffset: 100 * ms, ClientFreq: 100e-6}
}

// chronyLimits fills in the limits of chrony's suite where none are given.
func chronyLimits(l Limits) Limits {
	if l.SyncBefore == 0 {
		l.SyncBefore = 210 * time.Second
	}
	if l.MaxOffset == 0 {
		l.MaxOffset = ms
	}
	if l.SyncOffset == 0 {
		l.SyncOffset = l.MaxOffset
	}
	if l.RMSOffset == 0 {
		l.RMSOffset = 300 * us
	}
	if l.MaxFreq == 0 {
		l.MaxFreq = 500e-6
	}
	if l.RMSFreq == 0 {
		l.RMSFreq = 10e-6
	}
	return l
}

// chronyRun runs a scenario for as long as chrony's suite does, 10 000 s, and holds it to the limits.
func chronyRun(t *testing.T, s Scenario, l Limits) *World {
	t.Helper()
	w := s.Build()
	w.RunFor(10000 * time.Second)
	w.Require(t, chronyLimits(l))
	w.requireIntervals(t)
	return w
}

// requireIntervals: requests to one server are never closer than chrony allows itself.
func (w *World) requireIntervals(t *testing.T) {
	t.Helper()
	for i, r := range w.References {
		for k := 1; k < len(r.Served); k++ {
			if d := r.Served[k] - r.Served[k-1]; d < 1800*ms {
				t.Errorf("server %d was asked again after %v", i+1, d)
				break
			}
		}
	}
}

// sieve loses all replies of the first reference but every nth.
func (w *World) sieve(n int) {
	r, back := w.References[0], w.Clients[0].assocs[0].back
	view, count := r.view, 0
	r.view = func() *ntp.View {
		count++
		back.Loss = 1
		if count%n == 1 {
			back.Loss = 0
		}
		return view()
	}
}

func TestChrony_001_Default(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) { chronyRun(t, chronyDefault(seed), Limits{}) })
}

// TestChrony_002_LargeNetwork: three strata of four servers each, and five clients that come after 2000 s.
func TestChrony_002_LargeNetwork(t *testing.T) {
	const start = 2000 * time.Second
	s := chronyDefault(0)
	w := New(1, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	var clients []*Client
	for i := range 5 {
		clients = append(clients, w.AddClient(Machine{Offset: 100 * ms, Frequency: 100e-6 - float64(i)*20e-6, Wander: 1e-9, System: s.params()}))
	}
	above := make([]*node, 0, 4)
	for range 4 {
		above = append(above, &w.AddReference(0).node)
	}
	def := Scenario{Delay: 100 * us, Jitter: 100 * us}
	for range 2 {
		var level []*node
		for i := range 4 {
			c := w.AddClient(Machine{Frequency: float64(i) * 10e-6, Wander: 1e-9, System: s.params()})
			for _, n := range above {
				w.Connect(c, n, def.path(), def.source())
			}
			level = append(level, &c.node)
		}
		above = level
	}
	w.After(start, func() {
		for _, c := range clients {
			for _, n := range above {
				w.Connect(c, n, def.path(), def.source())
			}
		}
	})
	w.RunFor(10000 * time.Second)
	w.Require(t, chronyLimits(Limits{SyncBefore: start + 300*time.Second, RMSOffset: 500 * us}))
	for i, c := range clients {
		if c.Offset().Abs() > ms || c.published.Stratum != 4 {
			t.Errorf("client %d: %v off at stratum %d", i+1, c.Offset(), c.published.Stratum)
		}
	}
}

// TestChrony_003_LargeFrequency: as far as the kernel's frequency reaches; ±0.5 and ±5 % are for those who change its tick, see
// TestSync_FrequencyBeyondTheKernel.
func TestChrony_003_LargeFrequency(t *testing.T) {
	for _, f := range []float64{-450e-6, 450e-6} {
		t.Run(fmt.Sprint(f), func(t *testing.T) {
			s := chronyDefault(1)
			s.ClientFreq, s.ClientOffset = f, time.Duration(-f*130e9)
			chronyRun(t, s, Limits{SyncBefore: 1000 * time.Second})
		})
	}
}

func TestChrony_004_LargeOffset(t *testing.T) {
	for _, d := range []time.Duration{-100 * time.Second, 100 * time.Second} {
		t.Run(d.String(), func(t *testing.T) {
			s := chronyDefault(1)
			s.ClientOffset = d
			chronyRun(t, s, Limits{})
		})
	}
}

// TestChrony_005_ExternalStep: somebody steps the clock, once and every 500 s.
func TestChrony_005_ExternalStep(t *testing.T) {
	for _, d := range []time.Duration{-100 * time.Second, 100 * time.Second} {
		t.Run(d.String(), func(t *testing.T) {
			w := chronyDefault(1).Build()
			w.After(150*time.Second, func() { w.Clients[0].Jump(d) })
			w.RunFor(10000 * time.Second)
			w.Require(t, chronyLimits(Limits{}))
		})
	}
	t.Run("every 500 s", func(t *testing.T) {
		w := chronyDefault(1).Build()
		for at := 500 * time.Second; at < 10000*time.Second; at += 500 * time.Second {
			w.After(at, func() { w.Clients[0].Jump(100 * ms) })
		}
		w.RunFor(10000 * time.Second)
		late := 0
		for i, r := range w.records[210:] {
			if (i+211)%500 > 30 && r.Offset.Abs() > ms {
				late++
			}
		}
		if late > 0 {
			t.Errorf("%d seconds above 1 ms, 30 s after a step or later", late)
		}
	})
}

func TestChrony_006_LargeJitter(t *testing.T) {
	s := chronyDefault(1)
	s.ClientOffset, s.Jitter = time.Second, 100*ms
	chronyRun(t, s, Limits{MaxOffset: 500 * ms, RMSOffset: 100 * ms, MaxFreq: 0.2, RMSFreq: 5e-3})
}

func TestChrony_007_LargeWander(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) {
		s := chronyDefault(seed)
		s.Wander = 1e-7
		chronyRun(t, s, Limits{MaxOffset: 5 * ms, RMSOffset: ms, MaxFreq: 5e-3, RMSFreq: 1e-4})
	})
}

// TestChrony_008_Era starts 500 s before the NTP era's end, and at both ends of the time that 64 bits of ours count.
func TestChrony_008_Era(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(2036, 2, 7, 6, 19, 56, 0, time.UTC), time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2106, 2, 7, 3, 0, 0, 0, time.UTC),
	} {
		for _, d := range []time.Duration{-100 * ms, 100 * ms} {
			t.Run(fmt.Sprint(at.Year(), d), func(t *testing.T) {
				s := chronyDefault(1)
				s.Start, s.ClientOffset = at, d
				chronyRun(t, s, Limits{})
			})
		}
	}
}

// TestChrony_009_Selection: falsetickers are off by 1, 2, 3 and 4 s; less than half of them are found out, more are not followed,
// and neither is a path that is 1 s longer one way.
func TestChrony_009_Selection(t *testing.T) {
	for liars := 1; liars <= 4; liars++ {
		t.Run(fmt.Sprint(liars, " of 5"), func(t *testing.T) {
			s := chronyDefault(1)
			s.Servers, s.Liars, s.LiarOffset, s.LiarsApart, s.Delay, s.Agree = 5, liars, time.Second, true, ms, 3
			if liars <= 2 {
				chronyRun(t, s, Limits{})
				return
			}
			w := s.Build()
			w.RunFor(10000 * time.Second)
			c := w.Clients[0]
			if c.Report().State == system.Synchronized || len(c.Steps) != 0 {
				t.Errorf("followed: state %v, steps %v", c.Report().State, c.Steps)
			}
			requireOneLine(t, c, "No consensus on current time")
		})
	}
	t.Run("asymmetric delay", func(t *testing.T) {
		s := chronyDefault(1)
		w := New(1, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
		c := w.AddClient(Machine{Offset: 100 * ms, Frequency: 100e-6, Wander: 1e-9, System: s.params()})
		for i := range 3 {
			p := Path{Out: Link{Delay: ms, Jitter: 100 * us}, Back: Link{Delay: ms, Jitter: 100 * us}}
			if i > 0 {
				p.Out.Delay += time.Second
			}
			w.Connect(c, &w.AddReference(0).node, p, s.source())
		}
		w.RunFor(10000 * time.Second)
		w.Require(t, chronyLimits(Limits{}))
	})
}

// TestChrony_011_AsymmetricJitter: all of the jitter, five times as much as usual, is on the way out.
func TestChrony_011_AsymmetricJitter(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) {
		s := chronyDefault(seed)
		s.Jitter, s.OneWay = 500*us, true
		chronyRun(t, s, Limits{})
	})
}

// TestChrony_014_Intermittent: packets pass for 1200 s of every 10 000 s; then every twentieth request does.
func TestChrony_014_Intermittent(t *testing.T) {
	var down []Window
	for i := range 10 {
		down = append(down, Window{time.Duration(i)*10000*time.Second + 1200*time.Second, time.Duration(i+1) * 10000 * time.Second})
	}
	s := chronyDefault(1)
	s.Down = down
	w := s.Build()
	w.RunFor(100000 * time.Second)
	w.Require(t, chronyLimits(Limits{MaxOffset: 100 * ms, RMSOffset: 2 * ms, MaxFreq: 1e-2, RMSFreq: 20e-6}))
	t.Run("every 20th", func(t *testing.T) {
		w := chronyDefault(1).Build()
		w.sieve(20)
		w.RunFor(100000 * time.Second)
		w.Require(t, chronyLimits(Limits{SyncBefore: 22000 * time.Second, MaxOffset: 10 * ms, RMSOffset: 5 * ms, MaxFreq: 1e-4}))
	})
}
