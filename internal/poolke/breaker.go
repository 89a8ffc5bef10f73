package poolke

import "time"

// The circuit breaker of one time source (docs/rules/pool.md#breaker).
const (
	breakerFailures = 3                 // failures in a row that open it
	breakerFirst    = 10 * time.Second  // how long it stays open the first time
	breakerMost     = 300 * time.Second // the doubling ends here
)

// breaker keeps users from waiting for a time source that has just failed others. It holds no lock:
// its upstream does.
type breaker struct {
	failures int           // in a row
	pause    time.Duration // length of the last opening, 0 before the first
	until    time.Time     // open until then
}

// open reports whether users should be spared this time source now. When the pause is over, the next
// user's capability request is the trial, and one more failure opens it again for twice as long.
func (b *breaker) open(now time.Time) bool { return now.Before(b.until) }

// succeed closes the breaker.
func (b *breaker) succeed() { *b = breaker{} }

// fail counts a failure and reports whether it opened the breaker.
func (b *breaker) fail(now time.Time) bool {
	b.failures++
	if b.failures < breakerFailures || b.open(now) {
		return false
	}
	b.pause = min(max(2*b.pause, breakerFirst), breakerMost)
	b.until = now.Add(b.pause)
	return true
}
