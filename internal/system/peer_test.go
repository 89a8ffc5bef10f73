package system

import (
	"math"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/ntp"
)

// TestPeer: the stratum is the middle one's, the peer the best at it; it does not hop.
func TestPeer(t *testing.T) {
	for _, row := range []struct {
		name    string
		strata  []ntp.Stratum
		bounds  []time.Duration
		was     int // 0: none
		outside int // not selected; 0: none
		want    int
		stratum ntp.Stratum
	}{
		{"the smallest bound", []ntp.Stratum{2, 2, 2}, []time.Duration{3, 1, 2}, 0, 0, 2, 2},
		{"no clock hopping", []ntp.Stratum{2, 2, 2}, []time.Duration{3, 1, 2}, 3, 0, 3, 2},
		{"one at stratum 1", []ntp.Stratum{1, 2, 3}, []time.Duration{1, 2, 3}, 0, 0, 2, 2},
		{"one at stratum 15", []ntp.Stratum{15, 2, 2}, []time.Duration{1, 2, 3}, 0, 0, 2, 2},
		{"the lower of two", []ntp.Stratum{3, 2}, []time.Duration{1, 2}, 0, 0, 2, 2},
		{"the peer left its stratum", []ntp.Stratum{3, 2, 2}, []time.Duration{1, 2, 3}, 1, 0, 2, 2},
		{"the peer is no longer selected", []ntp.Stratum{2, 2, 2}, []time.Duration{1, 2, 3}, 1, 1, 2, 2},
		{"who is not selected does not count", []ntp.Stratum{1, 1, 4}, []time.Duration{1, 2, 3}, 0, 1, 2, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := New(Defaults())
			for i, stratum := range row.strata {
				src := &source{Added: Added{ID: ntp.SourceID(i + 1)}, judging: true}
				src.last.Stratum = stratum
				src.judged = algorithm.Judgement{Verdict: algorithm.Selected, Bound: row.bounds[i]}
				if i+1 == row.outside {
					src.judged.Verdict = algorithm.Falseticker
				}
				s.sources = append(s.sources, src)
				if i+1 == row.was {
					s.peer = src
				}
			}
			s.choosePeer()
			if s.peer == nil || s.peer.ID != ntp.SourceID(row.want) || s.peer.last.Stratum != row.stratum {
				t.Errorf("%+v", s.peer)
			}
			s.sources = nil
			if s.choosePeer(); s.peer != nil {
				t.Errorf("a peer of nothing: %+v", s.peer)
			}
		})
	}
}

// TestView_Bound: what is told is what the consensus vouches for, what is not yet corrected, and our own precision; it grows by
// what is not known of the frequency and by what no correction reaches.
func TestView_Bound(t *testing.T) {
	s := New(Params{Algorithm: algorithm.Defaults(), Precision: -10})
	s.decision = algorithm.Decision{
		Bound: 20 * ms, RootDelay: 30 * ms,
		Estimate: algorithm.Estimate{Known: true, Offset: 7 * ms, VarFreq: 1e-12, Beyond: 100e-6},
	}
	peer := &source{}
	peer.last.Stratum = 4
	const precision = sec >> 10
	v, why := s.synchronizedView(Now{}, peer, 4*ms)
	if why != "" || v.Stratum != 5 || v.RootDelay != 30*ms || v.Dispersion != 3*ms+5*ms+precision {
		t.Errorf("%q %+v", why, v)
	}
	if want := 3e-6 + 2e-8 + 100e-6; math.Abs(v.Wander-want) > 1e-12 {
		t.Errorf("grows by %g, want %g", v.Wander, want)
	}
	s.decision.RootDelay = 50 * ms // the way is longer than what the middle one vouches for
	if v, _ := s.synchronizedView(Now{}, peer, 7*ms); v.Dispersion != precision {
		t.Errorf("%+v", v)
	}
}

// TestStretch: the growth that is told is for two intervals of the source that is asked most often; when no update came by then it
// is told anew, larger, and the next update ends that.
func TestStretch(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1)
	b.poll(20, nil, 1)
	fresh := *b.view
	if b.pass(30 * sec); *b.view != fresh {
		t.Errorf("told anew although none is overdue: %+v", b.view)
	}
	b.pass(20 * sec) // at an interval of 16 s
	if v := b.view; v.Wander <= fresh.Wander || v.Reference != fresh.Reference || v.Dispersion != fresh.Dispersion || b.sys.State() != Synchronized {
		t.Errorf("in state %v told %+v after %+v", b.sys.State(), v, fresh)
	}
	b.poll(1, nil, 1)
	if v := b.view; v.Wander >= 1e-6 || v.Reference == fresh.Reference {
		t.Errorf("after an update %+v", v)
	}
}

// TestDefaultHoldOver: what may be taken from sources may be served, up to what no client takes.
func TestDefaultHoldOver(t *testing.T) {
	for source, want := range map[float64]time.Duration{0.25: 1500 * ms, 1: 1500 * ms, 2: 3 * sec, 12: 16 * sec, 86400: 16 * sec} {
		p := Defaults()
		p.Algorithm.MaximumSourceUncertainty = source
		if got := New(p).params.HoldOver; got != want {
			t.Errorf("%v s of a source: %v, want %v", source, got, want)
		}
		p.HoldOver = 50 * ms
		if got := New(p).params.HoldOver; got != 50*ms {
			t.Errorf("configured 50 ms, got %v", got)
		}
	}
}

// TestUnserved: a consensus that leaves us too uncertain to call ourselves synchronised is told once, and shown as long as it
// lasts.
func TestUnserved(t *testing.T) {
	b := newBench(t, noon, func(p *Params) { p.HoldOver = 100 * ms })
	b.add(1)
	wide := func(m *ntp.Measurement) { m.RootDispersion = 200 * ms }
	b.poll(20, wide, 1)
	r := b.sys.Report()
	if r.State != Unsynchronized || !r.Following || r.View.Synchronized || !strings.Contains(r.Unserved, "maximum-root-distance is 100ms") {
		t.Errorf("state %v, following %v, %q, %+v", r.State, r.Following, r.Unserved, r.View)
	}
	if n := b.told("the sources agree, but"); n != 1 {
		t.Errorf("told %d times", n)
	}
	b.poll(20, nil, 1)
	if r := b.sys.Report(); r.State != Synchronized || r.Unserved != "" || !r.View.Synchronized {
		t.Errorf("state %v, %q", r.State, r.Unserved)
	}
	b.poll(20, wide, 1)
	b.handle(Removed{ID: 1})
	if r := b.sys.Report(); r.Unserved != "" || r.Following || r.State != Unsynchronized {
		t.Errorf("without a consensus: state %v, %q", r.State, r.Unserved)
	}
}

// TestTooFar: a source beyond the limit is named once with key and claims, and its row says the same.
func TestTooFar(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1)
	b.poll(20, func(m *ntp.Measurement) { m.RootDispersion = 4 * sec }, 1)
	n := 0
	for _, l := range b.notices {
		if strings.Contains(l.Text, "above maximum-source-uncertainty 1s; it claims root dispersion 4s and root delay 3ms, its round trip is 200µs") {
			n++
			if l.Level != Warn {
				t.Errorf("%+v", l)
			}
		}
	}
	row := b.sys.Report().Sources[0]
	if n != 1 || row.Role != RoleExcluded || !strings.Contains(row.Reason, "it may be off by 4.") {
		t.Errorf("%d lines, %v, %q", n, row.Role, row.Reason)
	}
}

// TestOutOfReach: one line when the oscillator is surely beyond the limit, and another only after it was within.
func TestOutOfReach(t *testing.T) {
	var o outOfReach
	var fx Effects
	mono := time.Unix(1000, 0)
	tell := func(y, beyond, sigma float64) int {
		fx.Notices = nil
		mono = mono.Add(time.Hour)
		o.tell(mono, &algorithm.Estimate{Frequency: y, Beyond: beyond, VarFreq: sigma * sigma}, 495e-6, &fx)
		return len(fx.Notices)
	}
	for i, row := range []struct {
		y, beyond, sigma float64
		lines            int
		words            string
	}{
		{600e-6, 105e-6, 100e-6, 0, ""}, // not sure yet
		{-1274e-6, 779e-6, 1e-6, 1, "it runs 1274 ppm fast, maximum-frequency-steer is 495 ppm; steps keep the clock near until the kernel's tick is changed by -13 "},
		{-1274e-6, 779e-6, 1e-6, 0, ""},
		{-490e-6, 0, 1e-6, 0, ""},
		{600e-6, 105e-6, 1e-6, 1, "it runs 600 ppm slow, maximum-frequency-steer is 495 ppm; steps keep the clock near until the kernel's tick is changed by +6 "},
	} {
		if n := tell(row.y, row.beyond, row.sigma); n != row.lines || n > 0 && !strings.Contains(fx.Notices[0].Text, row.words) {
			t.Errorf("%d: %+v", i, fx.Notices)
		}
	}
}
