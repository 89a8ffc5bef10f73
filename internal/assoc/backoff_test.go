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
	if !c.take(a, nil) || c.take(a, nil) {
		t.Error("claimed twice")
	}
	c.release(a)
	if !c.take(a, nil) {
		t.Error("not released")
	}
}

// A server that somebody else chose is new only if none of its addresses belongs to one in use.
func TestClaims_OtherAddresses(t *testing.T) {
	a, b, d, e := netip.MustParseAddrPort("192.0.2.1:123"), netip.MustParseAddrPort("[2001:db8::1]:123"),
		netip.MustParseAddrPort("192.0.2.2:123"), netip.MustParseAddrPort("[2001:db8::2]:123")
	none := netip.AddrPort{}
	for _, tt := range []struct {
		name   string
		at     netip.AddrPort
		all    []netip.AddrPort
		except netip.AddrPort
		want   bool
	}{
		{"the address in use", a, []netip.AddrPort{a}, none, false},
		{"the same, in its own place", a, []netip.AddrPort{a}, a, false},
		{"another address of the server in use", b, []netip.AddrPort{b}, none, false},
		{"the same, in its own place", b, []netip.AddrPort{b, a}, a, true},
		{"one of several addresses in use", d, []netip.AddrPort{d, a}, none, false},
		{"one of several known", d, []netip.AddrPort{d, b}, none, false},
		{"instead of a third", d, []netip.AddrPort{d, b}, e, false},
		{"new", d, []netip.AddrPort{d, e}, none, true},
	} {
		c := NewClaims()
		c.take(a, []netip.AddrPort{a, b})
		if got := c.takeNew(tt.at, tt.all, tt.except); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
		if c.take(tt.at, nil) == tt.want && tt.at != a {
			t.Errorf("%s: not claimed, or claimed in spite of it", tt.name)
		}
	}
}
