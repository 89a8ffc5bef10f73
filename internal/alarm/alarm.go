package alarm

import (
	"sync"
	"time"
)

// Alarm holds at most one function that is to run, and when. It may be used by several goroutines.
type Alarm struct {
	mu   sync.Mutex
	f    func()    // nil: nothing is to run
	due  time.Time // monotonic
	bell bell
}

// bell is a timer that calls ring some time after it was set, once, and may do so too early or when nothing is due.
type bell interface {
	set(d time.Duration) // more than 0; replaces what was set before
	silence()
	close()
}

// New returns an Alarm that is not set. Close it.
func New() *Alarm {
	a := &Alarm{}
	a.bell = newBell(a.ring)
	return a
}

// Set lets f run after d, at once if that is not positive, instead of what was to run before. It runs on a goroutine of the
// Alarm's, which it must not hold up.
func (a *Alarm) Set(d time.Duration, f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.f, a.due = f, time.Now().Add(d)
	a.bell.set(max(d, 1))
}

// Stop makes what was set not run, unless it has begun.
func (a *Alarm) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.f = nil
	a.bell.silence()
}

// Close is Stop for good; the Alarm must not be set again.
func (a *Alarm) Close() {
	a.Stop()
	a.bell.close()
}

// ring runs what is due. A ring that was meant for an earlier setting comes too early for the present one.
func (a *Alarm) ring() {
	a.mu.Lock()
	f, left := a.f, time.Until(a.due)
	switch {
	case f == nil:
	case left > 0:
		a.bell.set(left)
		f = nil
	default:
		a.f = nil
	}
	a.mu.Unlock()
	if f != nil {
		f()
	}
}

// runtimeBell is a timer of Go's, for where the kernel has none.
type runtimeBell struct{ *time.Timer }

func newRuntimeBell(ring func()) bell {
	b := runtimeBell{time.AfterFunc(time.Hour, ring)}
	b.Stop()
	return b
}

func (b runtimeBell) set(d time.Duration) { b.Reset(d) }
func (b runtimeBell) silence()            { b.Stop() }
func (b runtimeBell) close()              { b.Stop() }
