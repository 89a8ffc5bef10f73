package poolke

import (
	"testing"
	"time"
)

// TestTimeLimitsFollowTheTotal: key-exchange-timeout-ms is the limit, a part of it that is not set is no shorter than the
// user's whole time, and what one time source may take grows with it.
func TestTimeLimitsFollowTheTotal(t *testing.T) {
	for _, row := range []struct{ total, user, connect, answer time.Duration }{
		{0, 5 * time.Second, time.Second, 2500 * time.Millisecond},
		{time.Second, time.Second, 200 * time.Millisecond, 500 * time.Millisecond},
		{30 * time.Second, 30 * time.Second, 6 * time.Second, 15 * time.Second},
	} {
		c := Config{Timeout: row.total}.withDefaults()
		if c.Timeout != row.user || c.HandshakeTimeout != row.user || c.RequestTimeout != row.user ||
			c.ConnectTimeout != row.connect || c.AnswerTimeout != row.answer {
			t.Errorf("%v: %v, handshake %v, request %v, connect %v, answer %v", row.total, c.Timeout, c.HandshakeTimeout,
				c.RequestTimeout, c.ConnectTimeout, c.AnswerTimeout)
		}
	}
	own := Config{Timeout: time.Minute, HandshakeTimeout: time.Second, ConnectTimeout: 2 * time.Second}.withDefaults()
	if own.HandshakeTimeout != time.Second || own.ConnectTimeout != 2*time.Second {
		t.Errorf("limits that are set: %v, %v", own.HandshakeTimeout, own.ConnectTimeout)
	}
}
