// One goroutine decides everything here: the race detector finds nothing in ten times the time (docs/testing.md).

//go:build !race

package sim

import (
	"fmt"
	"slices"
	"testing"
)

// runs are those of one scenario with the seeds 1…n.
type runs []*Result

func runAll(t *testing.T, c *Case, policy string, n int) (all runs) {
	t.Helper()
	for seed := range uint64(n) {
		all = append(all, mustRun(t, c, policy, seed+1, Options{}))
	}
	return all
}

// of returns the median and the worst of a figure.
func (all runs) of(figure func(*Result) float64) (mid, worst float64) {
	var list []float64
	for _, r := range all {
		list = append(list, figure(r))
	}
	slices.Sort(list)
	return list[len(list)/2], list[len(list)-1]
}

// TestStart: 0.1 and 0.3 s off, 100 and 40 ppm off, on a LAN and on a WAN.
func TestStart(t *testing.T) {
	for _, id := range []string{"D1_conv_lan", "D1_conv_wan"} {
		for _, start := range []struct{ offset, freq float64 }{{0.1, 1e-4}, {0.3, -4e-5}, {-0.3, -4e-5}} {
			t.Run(fmt.Sprint(id, start), func(t *testing.T) {
				c := *listedCase(t, id)
				c.Duration = 4000
				c.Client.Offset = start.offset
				c.Client.Freq = fmt.Sprintf("(+ %g (sum (* 1e-09 (normal))))", start.freq)
				lan := id == "D1_conv_lan"
				limits := map[string][2]float64{"to 100 µs": {60, 180}, "to 20 µs": {400, 2500}, "overshoot": {200e-6, 600e-6}}
				if lan {
					limits = map[string][2]float64{"to 100 µs": {6, 6}, "to 20 µs": {30, 60}, "overshoot": {50e-6, 100e-6}}
				}
				all := runAll(t, &c, "default", 15)
				check := func(name string, l [2]float64, figure func(*Result) float64) {
					mid, worst := all.of(figure)
					t.Logf("%s: median %.6g, worst %.6g", name, mid, worst)
					if mid > l[0] || worst > l[1] {
						t.Errorf("%s: median %g and worst %g, limits %g and %g", name, mid, worst, l[0], l[1])
					}
				}
				check("to 1 ms", [2]float64{6, 6}, func(r *Result) float64 { return r.Last[0] })
				check("to 100 µs", limits["to 100 µs"], func(r *Result) float64 { return r.Last[1] })
				check("to 20 µs", limits["to 20 µs"], func(r *Result) float64 { return r.Settle[2] })
				check("overshoot", limits["overshoot"], func(r *Result) float64 { return r.Overshoot })
				check("packets in a minute", [2]float64{16, 16}, func(r *Result) float64 { return float64(r.Packets60) })
				check("seconds beyond the root distance", [2]float64{0, 0}, func(r *Result) float64 { return float64(r.Uncovered) })
			})
		}
	}
}

// TestRouteChange: the way becomes longer, in both directions or in one, for good or for half an hour. The time does not change with it.
func TestRouteChange(t *testing.T) {
	for _, id := range []string{"D5a_route_sym", "D5b_route_asym30m", "D5c_route_asym"} {
		t.Run(id, func(t *testing.T) {
			mid, worst := runAll(t, listedCase(t, id), "P6", 5).of(func(r *Result) float64 { return r.Peak })
			t.Logf("peak: median %g, worst %g", mid, worst)
			if mid > 100e-6 || worst > 200e-6 {
				t.Errorf("peak: median %g, worst %g", mid, worst)
			}
		})
	}
}

// TestRouteChange_Back: the daemon was started while the way was longer in one direction. On the shorter way the time is better.
func TestRouteChange_Back(t *testing.T) {
	c := *listedCase(t, "D5c_route_asym")
	c.Servers = slices.Clone(c.Servers)
	c.Servers[0].Back = "(+ 1e-2 (* 1e-4 (exponential)) (* 2e-2 (equal 0.1 (max time 100000) 100000)))"
	mid, _ := runAll(t, &c, "P6", 3).of(func(r *Result) float64 { return r.RMSLate })
	if mid > 100e-6 {
		t.Errorf("off by %g s an hour later", mid)
	}
}

// TestServerStep_Listed and a sudden change of the oscillator's frequency: how long until the clock is right again.
func TestServerStep_Listed(t *testing.T) {
	for _, row := range []struct {
		id         string
		peak, last float64 // medians
	}{
		{"D4_srvstep5ms_lan", 5.1e-3, 180}, {"D4_srvstep5ms_wan", 5.1e-3, 300},
		{"D3_freqstep_lan", 110e-6, 179}, {"D3_freqstep_wan", 257e-6, 352},
	} {
		t.Run(row.id, func(t *testing.T) {
			all := runAll(t, listedCase(t, row.id), "P6", 5)
			peak, worst := all.of(func(r *Result) float64 { return r.Peak })
			last, latest := all.of(func(r *Result) float64 { return r.Settle[1] })
			t.Logf("peak %g (%g), below 100 µs after %g (%g) s", peak, worst, last, latest)
			if peak > row.peak || last > row.last {
				t.Errorf("peak %g, limit %g; below 100 µs after %g s, limit %g", peak, row.peak, last, row.last)
			}
		})
	}
}

// TestDelayAttack: the way back becomes longer by a microsecond with each packet. The time follows as far as half of it, and what is told
// says so.
func TestDelayAttack(t *testing.T) {
	c := *listedCase(t, "A3_wan10")
	c.Servers = slices.Clone(c.Servers)
	c.Servers[0].Back = "(+ 1e-2 (* 1e-4 (exponential)) (min 2e-2 (sum 1e-6)))"
	c.Duration = 1600000
	r := mustRun(t, &c, "P6", 1, Options{})
	if r.Uncovered > 0 || r.Max > 10.3e-3 {
		t.Errorf("off by %g s at most, in %d of %d seconds by more than is told", r.Max, r.Uncovered, r.Served)
	}
}
