package logging

import (
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// maxLimited bounds the memory of a Limiter: keys may be chosen by strangers (addresses, names).
const maxLimited = 256

// Limiter keeps repeated events from filling the log: the first event of a kind is written at its level, its repeats at
// debug, and the next one after the interval at its level again, with the number of repeats. It is safe for concurrent
// use.
type Limiter struct {
	every time.Duration
	mu    sync.Mutex
	kinds map[string]*kind
}

// kind is what is known of one kind of event.
type kind struct {
	written  time.Time // when one was last written at its level
	repeated uint64    // since then
}

// NewLimiter lets one event of a kind through per interval.
func NewLimiter(every time.Duration) *Limiter {
	return &Limiter{every: every, kinds: make(map[string]*kind)}
}

// Allow reports whether an event of this kind may be written at its level now, and how many were not since the last one.
func (l *Limiter) Allow(now time.Time, key string) (repeated uint64, allowed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[key]
	if k == nil {
		if len(l.kinds) >= maxLimited {
			l.evict()
		}
		l.kinds[key] = &kind{written: now}
		return 0, true
	}
	if now.Sub(k.written) < l.every {
		k.repeated++
		return k.repeated, false
	}
	repeated = k.repeated
	*k = kind{written: now}
	return repeated, true
}

// Event starts an event of the given level if the limiter allows it, with a field "repeated" where some were
// not; otherwise one of level debug.
func (l *Limiter) Event(log *zerolog.Logger, level zerolog.Level, now time.Time, key string) *zerolog.Event {
	repeated, allowed := l.Allow(now, key)
	if !allowed {
		return log.Debug()
	}
	e := log.WithLevel(level)
	if repeated > 0 {
		e = e.Uint64("repeated", repeated)
	}
	return e
}

// evict forgets the kind that was written longest ago.
func (l *Limiter) evict() {
	var oldest string
	first := true
	for key, k := range l.kinds {
		if first || k.written.Before(l.kinds[oldest].written) {
			oldest, first = key, false
		}
	}
	delete(l.kinds, oldest)
}
