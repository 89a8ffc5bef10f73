package algorithm

import (
	"math"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// walker is a tracker on a path whose route changes.
type walker struct {
	*tracker
	p    *path
	at   ntp.Local
	tune tuning
	out  time.Duration // longer way out
	back time.Duration // longer way back
}

func newWalker(id ntp.SourceID) *walker {
	w := &walker{p: newPath(id, 10*ms, 100*us), tune: newTuning(loose())}
	first := w.p.at(0)
	w.tracker = newTracker(&first, 0, &w.tune)
	return w
}

// walk takes n samples, 64 s apart.
func (w *walker) walk(n int) {
	for range n {
		w.at = w.at.Add(64 * sec)
		m := w.p.at(w.at)
		m.RTT += w.out + w.back
		m.TrueGap += (w.out - w.back) / 2
		w.absorb(&m, &w.tune)
	}
}

// TestRoute: ways become longer and shorter, and the time stays.
func TestRoute(t *testing.T) {
	for _, row := range []struct{ out, back time.Duration }{{10 * ms, 10 * ms}, {20 * ms, 0}, {0, 20 * ms}, {2 * ms, 5 * ms}, {-3 * ms, 0}} {
		w := newWalker(1)
		check := func(where string, bias time.Duration, known int) {
			t.Helper()
			if off := math.Abs(w.s.above(0)); off > 150e-6 {
				t.Errorf("%v: %s: off by %v s", row, where, off)
			}
			if b, v := w.bank.bias(); math.Abs(b-bias.Seconds()) > 150e-6 || math.Sqrt(v) > 150e-6 {
				t.Errorf("%v: %s: bias %v s ± %v, want %v", row, where, b, math.Sqrt(v), bias)
			}
			if w.routes.known != known {
				t.Errorf("%v: %s: %d routes", row, where, w.routes.known)
			}
		}
		bias := (row.out - row.back) / 2
		w.walk(300)
		check("before", 0, 0)
		w.out, w.back = row.out, row.back
		w.walk(40)
		check("longer", bias, 1)
		w.out, w.back = 0, 0
		w.walk(10)
		check("back", 0, 1)
		w.out, w.back = row.out, row.back
		w.walk(10)
		check("again", bias, 1)
	}
}

// TestRoute_Better: the first route was a detour in one direction. What is known of it stays known.
func TestRoute_Better(t *testing.T) {
	w := newWalker(2)
	w.out = 20 * ms
	w.walk(100)
	if off := w.s.above(0); math.Abs(off-10e-3) > 100e-6 {
		t.Fatalf("off by %v s on the detour", off)
	}
	w.out = 0
	w.walk(20)
	if off := w.s.above(0); math.Abs(off) > 100e-6 || w.pathBias() > 1e-6 {
		t.Errorf("off by %v s on the better route, bias %v s", off, w.pathBias())
	}
	w.out = 20 * ms
	w.walk(20)
	if off := w.s.above(0); math.Abs(off) > 200e-6 {
		t.Errorf("off by %v s on the detour again", off)
	}
}

// TestRoute_QueuesAreNone: what varies is no route, however long it lasts, and neither is one odd round trip.
func TestRoute_QueuesAreNone(t *testing.T) {
	w := newWalker(3)
	w.walk(200)
	tried := 0
	for i := range 300 {
		w.out = time.Duration(20 * float64(ms) * w.p.rng.ExpFloat64())
		if i%10 == 0 {
			w.out = 0
		}
		if w.walk(1); w.trial.left > 0 {
			tried++
		}
	}
	if tried > 10 {
		t.Errorf("a longer route was believed in after %d of 300 samples", tried)
	}
	w.out, w.back = -4*ms, -4*ms
	w.walk(1)
	w.out, w.back = 0, 0
	w.walk(50)
	if off := w.s.above(0); w.routes.known != 0 || math.Abs(off) > 200e-6 {
		t.Errorf("%d routes, off by %v s", w.routes.known, off)
	}
}

// TestRoute_AfterResume: the machine slept and is on another network, where the first samples tell the time and the route together.
func TestRoute_AfterResume(t *testing.T) {
	for _, longer := range []time.Duration{20 * ms, -8 * ms} {
		w := newWalker(6)
		w.walk(100)
		w.unseed()
		w.p.lie, w.out, w.back = sec, longer/2, longer/2
		w.walk(20)
		if off := w.s.above(sec); math.Abs(off) > 100e-6 || w.pathBias() > 1e-6 || math.Sqrt(w.s.pxx) > 100e-6 {
			t.Errorf("%v longer: off by %v s ± %v, bias %v s", longer, off, math.Sqrt(w.s.pxx), w.pathBias())
		}
	}
}

// TestRoute_Distance: what is attributed to the route is part of what the source vouches for.
func TestRoute_Distance(t *testing.T) {
	w := newWalker(4)
	w.walk(100)
	before, told := w.distance(&w.s, 3, &w.tune), w.vouches(&w.s, &w.tune)
	w.out = 20 * ms
	w.walk(40)
	if r := w.distance(&w.s, 3, &w.tune); r < before+19.9e-3 || r > before+22e-3 {
		t.Errorf("distance %v s before, %v s after", before, r)
	}
	if r := w.vouches(&w.s, &w.tune); r < told+19.9e-3 || r > told+22e-3 {
		t.Errorf("bound %v s before, %v s after", told, r)
	}
}

// TestHurry: a further sample is wanted at once when a step or another route is suspected, and not without end.
func TestHurry(t *testing.T) {
	w := newWalker(5)
	for range 300 {
		if w.walk(1); w.haste.wanted {
			t.Fatal("in a hurry on a quiet path")
		}
	}
	w.p.lie = 5 * ms
	for i, want := range []bool{true, true, true, false} {
		if w.walk(1); w.haste.wanted != want {
			t.Errorf("sample %d after a step: in a hurry: %v", i+1, w.haste.wanted)
		}
	}
	if off := w.s.above(0) - 5e-3; math.Abs(off) > 300e-6 {
		t.Errorf("off by %v s after the step", off)
	}
	n := 0
	var h haste
	for range 1600 {
		h.begin()
		if h.want(); h.wanted {
			n++
		}
	}
	if n != hasteMost+1600/hasteEarned {
		t.Errorf("%d times in a hurry of 1600", n)
	}
}

// TestRoute_Yields: what a source took for a change of its route was one of its time. It takes the word of the three others, who agree, and not
// beyond what the route can be.
func TestRoute_Yields(t *testing.T) {
	for _, row := range []struct {
		wrong time.Duration
		takes bool
	}{{3 * ms, true}, {-6 * ms, false}} {
		d := New(loose())
		var paths []*path
		for i := range 4 {
			paths = append(paths, newPath(ntp.SourceID(i+1), 5*ms, 50*us))
		}
		at := ntp.Local(0)
		step := func(n int) {
			for range n {
				at = at.Add(16 * sec)
				for i, p := range paths {
					d.Absorb(p.at(at.Add(time.Duration(i) * ms)))
				}
			}
		}
		step(60)
		paths[0].delay += 5 * ms // both ways
		paths[0].lie = row.wrong
		step(30)
		beyond := max(math.Abs(row.wrong.Seconds())-5e-3, 0) // what no route of that length can be off by is the time's at once
		if x := d.trackers[0].s.above(0); math.Abs(x) > beyond+200e-6 {
			t.Fatalf("off by %v s on the new route", x)
		}
		// The others know better: their clocks have not changed.
		for i := range d.trackers[0].bank.members {
			for j := range d.trackers[0].bank.members[i] {
				m := &d.trackers[0].bank.members[i][j]
				m.x, m.b = m.x+row.wrong.Seconds(), m.b-row.wrong.Seconds()
			}
		}
		d.trackers[0].settle()
		for range 3 {
			step(1)
			dec := d.Decide(at.Add(sec))
			d.Follow(&dec)
		}
		if x := d.trackers[0].s.above(0); (math.Abs(x) < 300e-6) != row.takes {
			t.Errorf("%v: off by %v s", row.wrong, x)
		}
	}
}

// traveller is a walker that has seen 100 round trips over one route: the least of them, their median above it, and what makes one unusual.
func traveller() (w *walker, least, median time.Duration) {
	w = newWalker(1)
	w.walk(100)
	return w, w.noise.floor, w.noise.excess
}

// TestRoute_Equation7a recomputes which round trips in a row are another route, and how uncertain its offset is.
func TestRoute_Equation7a(t *testing.T) {
	_, least, median := traveller()
	far := 10 * ms
	alike := far * 15 / 100
	if alike < 4*median {
		t.Fatalf("median %v", median)
	}
	for _, row := range []struct {
		name  string
		trips []time.Duration // longer than the least by so much
		route time.Duration   // how much longer it is then; 0: none
	}{
		{"six", []time.Duration{far, far, far, far, far, far}, far},
		{"five", []time.Duration{far, far, far, far, far}, 0},
		{"six, one of them much longer", []time.Duration{far, far, 3 * far, far, far, far}, far},
		{"six, two of them much longer", []time.Duration{far, 3 * far, 3 * far, far, far, far}, 0},
		{"six, and a usual one between them", []time.Duration{far, far, far, 0, far, far, far}, 0},
		{"nearly alike", []time.Duration{far, far + alike - us, far, far, far, 3 * far}, far},
		{"not quite alike", []time.Duration{far, far + alike + us, far, far, far, 3 * far}, 0},
		{"a shorter one first", []time.Duration{far / 2, far, far, far, far, far, far}, far},
		{"of short ones the usual excess says what is alike", []time.Duration{
			10 * median, 13900 * median / 1000, 10 * median, 10 * median, 10 * median, 10 * median,
		}, 10 * median},
		{"not longer than is usual", []time.Duration{5 * median, 5 * median, 5 * median, 5 * median, 5 * median, 5 * median}, 0},
		{"two shorter ones", []time.Duration{-3 * ms, -3*ms + 100*us}, -3 * ms},
		{"one shorter one", []time.Duration{-3 * ms}, 0},
		{"two shorter ones that are not alike", []time.Duration{-2 * ms, -4 * ms}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, _, _ := traveller()
			for _, trip := range row.trips {
				w.at = w.at.Add(64 * sec)
				w.travel(w.at, least+trip)
			}
			b, v := w.bank.bias()
			want := row.route.Seconds() * row.route.Seconds() / 12
			if known := w.routes.known > 0; known != (row.route != 0) || b != 0 || math.Abs(v-want) > 1e-12*want {
				t.Errorf("another route: %v; bias %v, variance %v, want %v", known, b, v, want)
			}
			if row.route != 0 && w.noise.floor != least+row.route {
				t.Errorf("least round trip %v, want %v", w.noise.floor, least+row.route)
			}
		})
	}
}

// TestRoute_Equation7b recomputes which round trip is over a route that was left, and what is known of its offset then.
func TestRoute_Equation7b(t *testing.T) {
	for _, row := range []struct {
		name  string
		above float64 // from the least round trip of the route that was left, in the larger of both medians
		back  bool
	}{{"at its least", 0, true}, {"below it", -3.9, true}, {"too far below it", -4.1, false}, {"above it", 5.9, true}, {"too far above it", 6.1, false}} {
		t.Run(row.name, func(t *testing.T) {
			w, least, _ := traveller()
			w.bank.setBias(1e-3, 4e-10)
			w.bank.shift(1e-3)
			w.out = 10 * ms
			w.walk(60)
			if w.routes.known != 1 || w.routes.left[0].floor != least {
				t.Fatalf("%d routes, left %v", w.routes.known, w.routes.left[0].floor)
			}
			left := w.routes.left[0]
			if math.Abs(left.bias-1e-3) > 50e-6 {
				t.Fatalf("left with %v", left.bias)
			}
			median := max(left.excess, w.noise.excess)
			w.at = w.at.Add(64 * sec)
			w.travel(w.at, least+time.Duration(row.above*float64(median)))
			b, v := w.bank.bias()
			if back := math.Abs(b-left.bias) < 1e-15 && math.Abs(v/left.doubt-1) < 1e-9; back != row.back {
				t.Fatalf("offset of the route %v, variance %v", b, v)
			}
			for i := range w.bank.members {
				for j := range w.bank.members[i] {
					if m := &w.bank.members[i][j]; row.back && (m.xb != 0 || m.yb != 0 || m.ab != 0) {
						t.Fatalf("what comes of the other route is in member %d, %d: %+v", i, j, m)
					}
				}
			}
		})
	}
}

// TestRoute_Equation7c: a new route shorter than three quarters of all others gives the time itself.
func TestRoute_Equation7c(t *testing.T) {
	for _, row := range []struct {
		share float64
		taken bool
	}{{0.74, true}, {0.76, false}} {
		w, least, _ := traveller()
		trip := time.Duration(row.share * float64(least))
		w.bank.setBias(1e-3, 4e-10)
		w.bank.shift(1e-3)
		z := 300 * us
		for range 2 {
			w.at = w.at.Add(64 * sec)
			m := w.p.at(w.at)
			m.RTT, m.TrueGap = trip, z
			w.absorb(&m, &w.tune)
		}
		b, v := w.bank.bias()
		if taken := b == 0 && v == 0 && math.Abs(w.s.above(z)) < 1e-12; taken != row.taken {
			t.Errorf("%v of the shortest before: offset of the route %v ± %v, off by %v s of the sample", row.share, b, math.Sqrt(v), w.s.above(z))
		}
	}
}
