// One goroutine decides everything here: the race detector finds nothing in ten times the time (docs/testing.md).

//go:build !race

package sim

import "testing"

// TestAttacks: liars and delayed ways, of a minority and of all, move the clock by no more than what is served says, and those that are
// found out not at all.
func TestAttacks(t *testing.T) {
	f, err := Unlisted()
	if err != nil {
		t.Fatal(err)
	}
	for id, limit := range map[string]float64{ // µs, of the RMS offset
		"X1_delay_ramp": 2000, "X2_liars_2of4": 2600, "X3_liars_2of5": 16, "X4_delay_1of4": 16, "X5_delay_all": 40,
		"U11_3srv_mixed": 8, "U20_5srv_honest": 20, "U21_4srv_5ms_lan": 6,
	} {
		t.Run(id, func(t *testing.T) {
			cs, err := f.Matching(id)
			if err != nil || len(cs) != 1 {
				t.Fatal(len(cs), err)
			}
			r := mustRun(t, cs[0], "P6", 1, Options{})
			t.Logf("rms %.4g µs, max %.4g, root distance %.4g", r.RMS*1e6, r.Max*1e6, r.Bound*1e6)
			if r.RMS*1e6 > limit {
				t.Errorf("rms %.4g µs, limit %g", r.RMS*1e6, limit)
			}
			if r.Uncovered > 0 || r.Steps > 0 || r.Served < 50000 {
				t.Errorf("%d of %d seconds above the root distance, %d steps", r.Uncovered, r.Served, r.Steps)
			}
		})
	}
}
