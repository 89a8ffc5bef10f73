//go:build unix

package accept

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// TestLinger: the answer arrives although the peer has sent what nobody read, behind it comes the end of the stream,
// and Linger returns when the peer has ended its own.
func TestLinger(t *testing.T) {
	c, peer := pair(t)
	if _, err := peer.Write([]byte("more than was asked for")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	notified := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		Linger(c.Conn, func() error { notified = true; return nil }, time.Time{})
		_ = c.Close()
	}()
	_ = peer.SetDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(peer); string(got) != "answer" || err != nil {
		t.Errorf("the peer read %q, %v", got, err)
	}
	_ = peer.Close()
	<-done
	if !notified {
		t.Error("closeNotify was not called")
	}
}

// TestLinger_EndsByItself: a peer that does not end its stream, or does not even take close_notify, is left.
func TestLinger_EndsByItself(t *testing.T) {
	for _, tt := range []struct {
		story string
		end   time.Time
		stuck bool
	}{
		{"no limit", time.Time{}, false},
		{"limit passed", time.Unix(1, 0), false},
		{"limit far away", time.Now().Add(time.Hour), false},
		{"close_notify does not go out", time.Time{}, true},
	} {
		c, _ := pair(t)
		begin := time.Now()
		Linger(c.Conn, func() error {
			if !tt.stuck {
				return nil
			}
			_, err := c.Conn.Read(make([]byte, 1)) // hangs until the connection is closed
			return err
		}, tt.end)
		if took := time.Since(begin); took > 20*LingerTime {
			t.Errorf("%s: took %v", tt.story, took)
		}
	}
}

func TestIsTimeout(t *testing.T) {
	for err, want := range map[error]bool{
		os.ErrDeadlineExceeded: true, context.DeadlineExceeded: true, context.Canceled: false, io.EOF: false, net.ErrClosed: false,
		&net.OpError{Err: os.ErrDeadlineExceeded}: true,
	} {
		if IsTimeout(fmt.Errorf("read: %w", err)) != want {
			t.Errorf("%v: want %v", err, want)
		}
	}
	if !IsTimeout(errors.Join(&net.OpError{Err: net.ErrClosed}, context.DeadlineExceeded)) {
		t.Error("a deadline beside another error")
	}
}
