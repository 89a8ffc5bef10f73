package member

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// connection returns a connection for one request. A kept one that is alive comes first. Is there none, a fresh one is
// opened, which asks for Keep Alive if it has one of the places for kept connections. Are they all taken by other
// requests, it waits for one, but not for longer than a handshake would take: then the request has a connection to
// itself, which ends with it and takes nothing from what the time source keeps for pools. Of those there are maxAlone at one
// time: a pool that is behind with its work would else open one for each user who waits, which costs more than the kept ones
// need for all of them, and drives the time source to close them. fresh passes the idle ones over.
//
// Whoever has the connection ends with put, release or drop, which give the place back.
func (m *Client) connection(ctx context.Context, fresh bool) (*conn, error) {
	placed, err := m.place(ctx)
	if err != nil {
		return nil, err
	}
	if placed && !fresh {
		if c := m.takeIdle(time.Now()); c != nil {
			return c, nil
		}
	}
	c, err := m.connect(ctx)
	if err != nil {
		m.leave(placed, !placed)
		return nil, err
	}
	c.placed, c.alone = placed, !placed
	return c, nil
}

// place takes one of the places for kept connections that are in use, or of those for a connection that serves one request
// alone; false says that it is such a one.
func (m *Client) place(ctx context.Context) (kept bool, err error) {
	places := m.places
	if m.OneShot(time.Now()) {
		places = nil
	}
	select {
	case places <- struct{}{}:
		return true, nil
	default:
	}
	if places != nil {
		timer := time.NewTimer(max(m.meter.connect.value(), leastPatience))
		defer timer.Stop()
		select {
		case places <- struct{}{}:
			return true, nil
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	select {
	case places <- struct{}{}:
		return true, nil
	case m.alone <- struct{}{}:
		return false, nil
	case <-ctx.Done():
		return false, fmt.Errorf("%w to %s: %w", ErrCrowded, m, context.Cause(ctx))
	}
}

// leave gives the place back, of whichever kind it is, if any.
func (m *Client) leave(placed, alone bool) {
	switch {
	case placed:
		<-m.places
	case alone:
		<-m.alone
	}
}

// takeIdle returns the kept connection that was used last, which keeps hot ones hot and lets the
// others idle out. Those found too old or dead are closed.
func (m *Client) takeIdle(now time.Time) *conn {
	for {
		m.mu.Lock()
		n := len(m.idle)
		if n == 0 {
			m.mu.Unlock()
			return nil
		}
		c := m.idle[n-1]
		m.idle = m.idle[:n-1]
		m.mu.Unlock()
		if m.lasts(c, now) && c.reusable() {
			c.reused, c.placed = true, true
			return c
		}
		c.close()
	}
}

// lasts reports whether an idle connection is neither too old nor idle for too long at that moment.
func (m *Client) lasts(c *conn, at time.Time) bool {
	return at.Sub(c.used) < m.cfg.IdleTime && at.Before(c.end)
}

// lifetime is how long a connection is kept, the last tenth left to chance: a pool's connections need not all end at once.
func (m *Client) lifetime() time.Duration {
	return m.cfg.MaxAge - time.Duration(rand.Int64N(int64(m.cfg.MaxAge/10)+1))
}

// lookAhead is how long before its end a connection is replaced.
func (m *Client) lookAhead() time.Duration { return min(lookAhead, m.cfg.IdleTime/4, m.cfg.MaxAge/10) }

// release ends a request that was answered: the connection stays open if the time source granted Keep Alive. A time
// source that does not grant it to what asks first on a connection is counted (once).
func (m *Client) release(c *conn, granted bool) {
	switch {
	case !c.placed:
		granted = false
	case granted || !c.reused:
		m.granted(granted, time.Now())
	}
	if !granted {
		m.drop(c)
		return
	}
	c.kept = true
	m.put(c)
}

// drop ends a request and its connection.
func (m *Client) drop(c *conn) {
	c.close()
	m.leave(c.placed, c.alone)
}

// put keeps a connection for the next request, unless it is spoilt or there are enough that last longer.
func (m *Client) put(c *conn) {
	kept, instead := m.stack(c, time.Now())
	if instead != nil {
		instead.close()
	}
	if !kept {
		m.drop(c)
		return
	}
	<-m.places
}

// stack is put's decision, made under the lock; closing, also of the one that makes room, may have to wait for the network.
// Without that a connection near its end could not be replaced while there is no other place.
func (m *Client) stack(c *conn, now time.Time) (kept bool, instead *conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !c.placed || m.closed || c.reader.Surplus() > 0 || !now.Before(c.end) {
		return false, nil
	}
	if len(m.idle) >= cap(m.places) {
		first := 0
		for i, other := range m.idle {
			if other.end.Before(m.idle[first].end) {
				first = i
			}
		}
		if instead = m.idle[first]; !instead.end.Before(c.end) {
			return false, nil
		}
		m.idle = slices.Delete(m.idle, first, first+1)
	}
	c.used = now
	m.idle = append(m.idle, c)
	return true, instead
}

// Bare reports whether no connection is kept although the time source lets it be: the next user would have to wait for
// one.
func (m *Client) Bare() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.idle) == 0 && len(m.places) == 0 && !m.closed && !time.Now().Before(m.oneShot)
}

// tidy closes the kept connections below the one that is used next, if they are dead or will have to be closed before
// the next look at them. Each is taken away for that moment; the topmost stays for users.
func (m *Client) tidy(now time.Time) {
	for range cap(m.places) {
		m.mu.Lock()
		if len(m.idle) < 2 {
			m.mu.Unlock()
			return
		}
		c := m.idle[0]
		m.idle = append(m.idle[:0], m.idle[1:]...)
		m.mu.Unlock()
		if !m.lasts(c, now.Add(m.lookAhead())) || !c.reusable() {
			c.close()
			continue
		}
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			c.close()
			return
		}
		m.idle = append([]*conn{c}, m.idle...)
		m.mu.Unlock()
		return // those above were used later
	}
}

// ending reports whether the connection that is used next will have to be closed before the next look at it.
func (m *Client) ending(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.idle)
	return n > 0 && !m.lasts(m.idle[n-1], now.Add(m.lookAhead()))
}
