package poolke

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts/member"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/poolmonitor"
	"ntp-daemon/internal/secret"
)

// upstream is what the pool knows of one time source from speaking to it: its lists and names, whether it can be relied
// on, and the connections to it. Users share it. warm.go keeps it up to date, so a user asks for lists only before the
// first answer, or when the time source has failed and nobody better is left.
type upstream struct {
	backend *pool.Backend
	member  *member.Client
	ttl     time.Duration
	verdict atomic.Pointer[poolmonitor.Verdict] // of the monitor, its only writer; nil: not monitored

	mu      sync.Mutex // guards what follows; never held while the network is waited for
	support member.Support
	learned time.Time     // when support was told
	until   time.Time     // support is believed until then
	names   []string      // that it says it hands out; nil: it did not say
	asking  chan struct{} // closed when the question under way is answered; nil without one
	lastErr error         // of the last question
	doubt   bool          // it failed after its last answer to a question, which is due now
	breaker breaker
	fault   string    // class of the latest failure, "" before the first
	failed  time.Time // when that was

	marks    servedMarks
	due      time.Time // the next look at it (warm.go)
	looked   time.Time // the last one
	checking bool      // it is being looked at

	selected map[string]uint64 // users for whom it was drawn first, by region that it was drawn from

	tally      tally         // users' exchanges with this time source
	oddCookies atomic.Uint64 // answers to them with cookies that not every client can use
}

// believed returns the time source's lists from memory; false if they are not there, too old, or in doubt.
func (u *upstream) believed(now time.Time) (member.Support, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.support, !u.doubt && now.Before(u.until)
}

// supports returns the time source's lists, from memory if they are fresh. Of several users who need
// them at once one asks and the others wait for his result. asked says that it was this caller.
func (u *upstream) supports(ctx context.Context, connected func()) (s member.Support, asked bool, err error) {
	for {
		u.mu.Lock()
		if !u.doubt && time.Now().Before(u.until) {
			s = u.support
			u.mu.Unlock()
			return s, false, nil
		}
		wait := u.asking
		if wait == nil {
			u.asking = make(chan struct{})
			u.mu.Unlock()
			s, err = u.ask(ctx, connected)
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

// ask asks, and wakes those who wait for the answer even if a bug ends it: they would wait for ever.
func (u *upstream) ask(ctx context.Context, connected func()) (s member.Support, err error) {
	err = errBug
	defer func() { u.answer(s, err, time.Now()) }()
	return u.member.Supports(ctx, connected)
}

// answer enters the result of a question and wakes those who wait for it. Life times vary by a tenth
// so that the time sources of a pool are not all asked at once for ever.
func (u *upstream) answer(s member.Support, err error, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lastErr = err
	if err == nil {
		jitter := time.Duration(rand.Int64N(int64(u.ttl)/5+1)) - u.ttl/10
		u.support, u.learned, u.until = s, now, now.Add(u.ttl+jitter)
		u.doubt = false
		u.breaker.answered(now)
	}
	close(u.asking)
	u.asking = nil
}

// open reports whether to leave the time source alone while others are there: it has failed since it was last asked for
// its lists. When it is asked again is the breaker's to say.
func (u *upstream) open() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.doubt
}

// succeed notes a user served; true if the time source was in trouble before.
func (u *upstream) succeed(now time.Time) (recovered bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	recovered = u.breaker.isOpen || u.breaker.trial
	u.breaker.succeed(now)
	u.doubt = false
	return recovered
}

// fail notes a failure: the time source is in doubt until it has answered a question. True if the breaker opened.
func (u *upstream) fail(now time.Time, cause error) (opened bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.doubt = true
	u.fault, u.failed = faultClass(cause), now
	opened = u.breaker.fail(now)
	u.soon(now)
	return opened
}

// rtt is the smoothed time that the time source takes for an answer, 0 before its first.
func (u *upstream) rtt() time.Duration { return u.member.RTT() }

// inflight is how many requests to the time source are under way.
func (u *upstream) inflight() int { return u.member.InFlight() }

// says is which names the time source says it hands out; nil if it does not say.
func (u *upstream) says() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.names
}

// inherit takes over what another upstream knows of the same time source. Its connections, which were opened under other
// certificates or roots, are not taken over; nor is anything believed that was in doubt.
func (u *upstream) inherit(from *upstream) {
	from.mu.Lock()
	defer from.mu.Unlock()
	if from.support.Dialect != record.Cert4000 { // else its answer depends on our certificate
		u.support, u.learned, u.until, u.names = from.support, from.learned, from.until, from.names
	}
	u.doubt, u.breaker, u.fault, u.failed = from.doubt, from.breaker, from.fault, from.failed
	for i := range u.tally {
		u.tally[i].Store(from.tally[i].Load())
	}
	u.oddCookies.Store(from.oddCookies.Load())
	u.marks, u.selected = from.marks, maps.Clone(from.selected)
}

// outOfTime reports an error that says nothing about the time source: the time was up, or the user left.
func outOfTime(err error) bool { return accept.IsTimeout(err) || errors.Is(err, context.Canceled) }

// same reports whether two entries mean the same time source with the same rights, so that what is known of it
// survives a reload. What only decides who gets it (weight, regions, operator, addresses of users that it serves) may
// differ: that is read from the directory, not from the upstream.
func same(a, b *pool.Backend) bool {
	return a.ID == b.ID && a.Domain == b.Domain && a.Port == b.Port && a.Dialect == b.Dialect && a.MaxConnections == b.MaxConnections &&
		slices.Equal(a.Addresses, b.Addresses) && slices.Equal(a.Names, b.Names) && slices.EqualFunc(a.Tokens, b.Tokens, func(x, y secret.Bytes) bool { return x.Equal(y) })
}

// equalShare reports whether users get both entries alike.
func equalShare(a, b *pool.Backend) bool {
	return a.Weight == b.Weight && a.Operator == b.Operator && a.NoIPv4 == b.NoIPv4 && a.NoIPv6 == b.NoIPv6 && slices.Equal(a.Regions, b.Regions)
}
