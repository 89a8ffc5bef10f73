package ntp

import (
	"math"
	"testing"
	"time"
)

func TestView_RootDispersion(t *testing.T) {
	ref := FromTime(time.Date(2036, 2, 7, 6, 28, 15, 0, time.UTC))
	for _, c := range []struct {
		name   string
		wander float64
		age    time.Duration
		want   time.Duration
	}{
		{"at the update", 0, 0, time.Millisecond},
		{"PHI after 1000 s, in the next era", 0, 1000 * time.Second, 16 * time.Millisecond},
		{"a rate of its own", 1e-6, 1000 * time.Second, 2 * time.Millisecond},
		{"a reading before the update", 0, -time.Hour, time.Millisecond},
		{"a negative rate counts as PHI", -1, 1000 * time.Second, 16 * time.Millisecond},
		{"a year", 0, 365 * 24 * time.Hour, time.Millisecond + 473040*time.Millisecond},
	} {
		v := View{Reference: ref, Dispersion: time.Millisecond, Wander: c.wander}
		if got := v.RootDispersion(ref.Add(c.age)); got < c.want-1 || got > c.want+1 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	v := View{Reference: ref, Dispersion: math.MaxInt64, Wander: math.Inf(1)}
	if got := v.RootDispersion(ref.Add(time.Hour)); got < time.Hour {
		t.Errorf("a bound that does not fit became %v", got)
	}
}
