package member

import (
	"context"
	"time"
)

// connection returns a kept connection that is still alive, or a fresh one.
func (m *Client) connection(ctx context.Context, reuse bool) (*conn, error) {
	if reuse {
		if c := m.takeIdle(time.Now()); c != nil {
			return c, nil
		}
	}
	return m.connect(ctx)
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
		if now.Sub(c.used) < idleTime && now.Sub(c.born) < maxAge && c.reusable() {
			c.reused = true
			return c
		}
		c.close()
	}
}

// release ends a request: the connection stays open if the time source said so.
func (m *Client) release(c *conn, keep bool) {
	if !keep {
		c.close()
		return
	}
	c.kept = true
	m.put(c)
}

// put keeps a connection for the next request, unless it is spoilt or there are enough.
func (m *Client) put(c *conn) {
	if !m.stack(c, time.Now()) {
		c.close()
	}
}

// stack is put's decision, made under the lock; closing may have to wait for the network.
func (m *Client) stack(c *conn, now time.Time) bool {
	c.used = now
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || c.reader.Surplus() > 0 || len(m.idle) >= maxIdle || now.Sub(c.born) >= maxAge {
		return false
	}
	m.idle = append(m.idle, c)
	return true
}
