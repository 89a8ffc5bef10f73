package accept

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
)

// WatchReset looks after a connection on which nothing is expected from the peer for a while: it calls lost, once
// and from a goroutine of its own, when the peer resets the connection, TCP gives it up or the loop closes it. A
// peer that only ended its own stream (FIN) is still owed an answer and does not count; that it closed instead, and
// will reset when the answer comes, cannot be told from this side. Nothing is read, so whatever the peer sends
// stays where it is.
//
// stop ends the watch and returns what was seen, nil if the connection is well; lost is not called later. Until then
// nobody may read, because a read would wait for the watch; afterwards the read deadline is in the past. Where the
// system cannot tell, nothing is ever seen.
func (c *Conn) WatchReset(lost func()) (stop func() error) {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return func() error { return nil }
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return func() error { return nil }
	}
	_ = c.SetReadDeadline(time.Time{}) // fails on a closed connection only, which the watch notices
	var seen error
	done := make(chan struct{})
	// Owns seen until done is closed; stops with the deadline that stop sets, or with the connection.
	go func() {
		defer close(done)
		if err := awaitReset(raw); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			seen = err
			lost()
		}
	}()
	return func() error {
		_ = c.SetReadDeadline(time.Unix(1, 0))
		<-done
		return seen
	}
}

// WatchResetAfter is WatchReset for waits most of which are short: the watch, and the goroutine that it takes, begin only
// when the wait has lasted for d. Before that the socket is looked at once, by stop, which may be called again and says the
// same.
func (c *Conn) WatchResetAfter(d time.Duration, lost func()) (stop func() error) {
	begun := make(chan func() error, 1)
	timer := time.AfterFunc(d, func() { begun <- c.WatchReset(lost) })
	return sync.OnceValue(func() error {
		if timer.Stop() {
			return c.Reset()
		}
		return (<-begun)()
	})
}

// Reset looks whether the peer has reset the connection, TCP has given it up or the loop has closed it, and returns that as
// an error, once. It neither reads nor waits. Where the system cannot tell, nothing is ever seen.
func (c *Conn) Reset() error {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return pendingReset(raw)
}
