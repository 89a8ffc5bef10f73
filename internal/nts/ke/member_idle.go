package ke

import (
	"context"
	"time"
)

// connection returns a kept connection that is still alive, or a fresh one.
func (m *Member) connection(ctx context.Context, reuse bool) (*memberConn, error) {
	if reuse {
		if c := m.takeIdle(time.Now()); c != nil {
			return c, nil
		}
	}
	return m.connect(ctx)
}

// takeIdle returns the kept connection that was used last, which keeps hot ones hot and lets the
// others idle out. Those found too old or dead are closed.
func (m *Member) takeIdle(now time.Time) *memberConn {
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
		if now.Sub(c.used) < memberIdleTime && now.Sub(c.born) < memberMaxAge && c.silent() {
			c.reused = true
			return c
		}
		c.close()
	}
}

// release ends a request: the connection stays open if the time source said so.
func (m *Member) release(c *memberConn, keep bool) {
	if !keep {
		c.close()
		return
	}
	c.kept = true
	m.put(c)
}

// put keeps a connection for the next request, unless it is spoilt or there are enough.
func (m *Member) put(c *memberConn) {
	if !m.stack(c, time.Now()) {
		c.close()
	}
}

// stack is put's decision, made under the lock; closing may have to wait for the network.
func (m *Member) stack(c *memberConn, now time.Time) bool {
	c.used = now
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || c.reader.Surplus() > 0 || len(m.idle) >= memberMaxIdle || now.Sub(c.born) >= memberMaxAge {
		return false
	}
	m.idle = append(m.idle, c)
	return true
}
