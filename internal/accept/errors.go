package accept

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

const (
	// firstPause and lastPause bound the doubling wait after an error that more of the same calls would not
	// cure: with the descriptor table full, accept fails at once and the loop would spin.
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
	// grace is how long a new connection may be silent before it is given up for others: two round trips around
	// the world. Without it the newest one would pay for each error, while its first bytes are on their way.
	grace = 500 * time.Millisecond
	// firstWord is how long a connection may be silent when the loop stops: a first packet that was lost comes again
	// after a second (RFC 6298 §2.1).
	firstWord = time.Second
	// queueTime is how long Accept waits for one more of those that wait when the loop stops, which is there at once or not
	// at all, and queueLength how many are taken: Linux's net.core.somaxconn. All that takes queueTotal at most: there can be
	// one more all the time.
	queueTime   = 10 * time.Millisecond
	queueTotal  = 500 * time.Millisecond
	queueLength = 4096
)

// remedy is what an accept error calls for.
type remedy uint8

const (
	again  remedy = iota // the connection is gone, the listener is fine
	pause                // the machine is short of something; wait, free what is idle, go on
	giveUp               // the listener itself is unusable
)

// classify says what to do about an error of Accept. Whatever is not known to be final is waited out: a
// server that ends because of one odd error is the worse failure (CVE-2024-38528).
func classify(err error) remedy {
	switch {
	case errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EBADF), errors.Is(err, syscall.EINVAL),
		errors.Is(err, syscall.ENOTSOCK):
		return giveUp
	case errors.Is(err, syscall.ECONNABORTED), errors.Is(err, syscall.EINTR), errors.Is(err, syscall.ECONNRESET):
		return again
	}
	// EMFILE, ENFILE, ENOBUFS and ENOMEM by name; errors of the new connection's network that Linux reports
	// here (accept(2)) and firewalls' EPERM by default.
	return pause
}

// outOfResources reports whether the machine is short of what each open connection holds.
func outOfResources(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// IsTimeout tells a deadline, of a connection or a context, from other errors.
func IsTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// nextPause doubles the wait.
func nextPause(d time.Duration) time.Duration {
	if d == 0 {
		return firstPause
	}
	return min(2*d, lastPause)
}
