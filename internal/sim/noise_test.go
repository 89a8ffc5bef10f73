package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// jitter makes the clock of a reference noisy, one normal error for all that is read within a tenth of a second, and honest about it:
// its root dispersion is three sigma.
func (r *Reference) jitter(seed uint64, sigma func(at int64) time.Duration) {
	rng := rand.New(rand.NewPCG(1, seed))
	at, e := int64(-1), 0.
	r.read = func(now int64) ntp.Timestamp {
		if at < 0 || now-at > second/10 {
			at, e = now, rng.NormFloat64()
		}
		return r.w.at(now).Add(time.Duration(e * float64(sigma(now))))
	}
	r.view = func() *ntp.View {
		v := r.View
		v.Dispersion, v.Reference = 3*sigma(r.w.now), r.w.True().Add(-10*time.Second)
		return &v
	}
}

// TestServerNoise: the server's own clock jitters while the path is quiet, as GPS without a pulse or a busy virtual machine
// makes it. The client averages; it does not follow.
func TestServerNoise(t *testing.T) {
	for _, servers := range []int{1, 3} {
		for _, noise := range []time.Duration{100 * us, ms, 5 * ms, 30 * ms} {
			t.Run(fmt.Sprintf("%v of %d", noise, servers), func(t *testing.T) {
				w := Scenario{
					Seed: 5, Servers: servers, Agree: servers/2 + 1, ClientOffset: 300 * ms, ClientFreq: 20e-6, Delay: ms, Jitter: 50 * us,
					Polls: true, PollMin: 4, PollMax: 10,
				}.Build()
				for i, r := range w.References {
					r.View.Precision = -20
					r.jitter(uint64(i), func(int64) time.Duration { return noise })
				}
				w.RunFor(12 * time.Hour)
				w.Require(t, Limits{
					SyncBefore: 2 * time.Hour, SyncOffset: 100 * noise, RMSOffset: noise * 3 / 4, RMSFreq: 8e-6, MaxSteps: 2, Uncovered: -1,
				})
			})
		}
	}
}

// TestServerNoise_ComesAndGoes: a quiet server is noisy for three hours. Neither the change nor the noise makes the clock jump, and
// afterwards it is as good as before.
func TestServerNoise_ComesAndGoes(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) {
		w := Scenario{Seed: seed, ClientOffset: 300 * ms, ClientFreq: 20e-6, Delay: ms, Jitter: 50 * us, Polls: true, PollMin: 4, PollMax: 6}.Build()
		w.References[0].jitter(seed, func(at int64) time.Duration {
			if h := time.Duration(at).Hours(); h > 3 && h < 6 {
				return 5 * ms
			}
			return us
		})
		w.RunFor(6 * time.Hour)
		w.Require(t, Limits{SyncBefore: 3 * time.Hour, SyncOffset: 50 * ms, RMSOffset: 5 * ms, RMSFreq: 30e-6, MaxSteps: 2})
		w.RunFor(6 * time.Hour)
		if s := w.Stats(9*time.Hour, ms); s.RMS > 100*us || s.RMSFreq > 3e-6 {
			t.Errorf("three hours after the noise: rms %v, rate %g ppm", s.RMS, s.RMSFreq*1e6)
		}
	})
}
