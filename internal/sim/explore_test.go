package sim

import (
	"testing"
	"time"

	"ntp-daemon/internal/system"
)

func demo(seed uint64) Scenario {
	return Scenario{Seed: seed, ClientOffset: -250 * time.Millisecond, ClientFreq: 50e-6, Delay: 80 * time.Microsecond, Jitter: 30 * time.Microsecond,
		Polls: true, PollMin: 0, PollMax: 0}
}

func TestDemo(t *testing.T) {
	for seed := range uint64(20) {
		w := demo(seed + 1).Build()
		w.RunFor(60 * time.Second)
		w.Require(t, Limits{SyncBefore: 20 * time.Second, MaxOffset: 200 * time.Microsecond, MaxFreq: 3e-6, MaxSteps: 2})
		for s := 5; s <= 40; s += 5 {
			r := w.records[s-1]
			if seed < 2 {
				t.Logf("  %d s: %v %.3f ppm", s, r.Offset, r.Frequency*1e6)
			}
		}
	}
}

func TestKernel(t *testing.T) {
	for _, step := range []float64{0.01, 1} {
		for seed := range uint64(20) {
			s := Scenario{Seed: seed + 1, ClientOffset: 50 * time.Millisecond, ClientFreq: 20e-6, Delay: 40 * time.Microsecond, Jitter: 15 * time.Microsecond,
				Polls: true, System: func(p *system.Params) { p.Algorithm.StepThreshold = step }}
			w := s.Build()
			w.RunFor(600 * time.Second)
			w.Require(t, Limits{SyncBefore: 300 * time.Second, MaxOffset: 100 * time.Microsecond, MaxFreq: 0.5e-6, MaxSteps: 2})
		}
	}
}

func TestA(t *testing.T) {
	for _, c := range []struct {
		n string
		j time.Duration
		l Law
		w float64
		d time.Duration
	}{{"A1", 10 * time.Microsecond, Exponential, 1e-9, 100 * time.Microsecond}, {"A1n", 10 * time.Microsecond, Normal, 1e-9, 100 * time.Microsecond},
		{"A3", 100 * time.Microsecond, Exponential, 1e-9, 10 * time.Millisecond}, {"A3n", 100 * time.Microsecond, Normal, 1e-9, 10 * time.Millisecond},
		{"A4", time.Millisecond, Exponential, 1e-9, 25 * time.Millisecond},
		{"Bl10", 10 * time.Microsecond, Exponential, 1e-10, 100 * time.Microsecond},
		{"Bl8", 10 * time.Microsecond, Exponential, 1e-8, 100 * time.Microsecond},
		{"Bl7", 10 * time.Microsecond, Exponential, 1e-7, 100 * time.Microsecond},
		{"Bw10", 100 * time.Microsecond, Exponential, 1e-10, 10 * time.Millisecond}} {
		s := Scenario{Seed: 3, ClientOffset: 50 * time.Millisecond, ClientFreq: 20e-6, Delay: c.d, Jitter: c.j, Law: c.l, Wander: c.w,
			Polls: true, PollMin: 6, PollMax: 6}
		w := s.Build()
		w.RunFor(400000 * time.Second)
		st := w.Stats(100000*time.Second, time.Millisecond)
		t.Logf("%s rms %v max %v freq %.4f ppm unc %d wander %g", c.n, st.RMS, st.Max, st.RMSFreq*1e6, st.Uncovered, w.Clients[0].Report().RootVariance[3])
	}
}
