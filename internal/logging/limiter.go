package logging

import (
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// maxLimited bounds the memory of a Limiter: keys may be chosen by strangers (addresses, names).
const maxLimited = 256

// Limiter keeps repeated events from filling the log: the first of a kind is loud, its repeats are quiet, and
// after the interval the next one is loud again and tells how many were not. It is safe for concurrent use.
type Limiter struct {
	every time.Duration
	mu    sync.Mutex
	kinds map[string]*kind
}

// kind is what is known of one kind of event.
type kind struct {
	loud     time.Time // when it was last loud
	repeated uint64    // since then
}

// NewLimiter lets one event of a kind through per interval.
func NewLimiter(every time.Duration) *Limiter {
	return &Limiter{every: every, kinds: make(map[string]*kind)}
}

// Allow reports whether an event of this kind may be loud now, and how many were quiet since the last loud one.
func (l *Limiter) Allow(now time.Time, key string) (repeated uint64, loud bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[key]
	if k == nil {
		if len(l.kinds) >= maxLimited {
			l.evict()
		}
		l.kinds[key] = &kind{loud: now}
		return 0, true
	}
	if now.Sub(k.loud) < l.every {
		k.repeated++
		return k.repeated, false
	}
	repeated = k.repeated
	*k = kind{loud: now}
	return repeated, true
}

// Event starts an event of the given level if the limiter allows it, with a field "repeated" where some were
// not; otherwise one of level debug.
func (l *Limiter) Event(log *zerolog.Logger, level zerolog.Level, now time.Time, key string) *zerolog.Event {
	repeated, loud := l.Allow(now, key)
	if !loud {
		return log.Debug()
	}
	e := log.WithLevel(level)
	if repeated > 0 {
		e = e.Uint64("repeated", repeated)
	}
	return e
}

// evict forgets the kind that was loud longest ago.
func (l *Limiter) evict() {
	var oldest string
	first := true
	for key, k := range l.kinds {
		if first || k.loud.Before(l.kinds[oldest].loud) {
			oldest, first = key, false
		}
	}
	delete(l.kinds, oldest)
}
