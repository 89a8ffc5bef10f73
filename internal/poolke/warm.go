package poolke

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"ntp-daemon/internal/printable"
)

// How time sources are looked after (docs/rules/pool.md#warm).
const (
	lookInterval = 30 * time.Second // between two looks at a time source, a fifth more or less
	retryLook    = 5 * time.Second  // after a failure, until its breaker opens
	sweep        = time.Second      // how often it is seen who is due
	soonest      = time.Second      // between two looks that users' exchanges asked for
	looksAtOnce  = 64               // of a pool with many time sources
)

// warmLoop owns the schedule by which each time source is looked at, so that users wait for none of it: the look asks for
// the lists, over the connection that users get next, which is opened or replaced if need be; it asks for names; it is
// what an open breaker waits for; and it comes early after a failure, and when a time source has ended the last
// connection. cancel ends the pool after a bug.
//
// With the first program every connection was opened for a user, and its log tells so. Unless the configuration says
// otherwise, looks therefore begin behind the first user; in a process that takes over from another one at once.
func (p *Pool) warmLoop(ctx context.Context, cancel context.CancelCauseFunc) {
	if !p.snap.Load().cfg.ConnectAtStart && p.deps.Running == nil {
		select {
		case <-ctx.Done():
			return
		case <-p.begun:
		}
	}
	var looks sync.WaitGroup
	defer looks.Wait()
	places := make(chan struct{}, looksAtOnce)
	ticker := time.NewTicker(sweep)
	defer ticker.Stop()
	for {
		for _, u := range p.snap.Load().upstreams {
			if !u.takeDue(time.Now()) {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case places <- struct{}{}:
			}
			looks.Go(func() {
				defer func() { <-places }()
				p.guard(cancel, func() { p.look(ctx, u) })
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-p.attention:
		}
	}
}

// attend has the schedule looked at now. It never waits.
func (p *Pool) attend() {
	select {
	case p.attention <- struct{}{}:
	default:
	}
}

// look is one look at a time source.
func (p *Pool) look(ctx context.Context, u *upstream) {
	defer func() { u.rest(time.Now()) }()
	if !u.claim() {
		return // a user has it asked at this moment
	}
	s, err := u.member.Check(ctx)
	u.answer(s, err, time.Now())
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		p.recordFailure(u, err)
		return
	}
	names, err := u.member.Names(ctx, s)
	if err != nil {
		p.log.Debug().Str("server", u.backend.String()).Str("e", printable.Text(err.Error())).Msg("time source did not tell its names")
		return
	}
	u.mu.Lock()
	u.names = names
	u.mu.Unlock()
	p.mu.Lock()
	p.aliases.State(u.backend, names)
	p.mu.Unlock()
}

// refill has the last connection replaced if a user's exchange was the end of it.
func (p *Pool) refill(u *upstream) {
	if !u.member.Bare() {
		return
	}
	u.mu.Lock()
	u.soon(time.Now())
	u.mu.Unlock()
	p.attend()
}

// takeDue reports whether a look is due, which the caller then takes.
func (u *upstream) takeDue(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.checking || now.Before(u.due) {
		return false
	}
	u.checking = true
	return true
}

// claim makes the caller the one who asks the question; false if somebody does already.
func (u *upstream) claim() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.asking != nil {
		return false
	}
	u.asking = make(chan struct{})
	return true
}

// soon moves the next look up, to the end of the pause if the breaker is open. The caller holds the lock.
func (u *upstream) soon(now time.Time) {
	next := now
	if u.breaker.open() {
		next = u.breaker.until
	}
	if earliest := u.looked.Add(soonest); next.Before(earliest) {
		next = earliest
	}
	if next.Before(u.due) {
		u.due = next
	}
}

// rest ends a look and sets the time of the next one.
func (u *upstream) rest(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.checking, u.looked = false, now
	switch {
	case u.breaker.open():
		u.due = u.breaker.until
	case u.doubt:
		u.due = now.Add(retryLook)
	case u.member.Bare(): // a user's exchange was the end of the last connection meanwhile
		u.due = now.Add(soonest)
	default:
		interval := min(lookInterval, u.ttl/2)
		u.due = now.Add(interval*4/5 + time.Duration(rand.Int64N(int64(interval)*2/5+1)))
	}
}
