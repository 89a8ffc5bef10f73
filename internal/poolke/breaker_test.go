package poolke

import (
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	now := time.Unix(1000, 0)
	var b breaker
	for range breakerFailures - 1 {
		if b.fail(now) || b.open(now) {
			t.Fatal("open before its time")
		}
	}
	if !b.fail(now) || !b.open(now) {
		t.Fatal("not open after three failures in a row")
	}
	if b.fail(now) {
		t.Error("users already under way must not lengthen the pause")
	}
	for _, want := range []time.Duration{20, 40, 80, 160, 300, 300} {
		now = b.until
		if b.open(now) {
			t.Fatal("still open after the pause")
		}
		b.fail(now)
		if got := b.until.Sub(now); got != want*time.Second {
			t.Errorf("pause of %v, want %v", got, want*time.Second)
		}
	}
	b.succeed()
	if b.open(now) || b.fail(now) {
		t.Error("a success does not close the breaker")
	}
}
