package assoc

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestKC15_Schedule(t *testing.T) {
	now := time.Unix(0, 0)
	for _, l := range []float64{0, 0.5, 1} {
		b := backoff{schedule: keyExchangeSchedule}
		for n := 1; n <= 40; n++ {
			want := leastWait(n)
			got := b.fail(now, l)
			if lo, hi := float64(want)*0.999, float64(want)*(1+l/4)*1.001; float64(got) < lo || float64(got) > hi {
				t.Errorf("wait %d with %v of the jitter: %v, want %v to %v", n, l, got, want, time.Duration(hi))
			}
			if !b.at.Equal(now.Add(got)) {
				t.Error("next attempt does not match the wait")
			}
		}
		if max := b.fail(now, 1); max > time.Hour {
			t.Errorf("ceiling passed: %v", max)
		}
		b.succeed()
		if !b.at.IsZero() || b.fail(now, 0) != 10*time.Second {
			t.Error("success does not start over")
		}
	}
}

func TestUniform_BrokenRandomness(t *testing.T) {
	if got := uniform(bytes.NewReader(nil)); got != 1 {
		t.Errorf("uniform: %v", got)
	}
	if lo, hi := uniform(bytes.NewReader(make([]byte, 4))), uniform(bytes.NewReader([]byte{255, 255, 255, 255})); lo != 0 || hi != 1 {
		t.Errorf("uniform: from %v to %v", lo, hi)
	}
}

func TestBlocklist(t *testing.T) {
	var s blocklist
	now := time.Unix(0, 0)
	a := netip.MustParseAddrPort("192.0.2.1:123")
	s.add(a, now.Add(time.Minute))
	if !s.has(now, a) || s.has(now.Add(time.Minute), a) {
		t.Error("not blocked for a minute")
	}
	for i := range 3 * maxBlocked {
		s.add(netip.MustParseAddrPort(fmt.Sprintf("192.0.2.2:%d", i+1)), now.Add(time.Hour))
	}
	s.add(a, now.Add(time.Minute))
	s.add(a, now.Add(time.Hour))
	if len(s.list) > maxBlocked || !s.has(now.Add(30*time.Minute), a) {
		t.Errorf("%d entries", len(s.list))
	}
}

func TestClaims(t *testing.T) {
	c := NewClaims()
	a := netip.MustParseAddrPort("192.0.2.1:123")
	if !c.take(a) || c.take(a) {
		t.Error("claimed twice")
	}
	c.release(a)
	if !c.take(a) {
		t.Error("not released")
	}
}
