package system

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/ntp"
)

// outcome is what others get to see.
type outcome struct {
	off      time.Duration // clock minus true time
	distance time.Duration // told
	delay    time.Duration // told
	stratum  ntp.Stratum
	leap     ntp.LeapIndicator
	polls    time.Duration // wanted of the honest sources, the sum
	selected int
}

// claimed runs n sources over a minute, 20 ms away, the first of which lies by lie and claims what claim makes of its samples.
func claimed(t *testing.T, n int, lie time.Duration, claim func(*ntp.Measurement)) outcome {
	rng := rand.New(rand.NewPCG(5, 6))
	b := newBench(t, time.Date(2026, 6, 30, 12, 0, 0, 0, time.UTC), func(p *Params) { p.Algorithm.MinimumAgreeing = 3 })
	var ids []ntp.SourceID
	for i := range n {
		ids = append(ids, ntp.SourceID(i+1))
	}
	b.add(ids...)
	b.poll(60, func(m *ntp.Measurement) {
		m.RTT = 20*ms + time.Duration(rng.ExpFloat64()*300e3)
		m.TrueGap += time.Duration(rng.NormFloat64() * 100e3)
		m.RootDelay, m.RootDispersion, m.Stratum = 10*ms, ms, 3
		m.OurRefID = ntp.RefIDFromAddr(netip.MustParseAddr("198.51.100.7"))
		m.Reference = b.now().Clock.Add(-time.Minute)
		if m.Source == 1 {
			m.TrueGap = b.truth + lie
			if claim != nil {
				claim(m)
			}
		}
	}, ids...)
	v := b.view
	o := outcome{
		off: b.now().Clock.Sub(b.start) - b.local - b.truth, distance: v.RootDelay/2 + v.Dispersion, delay: v.RootDelay,
		stratum: v.Stratum, leap: v.Leap, selected: b.sys.Report().Selected,
	}
	for _, j := range b.sys.decision.Judgements {
		if j.Source == 1 {
			continue
		}
		o.polls += j.Poll.Duration()
		if j.Verdict != algorithm.Selected {
			t.Errorf("source %v: %v", j.Source, j.Reason)
		}
	}
	return o
}

// hold makes the server say that it had the request for d of the time that it was away.
func hold(d time.Duration) func(*ntp.Measurement) {
	return func(m *ntp.Measurement) {
		m.T2.Time = ntp.FromTime(noon)
		m.T3.Time = m.T2.Time.Add(d)
		m.RTT -= d
	}
}

// TestC25_ClaimsOfOne: whatever one of four, seven or fifteen sources claims of itself, be its time right or 8 ms off, which is inside
// the intervals of the others: it moves the clock by no more than its share, what is told stays within what the
// others vouch for, and holds the truth.
func TestC25_ClaimsOfOne(t *testing.T) {
	for _, row := range []struct {
		name  string
		claim func(*ntp.Measurement)
	}{
		{"nothing", nil},
		{"stratum 1", func(m *ntp.Measurement) { m.Stratum = 1 }},
		{"stratum 15", func(m *ntp.Measurement) { m.Stratum = 15 }},
		{"stratum 16", func(m *ntp.Measurement) { m.Stratum = 16 }},
		{"no root delay", func(m *ntp.Measurement) { m.RootDelay = 0 }},
		{"a root delay of 0.99 s at stratum 1", func(m *ntp.Measurement) { m.RootDelay, m.Stratum = 990*ms, 1 }},
		{"no root dispersion", func(m *ntp.Measurement) { m.RootDispersion = 0 }},
		{"a root dispersion of 0.9 s", func(m *ntp.Measurement) { m.RootDispersion = 900 * ms }},
		{"a root dispersion of 50 ms", func(m *ntp.Measurement) { m.RootDispersion = 50 * ms }},
		{"no root distance at stratum 1", func(m *ntp.Measurement) { m.RootDelay, m.RootDispersion, m.Stratum = 0, 0, 1 }},
		{"a precision of 1 ns", func(m *ntp.Measurement) { m.Precision = 1 }},
		{"a precision of 0.5 s", func(m *ntp.Measurement) { m.Precision = sec / 2 }},
		{"an inserted second", func(m *ntp.Measurement) { m.Leap = ntp.LeapInsert }},
		{"a deleted second", func(m *ntp.Measurement) { m.Leap = ntp.LeapDelete }},
		{"not synchronised", func(m *ntp.Measurement) { m.Leap = ntp.LeapUnknown }},
		{"held for the whole time", func(m *ntp.Measurement) { hold(m.RTT)(m) }},
		{"held for 1 ms", hold(ms)},
		{"held for 3 s", hold(3 * sec)},
		{"a round trip of -3 s", func(m *ntp.Measurement) { m.RTT = -3 * sec }},
		{"everything best", func(m *ntp.Measurement) {
			hold(m.RTT)(m)
			m.RootDelay, m.RootDispersion, m.Stratum, m.Precision = 0, 0, 1, 1
		}},
		{"our address as reference", func(m *ntp.Measurement) {
			m.RefID = ntp.RefIDFromAddr(netip.MustParseAddr("198.51.100.7"))
		}},
		{"a reference time in the future", func(m *ntp.Measurement) { m.Reference = m.Reference.Add(time.Hour) }},
		{"no reference time", func(m *ntp.Measurement) { m.Reference = 0 }},
	} {
		for _, n := range []int{4, 7, 15} {
			for _, lie := range []time.Duration{0, 8 * ms} {
				t.Run(fmt.Sprintf("%s, one of %d, off by %v", row.name, n, lie), func(t *testing.T) {
					honest := claimed(t, n, 0, nil)
					o := claimed(t, n, lie, row.claim)
					t.Logf("off by %v, told %v, of it root delay %v, stratum %d, %d selected", o.off, o.distance, o.delay, o.stratum, o.selected)
					if o.off.Abs() > lie/time.Duration(n)*11/10+100*us {
						t.Errorf("the clock is off by %v", o.off)
					}
					if o.distance < o.off.Abs() || o.distance < honest.distance*9/10 || o.distance > honest.distance*11/10+o.off.Abs() {
						t.Errorf("told root distance %v, with all honest %v", o.distance, honest.distance)
					}
					if o.delay < honest.delay*9/10 || o.delay > honest.delay*11/10 {
						t.Errorf("told root delay %v, with all honest %v", o.delay, honest.delay)
					}
					if o.stratum != 4 || o.leap != ntp.LeapNone {
						t.Errorf("stratum %d, leap %v", o.stratum, o.leap)
					}
					if o.polls != honest.polls {
						t.Errorf("the others are polled every %v in all, with all honest %v", o.polls, honest.polls)
					}
				})
			}
		}
	}
}

// TestPeer_Equation14 recomputes what clients are told of where the time comes from, for random strata and distances: the stratum after the
// lower median, and of those at that stratum the latest peer or the one that vouches for the smallest bound.
func TestPeer_Equation14(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 15))
	kept := 0
	for range 100 {
		n := 1 + rng.IntN(6)
		b := newBench(t, noon, func(p *Params) { p.Algorithm.MinimumAgreeing = n/2 + 1 })
		ids := make([]ntp.SourceID, n)
		strata := map[ntp.SourceID]ntp.Stratum{}
		trips := map[ntp.SourceID]time.Duration{}
		for i := range ids {
			ids[i] = ntp.SourceID(i + 1)
			trips[ids[i]] = time.Duration(1+rng.IntN(40))*ms + time.Duration(i)*us
		}
		b.add(ids...)
		var latest ntp.SourceID
		for second := range 60 {
			b.pass(sec)
			for _, id := range ids {
				m := b.sample(id, 0)
				if m.RTT = trips[id]; second%20 == 0 {
					strata[id] = ntp.Stratum(1 + rng.IntN(3))
				}
				m.Stratum = strata[id]
				b.handle(Measured{m})
				if b.sys.State() != Synchronized {
					continue
				}
				was := latest
				latest = told(t, b, strata, was)
				if latest == was {
					kept++
				}
			}
		}
	}
	if kept == 0 {
		t.Error("no peer was kept")
	}
}

// told checks stratum and reference that clients are told by equation (14), and returns whose they are.
func told(t *testing.T, b *bench, strata map[ntp.SourceID]ntp.Stratum, latest ntp.SourceID) (peer ntp.SourceID) {
	t.Helper()
	var selected []ntp.Stratum
	bounds := map[ntp.SourceID]time.Duration{}
	for _, j := range b.sys.decision.Judgements {
		if j.Verdict == algorithm.Selected {
			selected = append(selected, strata[j.Source])
			bounds[j.Source] = j.Bound
		}
	}
	slices.Sort(selected)
	middle := selected[(len(selected)-1)/2]
	if b.view.Stratum != middle+1 {
		t.Fatalf("stratum %d of sources at %v", b.view.Stratum, selected)
	}
	peer = latest
	if bounds[latest] == 0 || strata[latest] != middle {
		least := time.Duration(math.MaxInt64)
		for id, bound := range bounds {
			if strata[id] == middle && bound < least {
				peer, least = id, bound
			}
		}
	}
	if b.view.RefID != ntp.RefIDFromAddr(address(peer).Addr()) {
		t.Fatalf("reference %v, want source %d after %d; strata %v, bounds %v", b.view.RefID, peer, latest, strata, bounds)
	}
	return peer
}
