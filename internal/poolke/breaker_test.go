package poolke

import (
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	now := time.Unix(1000, 0)
	var b breaker
	for range breakerFailures - 1 {
		if b.fail(now) || b.open() {
			t.Fatal("open before its time")
		}
	}
	if !b.fail(now) || !b.open() || b.due(now) {
		t.Fatal("not open after three failures in a row")
	}
	if until := b.until; b.fail(now) || b.until != until {
		t.Error("users already under way must not lengthen the pause")
	}
	for _, want := range []time.Duration{20, 40, 80, 160, 300, 300} {
		now = b.until
		if !b.open() || !b.due(now) {
			t.Fatal("after the pause it is to be asked, and no user to be sent before it has answered")
		}
		if b.fail(now) {
			t.Error("opened, although it was open")
		}
		if got := b.until.Sub(now); got != want*time.Second {
			t.Errorf("pause of %v, want %v", got, want*time.Second)
		}
	}
	b.succeed(now)
	if b.open() || b.fail(now) {
		t.Error("a success does not close the breaker")
	}
}

// TestBreaker_Trial: an answer to the pool's own question lets users back, but not their failures: the first one opens it
// for twice as long. A user served ends the trial, and after a good while the pauses are short again.
func TestBreaker_Trial(t *testing.T) {
	now := time.Unix(1000, 0)
	var b breaker
	b.answered(now)
	if b.trial {
		t.Error("on trial, and never failed")
	}
	opened := func(want time.Duration) {
		t.Helper()
		if !b.open() || b.until.Sub(now) != want {
			t.Errorf("open %v for %v, want %v", b.open(), b.until.Sub(now), want)
		}
	}
	for range breakerFailures {
		b.fail(now)
	}
	opened(breakerFirst)
	now = b.until
	if b.answered(now); b.open() || !b.trial {
		t.Fatal("the answer did not end the pause")
	}
	if !b.fail(now) {
		t.Error("the failure of a user on trial did not open it")
	}
	opened(2 * breakerFirst)
	now = b.until
	b.answered(now)
	b.succeed(now)
	if b.fail(now) {
		t.Error("still on trial after a user was served")
	}
	b.succeed(now.Add(breakerMost))
	now = now.Add(breakerMost)
	for range breakerFailures {
		b.fail(now)
	}
	opened(breakerFirst)
}

// TestBreaker_Share: more than a fifth of at least ten exchanges within a minute, whatever their order.
func TestBreaker_Share(t *testing.T) {
	for _, tt := range []struct {
		story     string
		good, bad int           // before the last one, which is bad; never two bad ones in a row
		age       time.Duration // of all but the last
		want      bool
	}{
		{"two of nine are too few to say", 7, 1, 0, false},
		{"two of ten are a fifth", 8, 1, 0, false},
		{"three of thirteen are more", 10, 2, 0, true},
		{"a minute later they are forgotten", 10, 2, breakerWindow, false},
		{"but not after 40 s", 10, 2, 40 * time.Second, true},
	} {
		var b breaker
		now := time.Unix(6000, 0)
		for i := range tt.good {
			if i < tt.bad && b.fail(now) {
				t.Errorf("%s: opened early", tt.story)
			}
			b.succeed(now)
		}
		if got := b.fail(now.Add(tt.age)); got != tt.want {
			t.Errorf("%s: opened %v", tt.story, got)
		}
		if !tt.want {
			continue
		}
		now = b.until
		if b.answered(now); b.open() || !b.fail(now) {
			t.Errorf("%s: the first failure on trial did not open it again", tt.story)
		}
	}
}
