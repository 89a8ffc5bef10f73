package assoc

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
)

// A panic is a bug of ours (row L09). One that a reply brought about costs that reply, or that key exchange: strangers
// must not be able to end the daemon. Any other leaves an association or a supervisor in a state that nobody knows,
// and ends the daemon in order.

// panicQuiet is the least time between two loud lines of one supervisor about such replies, or such searches.
const panicQuiet = time.Minute

// errPanicked says that a datagram was lost to a panic, which has been logged.
var errPanicked = errors.New("panic while the reply was handled")

// bug describes a panic without the value, which may hold what a stranger sent; the runtime's own values are indices
// and types.
func bug(p any) error {
	if err, ok := p.(runtime.Error); ok {
		return fmt.Errorf("bug: panic: %w", err)
	}
	return fmt.Errorf("bug: panic with a %T", p)
}

// logBug logs err of bug with the place where it happened; call it from the deferred function that recovered.
func logBug(ev *zerolog.Event, err error, msg string) {
	ev.Str("panic", err.Error()).Bytes("stack", debug.Stack()).Msg(msg)
}

// contain is deferred by what works on one datagram: after a panic *err says that it is lost.
func (t *task) contain(err *error) {
	if p := recover(); p != nil {
		*err = errPanicked
		logBug(t.quiet.Event(&t.log, zerolog.ErrorLevel, time.Now(), "reply"), bug(p), "bug: reply dropped after a panic")
	}
}

// contain is deferred by a look-up or a key exchange: after a panic *err says that it has failed.
func (s *supervisor) contain(err *error) {
	if p := recover(); p != nil {
		*err = bug(p)
		logBug(s.quiet.Event(&s.log, zerolog.ErrorLevel, time.Now(), "search"), *err, "bug: search ended by a panic")
	}
}

// failOnPanic is deferred by the goroutine of a task: a panic ends the supervisor, and with it the daemon.
func (s *supervisor) failOnPanic() {
	if p := recover(); p != nil {
		err := bug(p)
		logBug(s.log.Error(), err, "bug: stopping after a panic")
		select {
		case s.broken <- fmt.Errorf("source task: %w", err):
		default: // another task was faster
		}
	}
}
