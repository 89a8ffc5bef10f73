package loadgen

import (
	"testing"
	"time"
)

// TestPace: whole bursts at even distances, as many as the rate asks for.
func TestPace(t *testing.T) {
	p := pace{rate: 50000, burst: 16}
	var times []time.Duration
	for now := time.Duration(0); now <= time.Second; now += 10 * time.Microsecond {
		n, late := p.due(now)
		if late != 0 {
			t.Fatalf("%d given up at %v", late, now)
		}
		if n != 0 && n != 16 {
			t.Fatalf("a burst of %d", n)
		}
		if n > 0 {
			times = append(times, now)
		}
	}
	if len(times) != 50000/16 {
		t.Fatalf("%d bursts in a second", len(times))
	}
	for i := range times[1:] {
		if gap := times[i+1] - times[i]; gap != 320*time.Microsecond {
			t.Fatalf("burst %d comes after %v", i+1, gap)
		}
	}
}

// TestPace_Late: a sender that was away sends one burst after the other, and says what it gives up.
func TestPace_Late(t *testing.T) {
	p := pace{rate: 10000, burst: 4}
	var sent, late int64
	for range 10000 {
		n, l := p.due(2 * time.Second)
		sent, late = sent+int64(n), late+l
	}
	if sent+late != 20000 || sent != mostLate {
		t.Errorf("%d sent, %d given up", sent, late)
	}
}

// TestWindow: never more under way than allowed, and what is lost does not stop it.
func TestWindow(t *testing.T) {
	w := window{most: 64, burst: 32}
	for range 2 {
		n, _ := w.due(0)
		w.sent(n)
	}
	if n, _ := w.due(0); n != 0 || w.underWay != 64 {
		t.Fatalf("%d more with %d under way", n, w.underWay)
	}
	w.answered(31, time.Millisecond)
	if n, _ := w.due(time.Millisecond); n != 0 {
		t.Fatalf("%d with room for 31", n)
	}
	w.answered(1, time.Millisecond)
	if n, renewed := w.due(time.Millisecond); n != 32 || renewed {
		t.Fatalf("%d with room for 32, renewed %v", n, renewed)
	}
	if n, renewed := w.due(2*time.Millisecond + stale); n != 32 || !renewed || w.underWay != 0 {
		t.Fatalf("%d after a loss, renewed %v, %d under way", n, renewed, w.underWay)
	}
}
