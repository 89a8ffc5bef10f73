package accept

import (
	"context"
	"time"
)

// parking is what the connection of a thread waits for.
type parking uint8

const (
	notParked parking = iota
	forPeer           // bytes, or room for them
	forTurn           // Resume, or the time it named itself
)

// Park waits for Resume and gives the thread to other connections meanwhile. It fails with os.ErrDeadlineExceeded at until,
// if that is not zero, and with net.ErrClosed when the loop takes the connection away. It is for the handler of a
// connection that has Turns.
func (c *Conn) Park(until time.Time) error { return c.threaded().park(forTurn, until) }

// Resume lets the handler that waits in Park go on, and returns when it waits again or has ended. It is for Turns.
func (c *Conn) Resume() { c.threaded().resume() }

// Sleep waits; false if ctx ended meanwhile.
func (c *Conn) Sleep(ctx context.Context, d time.Duration) bool {
	if tc := c.threaded(); tc != nil {
		_ = tc.park(forTurn, time.Now().Add(d)) // what else ends it, the next read tells
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// Patient lets the end of ctx, which is the one given to the handler, end the reads of a connection that waits for a peer
// who may be silent for long: they fail with a timeout. over ends that; whatever began before is in effect then.
func (c *Conn) Patient(ctx context.Context) (over func()) {
	if tc := c.threaded(); tc != nil {
		tc.patient = true
		if ctx.Err() != nil {
			_ = c.SetReadDeadline(time.Unix(1, 0))
		}
		return func() { tc.patient = false }
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = c.SetReadDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-done // else it could cut off the request that just begins to arrive
		}
	}
}

// Gather keeps what is written until End, so that the last messages and the end of our stream are one segment, or as few as
// there can be.
func (c *Conn) Gather() {
	c.gathering = true
	if tc := c.threaded(); tc != nil && c.gathered == nil {
		c.gathered = tc.borrow()
	}
}

// End writes what was gathered, until the time, calls sent when that has worked, and ends our stream. On a thread's
// connection the last segment goes out with the end of our stream: the peer sees it after sent has returned.
func (c *Conn) End(until time.Time, sent func()) error {
	c.gathering = false
	b := c.gathered
	c.gathered = nil
	if err := c.SetWriteDeadline(until); err != nil {
		return err
	}
	write := c.Conn.Write
	if tc := c.threaded(); tc != nil {
		write = tc.writeMore
		defer tc.giveBack(b)
	}
	if len(b) > 0 {
		if _, err := write(b); err != nil {
			return err
		}
	}
	sent()
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // a connection that has ended meanwhile
	}
	return nil
}

// Write writes, or gathers.
func (c *Conn) Write(b []byte) (int, error) {
	if c.gathering {
		c.gathered = append(c.gathered, b...)
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// abort closes the connection under its handler.
func (c *Conn) abort() {
	if tc := c.threaded(); tc != nil {
		tc.abort()
		return
	}
	_ = c.Conn.Close()
}
