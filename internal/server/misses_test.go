package server

import (
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// Each error is counted in a bucket whose end is at most a quarter above it.
func TestMisses_Buckets(t *testing.T) {
	last := -1
	for d := time.Duration(0); d < 58*time.Millisecond; d += 1 + d/50 {
		b := missBucket(d)
		if b < last || b > last+1 {
			t.Fatalf("%v: bucket %d after %d", d, b, last)
		}
		last = b
		if end := missBound(b); d >= end || d >= 1<<missShift && float64(end) > 1.25*float64(d) {
			t.Errorf("%v: bucket %d ends at %v", d, b, end)
		}
	}
	for _, d := range []time.Duration{80 * time.Millisecond, time.Hour} {
		if b := missBucket(d); b != missBuckets-1 {
			t.Errorf("%v: bucket %d", d, b)
		}
	}
}

func TestMisses_Quantile(t *testing.T) {
	var m Misses
	var none MissTotals
	if m.addTo(&none); none.Measured != 0 {
		t.Error("measured before anything was")
	}
	if _, ok := none.Quantile(0.5); ok {
		t.Error("a quantile of nothing")
	}
	for i := range 1000 {
		d := 2 * time.Microsecond
		if i%2 == 0 {
			d = -d // early and late are alike
		}
		if i%50 == 0 {
			d = 100 * time.Microsecond
		}
		m.count(d)
	}
	var sum MissTotals
	m.addTo(&sum)
	m.addTo(&sum) // two workers
	half, _ := sum.Quantile(0.5)
	high, _ := sum.Quantile(0.99)
	if sum.Measured != 2000 || half < 2*time.Microsecond || half > 2500 || high < 100*time.Microsecond || high > 125*time.Microsecond {
		t.Errorf("%d measured, half below %v, 99%% below %v", sum.Measured, half, high)
	}
}

// The load of an hour ago does not count any more.
func TestMisses_Forgets(t *testing.T) {
	var m Misses
	for range 10_000 {
		m.count(time.Millisecond)
	}
	for range 8 * missMemory {
		m.count(time.Microsecond)
	}
	var sum MissTotals
	m.addTo(&sum)
	if high, _ := sum.Quantile(0.99); high > 2*time.Microsecond {
		t.Errorf("99%% below %v", high)
	}
	if sum.Measured != 10_000+8*missMemory {
		t.Errorf("%d measured", sum.Measured)
	}
}

func TestThroughput(t *testing.T) {
	var r throughput
	start := ntp.FromUnix(1_800_000_000, 0)
	for i := range 30 { // ten a second for three seconds
		r.count(start.Add(time.Duration(i)*100*time.Millisecond), 2)
	}
	for _, row := range []struct {
		at   time.Duration
		want uint64
	}{{2900 * time.Millisecond, 20}, {3 * time.Second, 20}, {3999 * time.Millisecond, 20}, {4 * time.Second, 0}, {time.Hour, 0}} {
		if n := r.during(start.Add(row.at)); n != row.want {
			t.Errorf("after %v: %d answers a second, want %d", row.at, n, row.want)
		}
	}
	r.count(start.Add(5*time.Second), 7) // seconds without answers between
	if n := r.during(start.Add(6 * time.Second)); n != 7 {
		t.Errorf("%d answers", n)
	}
}
