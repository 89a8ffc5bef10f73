package ntp

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func measure(t1, t2, t3, t4 time.Duration) *Measurement {
	base := FromTime(time.Date(2036, 2, 7, 6, 28, 15, 0, time.UTC)) // one second before the era ends
	m := &Measurement{}
	for s, d := range map[*Stamp]time.Duration{&m.T1: t1, &m.T2: t2, &m.T3: t3, &m.T4: t4} {
		s.Time = base.Add(d)
	}
	return m
}

// TestMeasurement: RFC 5905 §8, across the end of the era.
func TestMeasurement(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		name           string
		t1, t2, t3, t4 time.Duration
		offset, delay  time.Duration
	}{
		{"in step", 990 * ms, 1000 * ms, 1001 * ms, 1011 * ms, 0, 20 * ms},
		{"we are slow", 0, 1010 * ms, 1011 * ms, 21 * ms, time.Second, 20 * ms},
		{"we are fast", 2000 * ms, 1010 * ms, 1011 * ms, 2021 * ms, -time.Second, 20 * ms},
		{"all the delay on the way out", 0, 20 * ms, 20 * ms, 20 * ms, 10 * ms, 20 * ms},
		{"negative delay", 0, 0, 10 * ms, 5 * ms, 2500 * time.Microsecond, -5 * ms},
		{"sixty years", 0, 60 * 365 * 24 * time.Hour, 60 * 365 * 24 * time.Hour, 0, 60 * 365 * 24 * time.Hour, 0},
	} {
		m := measure(c.t1, c.t2, c.t3, c.t4)
		if m.Offset() != c.offset || m.Delay() != c.delay {
			t.Errorf("%s: offset %v delay %v, want %v %v", c.name, m.Offset(), m.Delay(), c.offset, c.delay)
		}
	}
}

// TestMeasurement_Exact: no difference overflows, and the offset is right to a nanosecond.
func TestMeasurement_Exact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &Measurement{}
		for _, s := range []*Stamp{&m.T1, &m.T2, &m.T3, &m.T4} {
			s.Time = drawTimestamp(t, "stamp")
		}
		a, b := big.NewInt(int64(m.T2.Time.Sub(m.T1.Time))), big.NewInt(int64(m.T3.Time.Sub(m.T4.Time)))
		twice := new(big.Int).Add(a, b)
		twice.Sub(twice, big.NewInt(int64(m.Offset()))).Sub(twice, big.NewInt(int64(m.Offset())))
		if twice.CmpAbs(big.NewInt(1)) > 0 {
			t.Fatalf("offset of %v and %v is %d", a, b, m.Offset())
		}
	})
}
