package algorithm

import (
	"slices"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// settledDiscipline has n sources that have been asked for a long time.
func settledDiscipline(n int) (*Discipline, []*path, ntp.Local) {
	d := New(loose())
	d.Applied(ntp.LedgerEntry{})
	var paths []*path
	for i := range n {
		paths = append(paths, newPath(ntp.SourceID(i+1), ms, 50*us))
	}
	return d, paths, feed(d, 0, 600, paths...)
}

// TestAbsorb_NoAllocation: a sample is taken in without memory.
func TestAbsorb_NoAllocation(t *testing.T) {
	d, paths, at := settledDiscipline(4)
	i := 0
	if n := testing.AllocsPerRun(200, func() {
		at = at.Add(sec)
		m := paths[i%4].at(at)
		if i++; i%37 == 0 {
			m.TrueGap += 50 * ms // kept aside
		}
		d.Absorb(m)
	}); n > 0 {
		t.Errorf("%v allocations per sample", n)
	}
}

// TestDecide_NoAllocation: neither does a decision need memory, whatever it says of the sources.
func TestDecide_NoAllocation(t *testing.T) {
	d := New(loose())
	d.Applied(ntp.LedgerEntry{})
	paths := make([]*path, 7)
	for i := range paths {
		paths[i] = newPath(ntp.SourceID(i+1), ms, 50*us)
	}
	paths[4].lie, paths[5].lie = 700*us, sec
	at := feed(d, 0, 600, paths[:6]...)
	d.Absorb(paths[6].at(at)) // unknown as yet
	dec := d.Decide(at)
	if j := dec.Judgements; len(j) != 7 || !j[4].Aside || j[5].Verdict != Falseticker || j[6].Verdict != Excluded || dec.Selected != 5 {
		t.Fatalf("not every kind of verdict: %+v", j)
	}
	if n := testing.AllocsPerRun(200, func() {
		at = at.Add(ms)
		dec := d.Decide(at)
		d.Follow(&dec)
	}); n > 0 {
		t.Errorf("%v allocations per decision", n)
	}
}

// BenchmarkSample takes in one sample with four sources and decides. It tells the middle and the worst of the last times, too.
func BenchmarkSample(b *testing.B) {
	d, paths, at := settledDiscipline(4)
	took := make([]time.Duration, 1<<16)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(sec)
		m := paths[i%4].at(at)
		begin := time.Now()
		d.Absorb(m)
		d.Decide(at)
		took[i%len(took)] = time.Since(begin)
		i++
	}
	took = took[:min(i, len(took))]
	slices.Sort(took)
	for _, q := range []struct {
		name  string
		share int // per mille
	}{{"p50-ns", 500}, {"p99-ns", 990}, {"p99.9-ns", 999}} {
		b.ReportMetric(float64(took[(len(took)-1)*q.share/1000]), q.name)
	}
}

// BenchmarkAbsorb is the part of the filter.
func BenchmarkAbsorb(b *testing.B) {
	d, paths, at := settledDiscipline(4)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(sec)
		d.Absorb(paths[i%4].at(at))
		i++
	}
}
