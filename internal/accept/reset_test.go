//go:build unix

package accept

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// pair is a TCP connection through the loop-back: our end as the loop hands it out, and the peer's.
func pair(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := Dial(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close(); _ = peer.Close() })
	return &Conn{Conn: nc, loop: New(Config{})}, peer.(*net.TCPConn)
}

// reset closes the peer's end with RST.
func reset(peer *net.TCPConn) {
	_ = peer.SetLinger(0)
	_ = peer.Close()
}

// A reset is noticed at once: on a quiet connection, behind bytes that nobody read, after a half-close, and if it came
// before the watch began.
func TestWatchReset(t *testing.T) {
	for _, row := range []struct {
		story  string
		before func(*net.TCPConn)
	}{
		{"quiet", func(*net.TCPConn) {}},
		{"behind unread bytes", func(p *net.TCPConn) { _, _ = p.Write([]byte("more")) }},
		{"after a half-close", func(p *net.TCPConn) { _ = p.CloseWrite() }},
	} {
		for _, early := range []bool{false, true} {
			c, peer := pair(t)
			row.before(peer)
			if early {
				reset(peer)
			}
			lost := make(chan struct{})
			stop := c.WatchReset(func() { close(lost) })
			if !early {
				reset(peer)
			}
			select {
			case <-lost:
			case <-time.After(10 * time.Second):
				t.Errorf("%s: not noticed", row.story)
			}
			if err := stop(); err == nil {
				t.Errorf("%s: stop says that all is well", row.story)
			}
		}
	}
}

// The loop that gives up a connection ends the watch, too.
func TestWatchReset_ClosedByUs(t *testing.T) {
	c, _ := pair(t)
	lost := make(chan struct{})
	stop := c.WatchReset(func() { close(lost) })
	_ = c.Close()
	<-lost
	for range 2 {
		if stop() == nil {
			t.Error("stop says that all is well")
		}
	}
}

// KS15: the end of the peer's stream is no reset, and what it sent is still there when the watch is over.
func TestWatchReset_HalfCloseIsLegal(t *testing.T) {
	c, peer := pair(t)
	stop := c.WatchReset(func() { t.Error("taken for a reset") })
	for _, part := range []string{"what ", "is ", "left"} {
		if _, err := peer.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // the time in which a mistake would show
	if err := stop(); err != nil {
		t.Error(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, []byte("what is left")) {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := c.Write([]byte("answer")); err != nil {
		t.Error(err)
	}
	got := make([]byte, 6)
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != "answer" {
		t.Errorf("the peer read %q, %v", got, err)
	}
}

// Without a socket nothing can be seen, and nothing is.
func TestWatchReset_NoSocket(t *testing.T) {
	a, b := net.Pipe()
	c := &Conn{Conn: a}
	stop := c.WatchReset(func() { t.Error("called") })
	_ = b.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A watch that begins only after a while sees the same: a reset before it begins when it is stopped, and one after that at
// once. A peer that only ended its stream has not left.
func TestWatchResetAfter(t *testing.T) {
	for _, row := range []struct {
		story string
		after time.Duration
		peer  func(*net.TCPConn)
		gone  bool
	}{
		{"reset, never begun", time.Hour, reset, true},
		{"reset, begun at once", 0, reset, true},
		{"half-close, never begun", time.Hour, func(p *net.TCPConn) { _ = p.CloseWrite() }, false},
		{"nothing, begun at once", 0, func(*net.TCPConn) {}, false},
	} {
		t.Run(row.story, func(t *testing.T) {
			c, peer := pair(t)
			lost := make(chan struct{})
			stop := c.WatchResetAfter(row.after, func() { close(lost) })
			row.peer(peer)
			switch {
			case row.gone && row.after == 0:
				<-lost
			case row.gone:
				for end := time.Now().Add(10 * time.Second); c.Present() && time.Now().Before(end); {
					time.Sleep(time.Millisecond) // until the kernel has seen the reset
				}
			}
			for range 2 {
				if err := stop(); (err != nil) != row.gone {
					t.Errorf("stop says %v", err)
				}
			}
		})
	}
}
