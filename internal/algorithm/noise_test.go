package algorithm

import (
	"math"
	"slices"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// TestNoise_Equation4 recomputes equation (4) of docs/algorithm.md.
func TestNoise_Equation4(t *testing.T) {
	var d delayNoise
	p := newPath(1, ms, 100*us)
	var trips []float64
	for n := 1; n <= 200; n++ {
		rtt := p.at(0).RTT
		d.add(rtt)
		trips = append(trips, rtt.Seconds())
		recent := slices.Sorted(slices.Values(trips[max(0, n-noiseDepth):]))
		floor := recent[0]
		m, e, trip := recent[len(recent)/2]-floor, rtt.Seconds()-floor, rtt.Seconds()
		want := 0.3e-6*0.3e-6 + m*m/16 + e*e/8 + 1e-6*1e-6/12 + trip*trip/12/float64(n*n)
		if got := d.variance(rtt, us); math.Abs(got/want-1) > 1e-9 {
			t.Fatalf("sample %d: %g, want %g", n, got, want)
		}
	}
}

// TestNoise_NewRoute: after 64 samples on a longer route its delay is the floor.
func TestNoise_NewRoute(t *testing.T) {
	var d delayNoise
	for range 100 {
		d.add(10 * ms)
	}
	for range noiseDepth {
		d.add(30 * ms)
	}
	if d.floor != 30*ms || d.excess != 0 {
		t.Errorf("floor %v, excess %v", d.floor, d.excess)
	}
}

// TestNoise_Clamps what stamps and strangers can make of a round trip.
func TestNoise_Clamps(t *testing.T) {
	for _, rtt := range []time.Duration{math.MinInt64, -1, 0, 1, math.MaxInt64} {
		var d delayNoise
		d.add(rtt)
		v := d.variance(rtt, rtt)
		if !(v > 0) || v > 1e4 || d.floor < minRoundTrip || d.floor > maxRoundTrip {
			t.Errorf("round trip %d: variance %g, floor %v", rtt, v, d.floor)
		}
	}
}

// TestPathBias_Equation9 recomputes equation (9).
func TestPathBias_Equation9(t *testing.T) {
	var d delayNoise
	d.add(10 * ms)
	m := ntp.Measurement{RootDelay: 20 * ms, RootDispersion: 3 * ms}
	if got, want := d.pathBias(&m, false), 0.0006*0.0006+0.001*0.001; math.Abs(got/want-1) > 1e-9 {
		t.Errorf("%g, want %g", got, want)
	}
	if got, want := d.pathBias(&m, true), 0.0006*0.0006; math.Abs(got/want-1) > 1e-9 {
		t.Errorf("without dispersion %g, want %g", got, want)
	}
}
