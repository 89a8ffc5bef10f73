package poolke

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts/member"
	"ntp-daemon/internal/pool"
)

// upstream is what the pool knows of one time source from speaking to it: its lists, believed for a
// while, and its breaker. Users share it.
type upstream struct {
	backend *pool.Backend
	member  *member.Client
	ttl     time.Duration

	mu      sync.Mutex // guards what follows; never held while the network is waited for
	support member.Support
	until   time.Time     // support is believed until then
	asking  chan struct{} // closed when the question under way is answered; nil without one
	lastErr error         // of the last question
	breaker breaker
	fault   string    // class of the latest failure, "" before the first
	failed  time.Time // when that was

	tally tally // users' exchanges with this time source
}

// supports returns the time source's lists, from memory if they are fresh. Of several users who need
// them at once one asks and the others wait for his result. asked says that it was this caller.
func (u *upstream) supports(ctx context.Context, connected func()) (s member.Support, asked bool, err error) {
	for {
		u.mu.Lock()
		if time.Now().Before(u.until) {
			s = u.support
			u.mu.Unlock()
			return s, false, nil
		}
		wait := u.asking
		if wait == nil {
			u.asking = make(chan struct{})
			u.mu.Unlock()
			s, err = u.member.Supports(ctx, connected)
			u.answer(s, err)
			return s, true, err
		}
		u.mu.Unlock()
		select {
		case <-ctx.Done():
			return member.Support{}, false, ctx.Err()
		case <-wait:
		}
		u.mu.Lock()
		err = u.lastErr
		u.mu.Unlock()
		// The one who asked may just have had little time left; that is not the others' result.
		if err != nil && !outOfTime(err) {
			return member.Support{}, false, err
		}
	}
}

// answer enters the result of a question and wakes those who wait for it. Life times vary by a tenth
// so that the time sources of a pool are not all asked at once for ever.
func (u *upstream) answer(s member.Support, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lastErr = err
	if err == nil {
		jitter := time.Duration(rand.Int64N(int64(u.ttl)/5+1)) - u.ttl/10
		u.support, u.until = s, time.Now().Add(u.ttl+jitter)
	}
	close(u.asking)
	u.asking = nil
}

// open reports whether the breaker asks to leave the time source alone.
func (u *upstream) open(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.breaker.open(now)
}

// succeed notes a user served; true if the time source was in trouble before.
func (u *upstream) succeed() (recovered bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	recovered = u.breaker.pause > 0
	u.breaker.succeed()
	return recovered
}

// fail notes a failure, after which nothing of what was known is believed. True if the breaker opened.
func (u *upstream) fail(now time.Time, cause error) (opened bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.until = time.Time{}
	u.fault, u.failed = faultClass(cause), now
	return u.breaker.fail(now)
}

// outOfTime reports an error that says nothing about the time source: the time was up, or the user left.
func outOfTime(err error) bool { return accept.IsTimeout(err) || errors.Is(err, context.Canceled) }

// same reports whether two entries mean the same time source with the same rights, so that what is known of it
// survives a reload.
func same(a, b *pool.Backend) bool {
	if a.Domain != b.Domain || a.Port != b.Port || a.Dialect != b.Dialect || !slices.Equal(a.Addresses, b.Addresses) ||
		!slices.Equal(a.Names, b.Names) || len(a.Tokens) != len(b.Tokens) {
		return false
	}
	for i := range a.Tokens {
		if !a.Tokens[i].Equal(b.Tokens[i]) {
			return false
		}
	}
	return true
}
