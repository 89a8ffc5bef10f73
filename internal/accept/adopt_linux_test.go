package accept

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestAdopt: connections of a listener that another process opened have the keep-alive probes of Listen's, and it can be told to
// stop like one.
func TestAdopt(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	adopted := Adopt(ln.(*net.TCPListener))
	defer adopted.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := adopted.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	raw, err := got.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		on, err1 := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
		idle, err2 := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
		if err := errors.Join(err1, err2); err != nil || on == 0 || idle != int(keepAlive.Idle/time.Second) {
			t.Errorf("keep-alive %d after %d s, %v", on, idle, err)
		}
	})
	wake(adopted)
	if _, err := adopted.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after it was told to stop: %v", err)
	}
}
