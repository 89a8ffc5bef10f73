package algorithm

import (
	"math"
	"math/rand/v2"
	"testing"

	"ntp-daemon/internal/ntp"
)

// network is a path with an oscillator at its end, in which chrony was measured at poll 6 (docs/rules/clock.md#anchors).
type network struct {
	name   string
	base   float64                                   // one way, s
	ways   func(at float64, r *rand.Rand) [2]float64 // out and back, above the base, s
	wander float64
	loss   float64
	chrony float64 // rms, s
	limit  float64 // rms, s: what the present estimator reaches, and a little
}

func exponential(out, back float64) func(float64, *rand.Rand) [2]float64 {
	return func(_ float64, r *rand.Rand) [2]float64 {
		return [2]float64{out * r.ExpFloat64(), back * r.ExpFloat64()}
	}
}

func gaussian(j float64) func(float64, *rand.Rand) [2]float64 {
	return func(_ float64, r *rand.Rand) [2]float64 { return [2]float64{j * r.NormFloat64(), j * r.NormFloat64()} }
}

func rareTail(j, p, tail float64) func(float64, *rand.Rand) [2]float64 {
	way := func(r *rand.Rand) float64 {
		v := j * r.ExpFloat64()
		if r.Float64() < p {
			v += tail * r.ExpFloat64()
		}
		return v
	}
	return func(_ float64, r *rand.Rand) [2]float64 { return [2]float64{way(r), way(r)} }
}

func productTail(j float64) func(float64, *rand.Rand) [2]float64 {
	way := func(r *rand.Rand) float64 { return j * r.ExpFloat64() * r.ExpFloat64() * r.ExpFloat64() }
	return func(_ float64, r *rand.Rand) [2]float64 { return [2]float64{way(r), way(r)} }
}

func bursts(at float64, r *rand.Rand) [2]float64 {
	v := [2]float64{1e-4 * r.ExpFloat64(), 1e-4 * r.ExpFloat64()}
	if s := math.Mod(at, 3600); s > 1200 && s < 1800 {
		v[1] += 2e-2 * r.ExpFloat64()
	}
	return v
}

// networks are single sources at poll 6 in their steady state.
var networks = []network{
	{"LAN", 1e-4, exponential(1e-5, 1e-5), 1e-9, 0, 5.47e-6, 3.3e-6},
	{"LAN, normal jitter", 2e-4, gaussian(1e-5), 1e-9, 0, 7.17e-6, 5.1e-6},
	{"LAN, hardware stamps", 1e-5, exponential(1e-6, 1e-6), 1e-9, 0, 1.41e-6, 0.9e-6},
	{"WAN 10 ms", 1e-2, exponential(1e-4, 1e-4), 1e-9, 0, 22.8e-6, 15.5e-6},
	{"WAN 10 ms, normal jitter", 1e-2, gaussian(1e-4), 1e-9, 0, 33.9e-6, 29e-6},
	{"WAN 25 ms", 2.5e-2, exponential(1e-3, 1e-3), 1e-9, 0, 109e-6, 80e-6},
	{"WAN 50 ms", 5e-2, exponential(1e-2, 1e-2), 1e-9, 0, 1020e-6, 500e-6},
	{"asymmetric jitter", 2.5e-2, exponential(1e-4, 1.9e-3), 1e-9, 0, 65.2e-6, 64e-6},
	{"rare tail", 1e-2, rareTail(1e-4, 0.1, 1e-2), 1e-9, 0, 27.6e-6, 20e-6},
	{"product tail", 1e-2, productTail(1e-4), 1e-9, 0, 18.7e-6, 10e-6},
	{"bursts of congestion", 1e-2, bursts, 1e-9, 0, 30.6e-6, 27e-6},
	{"loss", 1e-2, exponential(1e-4, 1e-4), 1e-9, 0.51, 37.6e-6, 24e-6},
	{"LAN, quiet", 1e-4, exponential(1e-5, 1e-5), 1e-10, 0, 2.28e-6, 1.9e-6},
	{"LAN, wandering", 1e-4, exponential(1e-5, 1e-5), 1e-8, 0, 14.1e-6, 8e-6},
	{"LAN, wandering much", 1e-4, exponential(1e-5, 1e-5), 1e-7, 0, 110e-6, 31e-6},
	{"WAN, quiet", 1e-2, exponential(1e-4, 1e-4), 1e-10, 0, 10.9e-6, 8.5e-6},
	{"WAN, wandering", 1e-2, exponential(1e-4, 1e-4), 1e-8, 0, 55.5e-6, 34e-6},
	{"rare tail, quiet", 1e-2, rareTail(1e-4, 0.1, 1e-2), 1e-10, 0, 0, 10e-6},
	{"LAN, very quiet", 1e-4, exponential(1e-5, 1e-5), 1e-11, 0, 0.993e-6, 1.1e-6},
	{"WAN, very quiet", 1e-2, exponential(1e-4, 1e-4), 1e-11, 0, 9.73e-6, 6e-6},
	{"WAN, very quiet, normal jitter", 1e-2, gaussian(1e-4), 1e-11, 0, 0, 15e-6},
	{"WAN, quiet, normal jitter", 1e-2, gaussian(1e-4), 1e-10, 0, 0, 25e-6},
	{"WAN, between", 1e-2, exponential(1e-4, 1e-4), 1.8e-9, 0, 0, 40e-6},
	{"asymmetric jitter, mild", 1e-2, exponential(1e-5, 1.9e-4), 1e-9, 0, 0, 17e-6},
}

// run feeds one tracker for the given time and returns the rms of a clock that follows its estimate at once, and the share of samples
// before which the estimate was within one and within three sigma. The first quarter does not count.
func (n *network) run(seed uint64, duration float64) (rms, one, three float64) {
	const interval = 64 * 1.01
	rng := rand.New(rand.NewPCG(seed, 99))
	tn := newTuning(loose())
	var tr *tracker
	var x, y, sum float64
	var count, ones, threes int
	at := ntp.Local(0)
	for now := interval; now < duration; now += interval {
		z1, z2, a := rng.NormFloat64(), rng.NormFloat64(), n.wander*math.Sqrt(interval)
		x, y = x+interval*y+a*interval*(z1/2+z2/math.Sqrt(12)), y+a*z1
		at = at.Add(toDuration(interval))
		if rng.Float64() >= n.loss {
			w := n.ways(now, rng)
			m := ntp.Measurement{
				Source: 1, At: at, TrueGap: toDuration(x + (w[0]-w[1])/2), RTT: toDuration(2*n.base + w[0] + w[1]), Poll: 6, Stratum: 1, Precision: 1,
			}
			if tr == nil {
				tr = newTracker(&m, 0, &tn)
			}
			tr.absorb(&m, &tn)
		}
		if tr == nil || now < duration/4 {
			continue
		}
		s := tr.s.predict(at, tr.intensity)
		dx, dy := x-s.above(0), y-s.y
		sum += dx*dx + dx*dy*interval + dy*dy*interval*interval/3 + n.wander*n.wander*interval*interval*interval/12
		count++
		if sd := math.Sqrt(s.pxx); math.Abs(dx) < sd {
			ones, threes = ones+1, threes+1
		} else if math.Abs(dx) < 3*sd {
			threes++
		}
	}
	return math.Sqrt(sum / float64(count)), float64(ones) / float64(count), float64(threes) / float64(count)
}

// TestBank_Accuracy prints what one source is worth in each network, and holds the present figures.
func TestBank_Accuracy(t *testing.T) {
	for i := range networks {
		n := &networks[i]
		t.Run(n.name, func(t *testing.T) {
			t.Parallel()
			rms, one, three := n.run(1, 200000)
			t.Logf("%8.3g µs, chrony %8.3g: %.2f times; within 1σ %.1f %%, 3σ %.2f %%", rms*1e6, n.chrony*1e6, n.chrony/rms, one*100, three*100)
			if rms > n.limit {
				t.Errorf("rms %v, limit %v", toDuration(rms), toDuration(n.limit))
			}
		})
	}
}

// TestBank_Moments recomputes equation (6).
func TestBank_Moments(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	var b bank
	b.start(0, 1e-12, 1e-8)
	var total, x, y, q float64
	for i := range b.members {
		for j := range b.members[i] {
			b.members[i][j] = randomMember(rng)
			b.share[i][j] = rng.Float64()
			total += b.share[i][j]
		}
	}
	for i := range b.members {
		for j := range b.members[i] {
			b.share[i][j] /= total
			x += b.share[i][j] * b.members[i][j].x
			y += b.share[i][j] * b.members[i][j].y
			q += b.share[i][j] * math.Pow(10, -23+float64(i))
		}
	}
	var xx, xy, yy float64
	for i := range b.members {
		for j, m := range b.members[i] {
			xx += b.share[i][j] * (m.xx + (m.x-x)*(m.x-x))
			xy += b.share[i][j] * (m.xy + (m.x-x)*(m.y-y))
			yy += b.share[i][j] * (m.yy + (m.y-y)*(m.y-y))
		}
	}
	s, intensity := b.moments()
	for name, pair := range map[string][2]float64{
		"x": {s.x, x}, "y": {s.y, y}, "xx": {s.pxx, xx}, "xy": {s.pxy, xy}, "yy": {s.pyy, yy}, "intensity": {intensity, q},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-9*math.Abs(pair[1]) {
			t.Errorf("%s: %g, want %g", name, pair[0], pair[1])
		}
	}
}

// recomputed is what equation (5) makes of a bank and a sample, with probabilities that add up to anything: it returns the largest of
// their logarithms, and the sum of all relative to it.
func recomputed(was *bank, z float64, o *[laws]observation) (want bank, best, total float64) {
	want, best = *was, math.Inf(-1)
	for i := range was.members {
		var all float64
		for j := range was.lot[i] {
			all += math.Exp(was.lot[i][j])
		}
		all = math.Log(all)
		for j, m := range was.members[i] {
			e, g := m.expect(o[j].excess)
			d, s := z-e, g.v+o[j].noise
			want.lot[i][j] = 0.995*(was.lot[i][j]-all) + 0.999*all + max(-2.5*math.Log(1+1.25*d*d/s/4)-0.5*math.Log(s), -6)
			best = max(best, want.lot[i][j])
			m.update(&g, d, o[j].noise*max((4+d*d/s)/5, 1))
			want.members[i][j] = m
		}
	}
	for i := range want.lot {
		for j := range want.lot[i] {
			total += math.Exp(want.lot[i][j] - best)
		}
	}
	return want, best, total
}

// TestBank_Equation5 recomputes equation (5): what a sample does to the probability of each member and to the weight that it has.
func TestBank_Equation5(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 5))
	var b bank
	b.start(0, 1e-12, 1e-8)
	for i := range b.members {
		for j := range b.members[i] {
			b.members[i][j].seed(0, 1e-10)
		}
	}
	for sample := range 300 {
		b.predict(16)
		var o [laws]observation
		for j := range o {
			o[j].noise = math.Exp(rng.NormFloat64() - 23)
		}
		o[lawShare].excess = rng.ExpFloat64() * 1e-5
		z := rng.NormFloat64() * 1e-5
		if sample%20 == 0 {
			z *= 1e4
		}
		want, best, total := recomputed(&b, z, &o)
		b.update(z, &o, true)
		var sum float64
		for i := range b.lot {
			for j := range b.lot[i] {
				p := math.Exp(want.lot[i][j]-best) / total
				if lot := max(math.Log(p), math.Log(0.002/float64(wanders*int(laws)))); math.Abs(b.lot[i][j]-lot) > 1e-9 {
					t.Fatalf("sample %d, member %d/%d: %v, want %v", sample, i, j, b.lot[i][j], lot)
				}
				if m, w := b.members[i][j], want.members[i][j]; math.Abs(m.x-w.x) > 1e-9*math.Abs(w.x)+1e-18 || math.Abs(m.xx/w.xx-1) > 1e-9 {
					t.Fatalf("sample %d, member %d/%d: %+v, want %+v", sample, i, j, m, w)
				}
				sum += b.share[i][j]
			}
		}
		if math.Abs(sum-1) > 1e-12 {
			t.Fatalf("shares add up to %v", sum)
		}
	}
}
