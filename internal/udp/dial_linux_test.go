package udp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"
)

// ask sends one datagram and returns its reply.
func ask(t *testing.T, c *Conn, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Send([]byte(text)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, _, _, err := c.Receive(ctx, buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// TestDialer_PollersServeAgain: sockets that follow each other share a poller, those at one time do not, and a reply that
// nobody read when its socket was closed is no reply of the next.
func TestDialer_PollersServeAgain(t *testing.T) {
	s := listen(t, ListenConfig{Address: netip.MustParseAddrPort("127.0.0.1:0")})[0]
	echo(t, s, nil)
	d := NewDialer(testNow, nil)
	dial := func() *Conn {
		c, err := d.Dial(s.LocalAddr())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for i, text := range []string{"first", "second", "third"} {
		c := dial()
		if got := ask(t, c, text); got != text {
			t.Fatalf("%q is answered by %q", text, got)
		}
		if err := c.Send([]byte("unread")); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.Close(), c.Close()); err != nil || len(d.idle) != 1 {
			t.Fatalf("%d pollers after socket %d: %v", len(d.idle), i, err)
		}
	}
	a, b := dial(), dial()
	if a.poller == b.poller || ask(t, a, "a") != "a" || ask(t, b, "b") != "b" {
		t.Error("two sockets share a poller")
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil || len(d.idle) != 2 {
		t.Errorf("%d pollers are kept: %v", len(d.idle), err)
	}
}

// TestDial_KeepsNothing: of a socket that was dialled once nothing is open after its end.
func TestDial_KeepsNothing(t *testing.T) {
	s := listen(t, ListenConfig{Address: netip.MustParseAddrPort("127.0.0.1:0")})[0]
	echo(t, s, nil)
	c, err := Dial(s.LocalAddr(), testNow, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := c.poller
	if got := ask(t, c, "x"); got != "x" {
		t.Errorf("%q", got)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := p.file.SetReadDeadline(time.Time{}); err == nil {
		t.Error("the poller is still open")
	}
}

// TestConn_CloseEndsReceive: the wait ends at once, and its poller serves nobody else.
func TestConn_CloseEndsReceive(t *testing.T) {
	s := listen(t, ListenConfig{Address: netip.MustParseAddrPort("127.0.0.1:0")})[0]
	echo(t, s, nil)
	d := NewDialer(testNow, nil)
	c, err := d.Dial(s.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, _, _, err := c.Receive(context.Background(), make([]byte, 100))
		ended <- err
	}()
	for waits := false; !waits; {
		c.mu.Lock()
		waits = c.receiving
		c.mu.Unlock()
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the wait ends with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("still waiting")
	}
	if len(d.idle) != 0 {
		t.Error("the poller of a wait that was cut off is used again")
	}
	if _, _, _, err := c.Receive(t.Context(), make([]byte, 100)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("receive after close: %v", err)
	}
	if err := c.Send([]byte("x")); err == nil {
		t.Error("sent after close")
	}
}

// TestConn_CloseBesideBeginning: a close in the moment in which a wait begins holds up neither.
func TestConn_CloseBesideBeginning(t *testing.T) {
	d := NewDialer(testNow, nil)
	for i := range 3000 {
		c, err := d.Dial(netip.MustParseAddrPort("127.0.0.1:9"))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{}, 2)
		go func() {
			_, _, _, _ = c.Receive(context.Background(), make([]byte, 100))
			done <- struct{}{}
		}()
		for begun, looks := false, 0; !begun; looks++ {
			c.mu.Lock()
			begun = c.receiving || c.fd < 0
			c.mu.Unlock()
			if looks%1000 == 999 { // with one processor the other would begin only when the scheduler takes it away
				runtime.Gosched()
			}
		}
		go func() {
			_ = c.Close()
			done <- struct{}{}
		}()
		for range 2 {
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatalf("socket %d: the close and the wait hold each other up", i)
			}
		}
	}
}

// TestDialer_LeavesNothingOpen: a socket that cannot be connected is closed again.
func TestDialer_LeavesNothingOpen(t *testing.T) {
	d := NewDialer(testNow, nil)
	warm, err := d.Dial(netip.MustParseAddrPort("127.0.0.1:9"))
	if err != nil {
		t.Fatal(err)
	}
	_ = warm.Close()
	open := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := open()
	for range 10 {
		// Nobody may connect to the broadcast address without asking for the permission first.
		if c, err := d.Dial(netip.MustParseAddrPort("255.255.255.255:9")); err == nil {
			_ = c.Close()
			t.Fatal("connected to everybody")
		}
		if _, err := d.Dial(netip.MustParseAddrPort("[fe80::1%nosuch]:9")); !errors.Is(err, ErrNoInterface) {
			t.Fatal(err)
		}
	}
	if after := open(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
