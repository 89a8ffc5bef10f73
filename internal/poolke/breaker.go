package poolke

import "time"

// The circuit breaker of one time source (docs/rules/pool.md#breaker).
const (
	breakerFailures = 3                 // failures in a row that open it
	breakerFirst    = 10 * time.Second  // how long it stays open the first time
	breakerMost     = 300 * time.Second // the doubling ends here; closed for as long, and the doubling begins anew

	breakerWindow = 60 * time.Second // within it, a share of failures opens it as well:
	breakerShare  = 5                // more than a fifth
	breakerLeast  = 10               // of so many exchanges at least
	breakerParts  = 6                // pieces in which the window moves on
)

// breaker keeps users from waiting for a time source that has just failed others. It holds no lock: its upstream does.
//
//	closed ── failures in a row, or their share ──► open ── pause over, a question for lists is answered ──► trial
//	   ▲                                             ▲                                                         │
//	   │                                             └─────────── one failure, the pause is doubled ───────────┤
//	   └───────────────────────────────────── a user is served ────────────────────────────────────────────────┘
//
// The question is asked by the pool itself (warm.go), so no user is sent to find out.
type breaker struct {
	failures int           // in a row
	pause    time.Duration // length of the last opening; 0 before the first, and when it has been closed for long
	until    time.Time     // the pause is over then
	isOpen   bool
	trial    bool // one failure opens it again

	window [breakerParts]outcomesOfPart // by time modulo breakerWindow
}

// outcomesOfPart are the exchanges of one part of the window.
type outcomesOfPart struct {
	part      int64 // which one, counted from the epoch
	good, bad int
}

// open reports whether users should be spared this time source.
func (b *breaker) open() bool { return b.isOpen }

// due reports whether the pause is over, so that the question may be asked.
func (b *breaker) due(now time.Time) bool { return b.isOpen && !now.Before(b.until) }

// succeed notes a user served, which closes the breaker.
func (b *breaker) succeed(now time.Time) {
	b.count(now).good++
	b.isOpen, b.trial, b.failures = false, false, 0
	if now.Sub(b.until) >= breakerMost {
		b.pause = 0
	}
}

// answered notes that the time source answered a question for lists, which is no user served: an open breaker is on
// trial from then on, a closed one stays as it is.
func (b *breaker) answered(now time.Time) {
	if b.isOpen {
		b.isOpen, b.trial, b.until = false, true, now
		b.window = [breakerParts]outcomesOfPart{}
	}
}

// fail counts a failure and reports whether it opened the breaker that was closed.
func (b *breaker) fail(now time.Time) (opened bool) {
	b.failures++
	b.count(now).bad++
	switch {
	case b.isOpen && !b.due(now):
		return false // users already under way do not lengthen the pause
	case !b.isOpen && !b.trial && b.failures < breakerFailures && !b.tooMany(now):
		return false
	}
	opened = !b.isOpen
	b.pause = min(max(2*b.pause, breakerFirst), breakerMost)
	b.until = now.Add(b.pause)
	b.isOpen, b.trial = true, false
	return opened
}

// count is where the window counts now.
func (b *breaker) count(now time.Time) *outcomesOfPart {
	part := now.UnixNano() / int64(breakerWindow/breakerParts)
	p := &b.window[part%breakerParts]
	if p.part != part {
		*p = outcomesOfPart{part: part}
	}
	return p
}

// tooMany reports whether more failed within the window than may.
func (b *breaker) tooMany(now time.Time) bool {
	oldest := now.UnixNano()/int64(breakerWindow/breakerParts) - breakerParts + 1
	good, bad := 0, 0
	for _, p := range b.window {
		if p.part >= oldest {
			good, bad = good+p.good, bad+p.bad
		}
	}
	return good+bad >= breakerLeast && bad*breakerShare > good+bad
}
