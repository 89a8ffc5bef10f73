package algorithm

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// says makes a selected source whose offset is known to sigma, over a path of the given round trip.
func says(id ntp.SourceID, offset, sigma, trip time.Duration) candidate {
	tr := &tracker{id: id}
	tr.noise.floor = trip
	v := sigma.Seconds() * sigma.Seconds()
	return candidate{t: tr, s: state{origin: offset, pxx: v, pyy: 1e-18}, verdict: Selected}
}

// joined is where the sources together see true time, and how well.
func joined(cs []candidate) (offset, sigma time.Duration) {
	d := New(loose())
	d.weigh(cs)
	d.setAside(cs, len(cs)/2+1)
	s, _ := d.fuse(cs)
	return toDuration(s.above(0)), toDuration(math.Sqrt(s.pxx))
}

// TestFuse_Equation10: whose offsets count, and how much.
func TestFuse_Equation10(t *testing.T) {
	for _, row := range []struct {
		name      string
		cs        []candidate
		want, off time.Duration // and by how much it may differ
	}{
		{"one", []candidate{says(1, ms, us, ms)}, ms, 1},
		{"two alike", []candidate{says(1, 0, us, 20*ms), says(2, 100*us, us, 20*ms)}, 50 * us, 1},
		{"two that differ by much", []candidate{says(1, 0, us, 20*ms), says(2, 20*ms, us, 20*ms)}, 10 * ms, 1},
		{"the nearer of two", []candidate{says(1, 0, us, 10*ms), says(2, 100*us, us, 20*ms)}, 10 * us, 10 * us},
		{"noise counts too", []candidate{says(1, 0, 10*us, 100*us), says(2, 100*us, 20*us, 100*us)}, 15 * us, 6 * us},
		{"one that is wrong, of three", []candidate{says(1, 0, us, 20*ms), says(2, 5*ms, us, 20*ms), says(3, 10*us, us, 20*ms)}, 21 * us, 6 * us},
		{"one that is wrong, of four", []candidate{
			says(1, 0, us, 20*ms), says(2, 5*ms, us, 20*ms), says(3, 0, us, 20*ms), says(4, 0, us, 20*ms),
		}, 0, 1},
		{"two that are wrong together, of five", []candidate{
			says(1, 5*ms, us, ms), says(2, 5*ms, us, ms), says(3, 0, us, 20*ms), says(4, 0, us, 20*ms), says(5, 0, us, 20*ms),
		}, 0, 1},
		{"two and two", []candidate{
			says(1, 5*ms, us, 20*ms), says(2, 5*ms, us, 20*ms), says(3, 0, us, 20*ms), says(4, 0, us, 20*ms),
		}, 2500 * us, 100 * us},
		{"paths of four lengths", []candidate{
			says(1, 150*us, 10*us, 20300*us), says(2, -200*us, 20*us, 30400*us), says(3, 0, 40*us, 40*ms), says(4, 500*us, 60*us, 61*ms),
		}, 38 * us, 6 * us},
		{"one in the house", []candidate{
			says(1, 0, us, 200*us), says(2, 300*us, us, 20*ms), says(3, 500*us, us, 20*ms), says(4, 700*us, us, 20*ms),
		}, 0, us},
		{"one in the house that is wrong", []candidate{
			says(1, 5*ms, us, 200*us), says(2, 300*us, us, 20*ms), says(3, 100*us, us, 20*ms), says(4, -100*us, us, 20*ms),
		}, 100 * us, 20 * us},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, _ := joined(row.cs)
			if (got - row.want).Abs() > row.off {
				t.Errorf("%v, want %v ± %v", got, row.want, row.off)
			}
			slices.Reverse(row.cs)
			if again, _ := joined(row.cs); (again - got).Abs() > 1 {
				t.Errorf("the order matters: %v and %v", got, again)
			}
		})
	}
}

// TestFuse_Common: the wander of the oscillator is in all sources, so that many are not surer than two fifths of the variance of one.
func TestFuse_Common(t *testing.T) {
	var cs []candidate
	for i := range 16 {
		cs = append(cs, says(ntp.SourceID(i+1), 0, 10*us, ms))
	}
	_, sigma := joined(cs)
	if want := toDuration(10e-6 * math.Sqrt(0.4+0.6/16)); (sigma - want).Abs() > 2 {
		t.Errorf("%v, want %v", sigma, want)
	}
}

// TestFuse_Between: the result lies between the sources, however they are.
func TestFuse_Between(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		lo, hi := time.Duration(math.MaxInt64), time.Duration(math.MinInt64)
		cs := make([]candidate, 1+rng.IntN(9))
		for i := range cs {
			at := time.Duration(rng.NormFloat64() * float64(ms))
			cs[i] = says(ntp.SourceID(i+1), at, time.Duration(1+rng.IntN(int(ms))), time.Duration(rng.IntN(int(100*ms))))
			lo, hi = min(lo, at), max(hi, at)
		}
		if got, sigma := joined(cs); got < lo-1 || got > hi+1 || sigma <= 0 {
			t.Fatalf("%v ± %v of %v to %v", got, sigma, lo, hi)
		}
	}
}

// TestSetAside_Hysteresis: one that is out comes back only when it is nearer than it went.
func TestSetAside_Hysteresis(t *testing.T) {
	for _, row := range []struct {
		sigmas float64
		was    bool
		want   int
	}{{3.5, false, 0}, {3.5, true, 1}, {4.5, false, 1}, {2.5, true, 0}} {
		pair := rootDistanceShare * 0.020 * math.Sqrt2 // of two paths of 20 ms
		cs := []candidate{says(1, toDuration(row.sigmas*pair), 0, 20*ms), says(2, 0, 0, 20*ms), says(3, 0, 0, 20*ms), says(4, 0, 0, 20*ms)}
		cs[0].t.aside = row.was
		d := New(loose())
		d.weigh(cs)
		if got := d.setAside(cs, 3); got != row.want || cs[0].aside != (row.want == 1) {
			t.Errorf("%v sigma, out before: %v: %d set aside", row.sigmas, row.was, got)
		}
	}
}

// TestDecide_Aside: a plausible wrong source is named, does not count, and is remembered by what is followed only.
func TestDecide_Aside(t *testing.T) {
	d := New(loose())
	paths := []*path{newPath(1, 10*ms, 100*us), newPath(2, 10*ms, 100*us), newPath(3, 10*ms, 100*us), newPath(4, 10*ms, 100*us)}
	paths[2].lie = 5 * ms
	at := feed(d, 0, 60, paths...)
	dec := d.Decide(at)
	if dec.Selected != 4 || dec.Estimate.Offset.Abs() > 60*us {
		t.Errorf("%d selected, offset %v", dec.Selected, dec.Estimate.Offset)
	}
	for i, j := range dec.Judgements {
		if j.Aside != (i == 2) || d.trackers[i].aside {
			t.Errorf("source %d: aside %v, remembered %v", j.Source, j.Aside, d.trackers[i].aside)
		}
	}
	d.Follow(&dec)
	if !d.trackers[2].aside || d.trackers[0].aside {
		t.Error("not remembered")
	}
}

// TestDecide_Allocates only what it hands out.
func TestDecide_Allocates(t *testing.T) {
	d := New(loose())
	at := feed(d, 0, 60, newPath(1, ms, us), newPath(2, ms, us), newPath(3, 2*ms, us), newPath(4, ms, us))
	d.Decide(at)
	if n := testing.AllocsPerRun(100, func() { d.Decide(at) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// TestFuse_PrefersShortPaths: a source in the house is not outvoted by distant ones that agree.
func TestFuse_PrefersShortPaths(t *testing.T) {
	d := New(loose())
	near := newPath(1, 100*us, 5*us)
	paths := []*path{near}
	for i := range 4 {
		p := newPath(ntp.SourceID(i+2), 20*ms, 100*us)
		p.lie = ms // by asymmetry
		paths = append(paths, p)
	}
	at := feed(d, 0, 60, paths...)
	dec := d.Decide(at)
	if dec.Selected != 5 {
		t.Fatalf("%d selected", dec.Selected)
	}
	if o := dec.Estimate.Offset; o.Abs() > 50*us {
		t.Errorf("offset %v", o)
	}
}

// TestState_Exact: thirty years off, the nanoseconds stay.
func TestState_Exact(t *testing.T) {
	d := New(loose())
	p := newPath(1, 100*us, 0)
	p.lie = 30*365*24*time.Hour + 123456789
	at := feed(d, 0, 20, p)
	if o := d.Decide(at).Estimate.Offset; (o - p.lie).Abs() > 100 {
		t.Errorf("offset %v, want %v", o, p.lie)
	}
}

// TestFuse_Equation10and10b recomputes the fused state: its offset by equation (10), its covariance by (10b).
func TestFuse_Equation10and10b(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for round := range 500 {
		cs := make([]candidate, 1+rng.IntN(8))
		for i := range cs {
			sigma := math.Exp(-10 + rng.NormFloat64())
			cs[i] = says(ntp.SourceID(i+1), time.Duration(300e3*rng.NormFloat64()), toDuration(sigma), time.Duration(20e6*rng.ExpFloat64()))
			cs[i].s.y, cs[i].s.pyy = 1e-7*rng.NormFloat64(), math.Exp(-36+rng.NormFloat64())
			cs[i].s.pxy = (2*rng.Float64() - 1) * math.Sqrt(cs[i].s.pxx*cs[i].s.pyy)
			cs[i].aside = i > 0 && rng.IntN(8) == 0
			if i > 0 && rng.IntN(8) == 0 {
				cs[i].verdict = Falseticker
			}
		}
		d := New(loose())
		d.weigh(cs)
		got, _ := d.fuse(cs)

		var used []*candidate
		least := math.Inf(1)
		for i := range cs {
			if c := &cs[i]; c.verdict == Selected && !c.aside {
				used = append(used, c)
				least = min(least, c.s.pxx+c.bias)
			}
		}
		if len(used) == 1 {
			if got != used[0].s {
				t.Fatalf("round %d: of one %+v, want %+v", round, got, used[0].s)
			}
			continue
		}
		w, x := solved(used, least)
		if math.Abs(got.above(0)-x) > 1e-11 {
			t.Fatalf("round %d, %d sources: %v s, want %v", round, len(used), got.above(0), x)
		}
		var y, shares float64
		for _, c := range used {
			shares += 1 / c.s.pyy
		}
		mxx, mxy, myy := math.Inf(1), math.Inf(1), math.Inf(1)
		for _, c := range used {
			y += c.s.y / c.s.pyy / shares
			mxx, mxy, myy = min(mxx, c.s.pxx), min(mxy, c.s.pxy), min(myy, c.s.pyy)
		}
		pxx, pxy, pyy := mxx*0.4, mxy*0.6, myy*0.8
		for i, c := range used {
			u := 1 / c.s.pyy / shares
			pxx += w[i] * w[i] * (c.s.pxx - mxx*0.4)
			pxy += w[i] * u * (c.s.pxy - mxy*0.6)
			pyy += u * u * (c.s.pyy - myy*0.8)
		}
		if math.Abs(got.y-y) > 1e-18 || math.Abs(got.pxx/pxx-1) > 1e-6 || math.Abs(got.pxy-pxy) > 1e-6*math.Sqrt(pxx*pyy) || math.Abs(got.pyy/pyy-1) > 1e-9 {
			t.Fatalf("round %d: %+v, want y %g, covariance %g, %g, %g", round, got, y, pxx, pxy, pyy)
		}
	}
}

// solved has the weights W_i/Σ W of equation (10) and their mean x, s above 0, found in sixteen rounds from the weighted median on; least is
// the smallest s_i².
func solved(used []*candidate, least float64) (w []float64, x float64) {
	type one struct{ at, s2, base float64 }
	var all []one
	var total float64
	for _, c := range used {
		s2 := c.s.pxx + c.bias
		base := math.Max(0, math.Min(1, 3-math.Sqrt(s2/least))) / s2
		all = append(all, one{c.s.above(0), s2, base})
		total += base
	}
	kappa, rounds := math.Inf(1), 1
	if len(all) >= 3 {
		sorted := slices.Clone(all)
		slices.SortFunc(sorted, func(a, b one) int { return cmp.Compare(a.at, b.at) })
		var below float64
		for _, o := range sorted {
			if below += o.base; below >= total/2 {
				x = o.at
				break
			}
		}
		var squares []float64
		for _, o := range all {
			squares = append(squares, (o.at-x)*(o.at-x)/o.s2)
		}
		slices.Sort(squares)
		kappa, rounds = math.Max(1, squares[len(squares)/2]), 16
	}
	for range rounds {
		var sum, mean float64
		w = w[:0]
		for _, o := range all {
			w = append(w, o.base/(1+(x-o.at)*(x-o.at)/(kappa*o.s2)))
			sum += w[len(w)-1]
		}
		for i := range w {
			w[i] /= sum
			mean += w[i] * all[i].at
		}
		before := x
		if x = mean; math.Abs(x-before) < 1e-10 {
			break
		}
	}
	return w, x
}
