package ke

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestBudget is the life of a bucket that holds 600 ms, filled at 60 % of a processor.
func TestBudget(t *testing.T) {
	at := time.Unix(1, 0)
	b := newBudget(60, at)
	for _, row := range []struct {
		name         string
		passed, used time.Duration
		wait         time.Duration // roughly
	}{
		{"what was saved is used at once", 0, 599 * time.Millisecond, 0},
		{"the last of it", 0, 31 * time.Millisecond, 50 * time.Millisecond},
		{"waiting fills it", 40 * time.Millisecond, 0, 10 * time.Millisecond},
		{"and more than fills it", 20 * time.Millisecond, 0, 0},
		{"a long rest fills it no further than to the brim", time.Hour, 660 * time.Millisecond, 100 * time.Millisecond},
		{"a clock that goes back fills nothing", -time.Hour, 0, 100 * time.Millisecond},
		{"a debt is paid back in full, not only what a second brings", 0, 3 * time.Second, 5100 * time.Millisecond},
		{"in the middle of that", 5 * time.Second, 0, 100 * time.Millisecond},
		{"and at its end", 200 * time.Millisecond, 0, 0},
	} {
		at = at.Add(row.passed)
		b.spend(at, row.used, 0)
		if d := b.wait() - row.wait; d < -time.Millisecond || d > time.Millisecond {
			t.Errorf("%s: wait %v, want %v", row.name, b.wait(), row.wait)
		}
	}
}

// TestBudget_Rate: whoever begins something whenever the budget allows it uses the share over any length of time, and no more
// than what the bucket holds and one piece of work beyond it.
func TestBudget_Rate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		percent := rapid.IntRange(1, 100).Draw(t, "percent")
		start := time.Unix(1, 0)
		now, b := start, newBudget(float64(percent), start)
		var total, largest time.Duration
		for range rapid.IntRange(1, 300).Draw(t, "pieces") {
			if wait := b.wait(); wait > 0 {
				now = now.Add(wait)
				b.spend(now, 0, 0)
				if b.wait() != 0 {
					t.Fatalf("still %v after the wait", b.wait())
				}
			}
			used := time.Duration(rapid.IntRange(1, 20_000_000).Draw(t, "used"))
			now = now.Add(used)
			b.spend(now, used, 0)
			total, largest = total+used, max(largest, used)
		}
		most := time.Duration(float64(percent)/100*float64(now.Sub(start)+budgetSpan)) + largest + time.Millisecond
		if total > most {
			t.Fatalf("%v in %v, at most %v", total, now.Sub(start), most)
		}
	})
}

// TestBudget_OtherWork: what is not held back is charged in full while it is no more than half of the share; beyond that it
// leaves the other half to handshakes, however much there is and however long it goes on.
func TestBudget_OtherWork(t *testing.T) {
	for _, row := range []struct {
		name string
		rest time.Duration // in each 10 ms, of which the share is 5
		want float64       // of a processor for turns
	}{
		{"none", 0, 0.5},
		{"as much as of an ordinary exchange", 2 * time.Millisecond, 0.3},
		{"all of the processor", 10 * time.Millisecond, 0.25},
		{"a thread with a past", time.Hour, 0.25},
	} {
		now := time.Unix(1, 0)
		b := newBudget(50, now)
		var turns, longest, waited time.Duration
		const step, steps = 10 * time.Millisecond, 10_000
		for range steps {
			now = now.Add(step)
			var turn time.Duration
			if waited += step; b.wait() == 0 {
				turn, waited = step, 0
			}
			b.spend(now, turn, row.rest)
			turns, longest = turns+turn, max(longest, waited)
		}
		if got := float64(turns) / float64(steps*step); got < row.want-0.02 || got > row.want+0.02 {
			t.Errorf("%s: turns took %.3f, want %.3f", row.name, got, row.want)
		}
		if longest > budgetSpan {
			t.Errorf("%s: nothing could begin for %v", row.name, longest)
		}
	}
}
