package accept

import (
	"context"
	"net"
	"testing"
	"time"
)

// TestPresent: a peer that closed, ended its stream or reset is gone, although it left bytes that nobody has read.
func TestPresent(t *testing.T) {
	for name, row := range map[string]struct {
		leave func(*net.TCPConn)
		want  bool
	}{
		"stays":  {func(*net.TCPConn) {}, true},
		"closes": {func(c *net.TCPConn) { _ = c.Close() }, false},
		"ends":   {func(c *net.TCPConn) { _ = c.CloseWrite() }, false},
		"resets": {func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := Listen(t.Context(), "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			got := make(chan bool, 1)
			loop := New(Config{Handle: func(_ context.Context, c *Conn) {
				_, _ = c.Read(make([]byte, 1))
				now := c.Present()
				for end := time.Now().Add(5 * time.Second); now != row.want && time.Now().Before(end); now = c.Present() {
					time.Sleep(time.Millisecond)
				}
				got <- now
			}})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- loop.Serve(ctx, ln) }()
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = c.Write([]byte("two bytes and more"))
			row.leave(c.(*net.TCPConn))
			if now := <-got; now != row.want {
				t.Errorf("present: %v", now)
			}
			cancel()
			<-done
		})
	}
}
