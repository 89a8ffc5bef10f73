package udp

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

func testNow() ntp.Timestamp { return ntp.FromTime(time.Now()) }

var testClock = Clock{Now: testNow}

func listen(t testing.TB, c ListenConfig) []*Server {
	t.Helper()
	if c.Clock.Now == nil {
		c.Clock = testClock
	}
	list, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// echo serves s until the test ends, sending back what it got; got sees each datagram first.
func echo(t testing.TB, s *Server, got func(*Datagram)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := NewBatch()
		for {
			if err := s.Receive(b); err != nil {
				if !errors.Is(err, ErrClosed) {
					t.Errorf("receive: %v", err)
				}
				return
			}
			for i := range b.Len() {
				d := b.Datagram(i)
				if got != nil {
					got(d)
				}
				b.Answer(i, append(b.ReplyBuffer(i), d.Data...))
			}
			if n := s.Send(b); n > 0 {
				t.Errorf("%d answers refused", n)
			}
		}
	}()
	t.Cleanup(func() {
		s.Interrupt()
		<-done
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

func dial(t testing.TB, to netip.AddrPort) *Conn {
	t.Helper()
	c, err := Dial(to, testNow, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func receive(t testing.TB, c *Conn, wait time.Duration) (string, ntp.Stamp, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	var buf [ntp.MaxPacket]byte
	n, from, rx, err := c.Receive(ctx, buf[:])
	if err == nil && !sameEndpoint(from, c.remote) {
		t.Errorf("answer from %v, asked %v", from, c.remote)
	}
	return string(buf[:n]), rx, err
}

func local(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
}

// haveIPv6 tells whether this host has IPv6 on its loopback interface.
func haveIPv6(t testing.TB) {
	t.Helper()
	l, err := Listen(ListenConfig{Address: netip.MustParseAddrPort("[::1]:0"), Clock: testClock})
	if err != nil || l[0].Absent() {
		t.Skip("no IPv6 on the loopback interface")
	}
	_ = l[0].Close()
}
