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

// TestNoise_Clamps: what stamps and strangers can make of a round trip.
func TestNoise_Clamps(t *testing.T) {
	for _, rtt := range []time.Duration{math.MinInt64, -1, 0, 1, math.MaxInt64} {
		var d delayNoise
		trip := roundTrip(&ntp.Measurement{RTT: rtt, Precision: rtt})
		d.add(trip)
		v := d.variance(trip, rtt)
		if !(v > 0) || v > 1e4 || d.floor < minRoundTrip || d.floor > maxRoundTrip {
			t.Errorf("round trip %d: variance %g, floor %v", rtt, v, d.floor)
		}
	}
}

// TestRoundTrip: a claim of the server cannot make the way to it shorter than a busy server explains.
func TestRoundTrip(t *testing.T) {
	at := ntp.FromTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	for _, row := range []struct{ away, held, precision, want time.Duration }{
		{20 * ms, 0, 1, 20 * ms},
		{20 * ms, 50 * us, 1, 20*ms - 50*us},
		{20 * ms, ms, 1, 19 * ms},
		{20 * ms, 19 * ms, 1, 19 * ms},
		{20 * ms, 20 * ms, 1, 19 * ms},
		{3 * sec, 2990 * ms, 1, 3*sec - ms},
		{300 * us, 300 * us, 1, minRoundTrip},
		{300 * us, 250 * us, 4 * ms, 4 * ms},
		{300 * us, 250 * us, time.Hour, sec},
	} {
		m := ntp.Measurement{RTT: row.away - row.held, Precision: row.precision, T2: ntp.Stamp{Time: at}, T3: ntp.Stamp{Time: at.Add(row.held)}}
		if got := roundTrip(&m); got != row.want {
			t.Errorf("away %v, held %v, precise to %v: %v, want %v", row.away, row.held, row.precision, got, row.want)
		}
	}
}

// TestBias_Equation9 recomputes equation (9).
func TestBias_Equation9(t *testing.T) {
	for _, row := range []struct {
		name   string
		claim  claims
		middle claims
		ignore bool
		want   float64
	}{
		{"as claimed", claims{20 * ms, 3 * ms}, claims{}, false, 0.0006*0.0006 + 0.001*0.001},
		{"ignored", claims{20 * ms, 3 * ms}, claims{}, true, 0.0006 * 0.0006},
		{"worse than the others", claims{20 * ms, 3 * ms}, claims{10 * ms, ms}, false, 0.0006*0.0006 + 0.001*0.001},
		{"better than the others", claims{}, claims{8 * ms, 3 * ms}, false, 0.00036*0.00036 + 0.001*0.001},
		{"better, and nearer", claims{}, claims{80 * ms, 30 * ms}, false, 0.0004*0.0004 + 0.01*0.01/9},
	} {
		tr := &tracker{last: ntp.Measurement{RootDelay: row.claim.delay, RootDispersion: row.claim.dispersion}}
		tr.noise.add(10 * ms)
		if got := tr.bias(row.middle, row.ignore); math.Abs(got/row.want-1) > 1e-9 {
			t.Errorf("%s: %g, want %g", row.name, got, row.want)
		}
	}
}
