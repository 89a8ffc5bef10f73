package sim

import (
	"fmt"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
)

// TestLargeClaims: a domain controller claims a root dispersion of 10 s. Whether it is followed depends on the limits; in every
// case the state is what clients are told, and a source that is left out is named with the key that stands in the way.
func TestLargeClaims(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*system.Params)
		state  system.State
		words  string // in the log
	}{
		{"by default", func(*system.Params) {}, system.Unsynchronized, "maximum-source-uncertainty 1s"},
		{"dispersion ignored", func(p *system.Params) { p.Algorithm.IgnoreServerDispersion = true }, system.Synchronized, "synchronised: 1 of 1"},
		{"any source taken", func(p *system.Params) { p.Algorithm.MaximumSourceUncertainty = 12 }, system.Synchronized, "synchronised: 1 of 1"},
		{"any source taken, and not passed on", func(p *system.Params) {
			p.Algorithm.MaximumSourceUncertainty, p.HoldOver = 12, 3*time.Second
		}, system.Unsynchronized, "maximum-root-distance is 3s"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := polls(Scenario{Seed: 4, ClientOffset: 3 * time.Second, ClientFreq: 20e-6, Delay: ms, System: row.change}, 4).Build()
			w.References[0].View.Dispersion = 10 * time.Second
			w.RunFor(time.Hour)
			c := w.Clients[0]
			r := c.Report()
			if r.State != row.state || r.View.Synchronized != (row.state == system.Synchronized) {
				t.Errorf("state %q, clients are told synchronised=%v, stratum %d", r.State, r.View.Synchronized, r.View.Stratum)
			}
			if c.said(row.words) != 1 {
				t.Errorf("%q is said %d times: %v", row.words, c.said(row.words), c.Notices)
			}
			if excluded := r.Sources[0].Role == system.RoleExcluded; excluded != (r.Sources[0].Reason != "") {
				t.Errorf("role %v, reason %q", r.Sources[0].Role, r.Sources[0].Reason)
			}
			if told := (r.State != system.Synchronized && r.Following); told != (r.Unserved != "") {
				t.Errorf("following %v, state %q, said to be so because %q", r.Following, r.State, r.Unserved)
			}
		})
	}
}

// TestSlowLink: over round trips above a second the client either follows or says which key stands in the way.
func TestSlowLink(t *testing.T) {
	for _, row := range []struct {
		delay time.Duration // each way
		state system.State
	}{{300 * ms, system.Synchronized}, {800 * ms, system.Synchronized}, {1100 * ms, system.Unsynchronized}, {2 * time.Second, system.Unsynchronized}} {
		t.Run(row.delay.String(), func(t *testing.T) {
			w := polls(Scenario{Seed: 5, ClientOffset: 3 * time.Second, ClientFreq: 20e-6, Delay: row.delay, Jitter: 10 * ms}, 4).Build()
			w.RunFor(time.Hour)
			c := w.Clients[0]
			if r := c.Report(); r.State != row.state || r.View.Synchronized != (row.state == system.Synchronized) {
				t.Errorf("state %q, told %+v", r.State, r.View)
			}
			if row.state != system.Synchronized && c.said("above maximum-source-uncertainty 1s") != 1 {
				t.Errorf("the key is not named: %v", c.Notices)
			}
			w.Require(t, Limits{Uncovered: -1})
		})
	}
}

// TestAsymmetricPath: all of the way is in one direction, and the bound that is told holds all the same.
func TestAsymmetricPath(t *testing.T) {
	for _, servers := range []int{1, 3} {
		w := polls(Scenario{Seed: 6, Servers: servers, Agree: servers, ClientOffset: 100 * ms, Delay: us, Jitter: us, Asymmetry: 200 * ms}, 4).Build()
		w.RunFor(2 * time.Hour)
		w.Require(t, Limits{Uncovered: -1})
		if s := w.Stats(time.Hour, ms); s.Max < 99*ms || w.Clients[0].Report().State != system.Synchronized {
			t.Errorf("off by %v, state %v", s.Max, w.Clients[0].Report().State)
		}
	}
}

// TestOscillatorBeyondReach: the clock cannot be made to run right. Steps keep it near, what is told stays true, and one line names
// the oscillator and the limit.
func TestOscillatorBeyondReach(t *testing.T) {
	for _, y := range []float64{600e-6, 1274e-6, -1274e-6, 1944e-6} {
		for _, delay := range []time.Duration{10 * us, 5 * ms} {
			t.Run(fmt.Sprintf("%g ppm, %v", y*1e6, delay), func(t *testing.T) {
				w := Scenario{
					Seed: 1, Servers: 3, Agree: 3, ClientOffset: 100 * ms, ClientFreq: y, Delay: delay, Jitter: delay / 5,
					Polls: true, PollMin: 4, PollMax: 10,
				}.Build()
				w.RunFor(12 * time.Hour)
				s, c := w.Stats(time.Hour, ms), w.Clients[0]
				t.Logf("%d steps, largest error %v, %d seconds outside the told bound", len(c.Steps), s.Max, s.Uncovered)
				if s.Uncovered > 0 || s.Max > 50*ms {
					t.Errorf("the bound is untrue in %d seconds, largest error %v", s.Uncovered, s.Max)
				}
				if n := c.said("maximum-frequency-steer is 495 ppm"); n != 1 {
					t.Errorf("the limit is named %d times", n)
				}
			})
		}
	}
	w := polls(Scenario{Seed: 1, ClientFreq: 450e-6}, 4).Build()
	w.RunFor(2 * time.Hour)
	if w.Clients[0].said("out of reach") != 0 {
		t.Error("450 ppm are within reach")
	}
}

// TestC25_OneClaimsTheBest: one of seven servers is 3 ms off, claims to be perfect, and says that it had each request for nearly
// all of the time that it was away, or for longer.
func TestC25_OneClaimsTheBest(t *testing.T) {
	for _, hold := range []time.Duration{0, 19 * ms, 3 * time.Second} {
		t.Run(hold.String(), func(t *testing.T) {
			w := polls(Scenario{Seed: 8, Servers: 7, Agree: 4, ClientOffset: 100 * ms, ClientFreq: 20e-6, Delay: 10 * ms}, 4).Build()
			for i, r := range w.References {
				r.View.RootDelay, r.View.Dispersion, r.View.Stratum = 20*ms, 5*ms, 2
				if i == 0 {
					r.View.RootDelay, r.View.Dispersion, r.View.Stratum = 0, 0, 1
					r.view = func() *ntp.View { return &r.View }
					shift := hold / 2
					r.read = func(now int64) ntp.Timestamp { // asked for the receive and the transmit time in turn
						shift = -shift
						return w.at(now).Add(3*ms + shift)
					}
				}
			}
			w.RunFor(2 * time.Hour)
			c := w.Clients[0]
			s := w.Stats(10*time.Minute, ms)
			t.Logf("largest error %v, told %v, stratum %d", s.Max, w.records[len(w.records)-1].Bound, c.published.Stratum)
			if s.Max > 3*ms/7+200*us || s.Uncovered > 0 || c.published.Stratum != 3 {
				t.Errorf("largest error %v, %d seconds uncovered, stratum %d", s.Max, s.Uncovered, c.published.Stratum)
			}
		})
	}
}
