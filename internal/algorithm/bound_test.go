package algorithm

import (
	"math"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// TestVouches_Equation13: what each contribution adds to the bound that is told.
func TestVouches_Equation13(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(tr *tracker, s *state, p *Params)
		want   time.Duration
	}{
		{"nothing", func(*tracker, *state, *Params) {}, 0},
		{"half the round trip", func(tr *tracker, _ *state, _ *Params) { tr.noise.floor = 20 * ms }, 10 * ms},
		{"half the root delay", func(tr *tracker, _ *state, _ *Params) { tr.last.RootDelay = 30 * ms }, 15 * ms},
		{"more than half, if configured", func(tr *tracker, _ *state, p *Params) { p.RangeDelayWeight, tr.noise.floor = 2, 20*ms }, 40 * ms},
		{"an eighth of what queues", func(tr *tracker, _ *state, _ *Params) { tr.noise.excess = 4 * ms }, 500 * us},
		{"the root dispersion", func(tr *tracker, _ *state, _ *Params) { tr.last.RootDispersion = 5 * ms }, 5 * ms},
		{"none if it is ignored", func(tr *tracker, _ *state, p *Params) {
			p.IgnoreServerDispersion, tr.last.RootDispersion = true, 5*ms
		}, 0},
		{"the precision", func(tr *tracker, _ *state, _ *Params) { tr.last.Precision = 16 * ms }, 16 * ms},
		{"three sigmas", func(_ *tracker, s *state, _ *Params) { s.pxx = 1e-6 }, 3 * ms},
		{"more, if configured", func(_ *tracker, s *state, p *Params) { p.RangeStatisticalWeight, s.pxx = 4, 1e-6 }, 4 * ms},
		{"the age", func(_ *tracker, s *state, _ *Params) { s.at = ntp.Local(1000 * sec) }, 20 * us},
	} {
		t.Run(row.name, func(t *testing.T) {
			tr, s, p := &tracker{}, &state{}, loose()
			row.change(tr, s, &p)
			tn := newTuning(p)
			if got := toDuration(tr.vouches(s, &tn)); (got - row.want).Abs() > 2 {
				t.Errorf("%v, want %v", got, row.want)
			}
		})
	}
}

// TestGrowth_Equation13: the straight line is above three sigma of what is known, all the way to its end and not far above there.
func TestGrowth_Equation13(t *testing.T) {
	for _, row := range []struct {
		name string
		e    Estimate
		h    time.Duration
		want float64 // s/s
	}{
		{"nothing unknown", Estimate{}, time.Minute, calmGrowth},
		{"frequency", Estimate{VarFreq: 1e-12}, time.Minute, 3e-6 + calmGrowth},
		{"an offset hides some of it", Estimate{VarOffset: 9e-12, VarFreq: 1e-14}, 40 * sec, 3*2e-6/40 + calmGrowth},
		{"wander", Estimate{Wander: 1e-8}, 300 * sec, 3*1e-8*math.Sqrt(300./3) + calmGrowth},
		{"what no correction takes out", Estimate{Beyond: 1e-4}, time.Minute, 1e-4 + calmGrowth},
		{"at once", Estimate{VarFreq: 1e-12}, 0, 3e-6 + calmGrowth},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := row.e.Growth(row.h)
			if math.Abs(got-row.want) > 1e-12 {
				t.Errorf("%g, want %g", got, row.want)
			}
			for share := range 101 {
				at := row.h.Seconds() * float64(share) / 100
				v := row.e.VarOffset + 2*at*row.e.Cov + at*at*row.e.VarFreq + row.e.Wander*row.e.Wander*at*at*at/3
				if curve := boundSigmas * (math.Sqrt(v) - math.Sqrt(row.e.VarOffset)); curve > got*at+1e-15 {
					t.Errorf("after %v s %g, the line says %g", at, curve, got*at)
				}
			}
		})
	}
}

// TestDrift_Equation15: without samples the bound grows faster than what is expected while they come.
func TestDrift_Equation15(t *testing.T) {
	e := Estimate{VarOffset: 1e-10, VarFreq: 1e-14, Wander: 1e-8, Beyond: 1e-5}
	want := 3*(1e-7+1e-8*math.Sqrt(3600./3)) + silentGrowth + 1e-5
	if got := e.Drift(time.Hour); math.Abs(got-want) > 1e-12 || got <= e.Growth(time.Hour) {
		t.Errorf("%g, want %g, more than %g", got, want, e.Growth(time.Hour))
	}
	if got := e.Drift(-time.Hour); math.Abs(got-(3e-7+silentGrowth+1e-5)) > 1e-12 {
		t.Errorf("in the past %g", got)
	}
}
