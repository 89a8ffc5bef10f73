package algorithm

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// TestNoise_Equation4 recomputes equation (4) of docs/algorithm.md from all round trips.
func TestNoise_Equation4(t *testing.T) {
	var d delayNoise
	p := newPath(1, ms, 100*us)
	var trips []float64
	for n := 1; n <= 700; n++ {
		rtt := p.at(0).RTT
		if n > 100 && n%50 < 5 {
			rtt += ms
		}
		d.add(ntp.Local(time.Duration(n)*sec), rtt)
		trips = append(trips, rtt.Seconds())
		recent := slices.Sorted(slices.Values(trips[max(0, n-512):]))
		k := len(recent)
		floor := recent[0]
		m, e := recent[k/2]-floor, rtt.Seconds()-floor
		s := 50e-9*50e-9 + 1e-6*1e-6/12 + 1e-4*1e-4
		blind, aware := s, s
		excess := e
		e += 0.75 * m / math.Sqrt(float64(k))
		if n < 8 {
			share := rtt.Seconds() / float64(n*n)
			aware += share*share/12 + m*m/4 + e*e/8
			blind = aware
		} else {
			q := max((recent[k*3/4]-recent[k/4])/1.349, (recent[k-1-k/8]-recent[k/8])/2.3007) / 2
			blind += q * q
			aware += 0.15*0.15*m*m*8/float64(k) + e*e/8
			if excess > max(6*m, 3.815e-6) {
				blind, excess = max(blind, aware), 0
			}
		}
		for j, o := range d.observe(rtt, us, 1e-4*1e-4) {
			want, multiplied := aware, 0.
			switch law(j) {
			case lawBlind:
				want = blind
			case lawShare:
				multiplied = excess
			}
			if math.Abs(o.noise/want-1) > 1e-9 || math.Abs(o.excess-multiplied) > 1e-15 {
				t.Fatalf("sample %d, law %d: %+v, want %g and %g", n, j, o, want, multiplied)
			}
		}
	}
}

// TestNoise_Coarse: stamps that come in steps are no better than a step, however often the least round trip is met.
func TestNoise_Coarse(t *testing.T) {
	var d delayNoise
	p := newPath(1, 100*us, 2*us)
	for i := range 600 {
		rtt := p.at(0).RTT.Truncate(15 * us)
		d.add(ntp.Local(i), rtt)
		if o := d.observe(rtt, 1, 0); i > 20 && o[lawAware].noise < 15e-6*15e-6/12 {
			t.Fatalf("sample %d: sigma %v s", i, math.Sqrt(o[lawAware].noise))
		}
	}
}

// TestNoise_NewRoute: after 512 samples or a day on a longer route its delay is the floor.
func TestNoise_NewRoute(t *testing.T) {
	for _, row := range []struct {
		every time.Duration
		n     int
	}{{sec, 512}, {17 * time.Minute, 85}, {24 * time.Hour, 33}} {
		var d delayNoise
		at := ntp.Local(0)
		for range 600 {
			at = at.Add(row.every)
			d.add(at, 10*ms)
		}
		for i := range row.n {
			if d.floor != 10*ms {
				t.Errorf("every %v: forgotten after %d", row.every, i)
				break
			}
			at = at.Add(row.every)
			d.add(at, 30*ms)
		}
		if d.floor != 30*ms || d.excess != 0 {
			t.Errorf("every %v: floor %v, excess %v", row.every, d.floor, d.excess)
		}
	}
}

// TestNoise_Property: the statistics are those of the samples that are remembered.
func TestNoise_Property(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var d delayNoise
	var all []trip
	at := ntp.Local(0)
	for range 5000 {
		at = at.Add(time.Duration(rng.Int64N(int64(10 * time.Minute))))
		v := time.Duration(1000 + rng.Int64N(50))
		all = append(all, trip{at, v})
		d.add(at, v)
		for len(all) > noiseDepth || len(all) > noiseKept+1 && at.Sub(all[0].at) > noiseAge {
			all = all[1:]
		}
		var live []time.Duration
		for _, r := range all {
			live = append(live, r.delay)
		}
		slices.Sort(live)
		if !slices.Equal(live, d.sorted[:d.live]) {
			t.Fatalf("%d remembered, want %d", d.live, len(live))
		}
		if n := len(live); d.floor != live[0] || d.excess != live[n/2]-live[0] || d.spread != live[n*3/4]-live[n/4] {
			t.Fatalf("floor %v, excess %v, spread %v", d.floor, d.excess, d.spread)
		}
	}
}

// TestNoise_Clamps: what stamps and strangers can make of a round trip.
func TestNoise_Clamps(t *testing.T) {
	for _, rtt := range []time.Duration{math.MinInt64, -1, 0, 1, math.MaxInt64} {
		var d delayNoise
		trip := roundTrip(&ntp.Measurement{RTT: rtt, Precision: rtt})
		d.add(0, trip)
		o := d.observe(trip, rtt, 0)
		if v := o[lawAware].noise; !(v > 0) || v > 1e4 || o[lawBlind].noise != v || d.floor < minRoundTrip || d.floor > maxRoundTrip {
			t.Errorf("round trip %d: %+v, floor %v", rtt, o, d.floor)
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
		tr.noise.add(0, 10*ms)
		if got := tr.bias(row.middle, row.ignore); math.Abs(got/row.want-1) > 1e-9 {
			t.Errorf("%s: %g, want %g", row.name, got, row.want)
		}
	}
}
