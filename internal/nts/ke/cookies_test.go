package ke

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts/record"
)

// noRandom is a source of randomness that has none.
type noRandom struct{}

func (noRandom) Read([]byte) (int, error) { return 0, errors.New("no randomness") }

// TestNoCookies: an answer whose cookies could not be sealed is an internal error, not a success with empty
// cookies.
func TestNoCookies(t *testing.T) {
	s := startServer(t, func(x *testServer, c *ServerConfig) { withToken(x, c); c.Rand = noRandom{} })
	for _, request := range []string{hexKS01, hexV11} {
		if got, want := s.ask(request), record.AppendError(nil, record.CodeInternal); !bytes.Equal(got, want) {
			t.Errorf("answer %x, want %x", got, want)
		}
	}
	s.wait("internal", func(c Counters) bool { return c.Of(Internal) == 2 && c.Of(Served)+c.Of(FixedServed) == 0 })
}

// slowDeadline is a connection on which a byte arrives while the interruption is under way.
type slowDeadline struct {
	net.Conn
	began chan struct{}
	ended bool
}

func (c *slowDeadline) SetDeadline(time.Time) error { return nil }

func (c *slowDeadline) SetReadDeadline(time.Time) error {
	close(c.began)
	time.Sleep(50 * time.Millisecond)
	c.ended = true
	return nil
}

func (c *slowDeadline) Read(b []byte) (int, error) {
	<-c.began
	return copy(b, "x"), nil
}

// TestShutdownWhileRequestArrives: the deadline that ends the wait for a request must not hit the request that
// came in at that moment; it is finished (docs/rules/pool.md#kept).
func TestShutdownWhileRequestArrives(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	conn := &slowDeadline{began: make(chan struct{})}
	x := &serverSession{s: NewServer(ServerConfig{}), c: &accept.Conn{Conn: conn}, conn: conn, reader: NewReader(conn, record.RequestLimits)}
	if err := x.wait(ctx, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if !conn.ended {
		t.Error("the interruption is still to come")
	}
}
