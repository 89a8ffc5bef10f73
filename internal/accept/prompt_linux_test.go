package accept

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPrompt_AcknowledgesBeforeTheNextRead: a socket that would delay its acknowledgements stops doing so when more is read,
// unless something was written in between.
func TestPrompt_AcknowledgesBeforeTheNextRead(t *testing.T) {
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	c := Prompt(accepted)
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// exchange has the peer send a byte while the socket would delay its acknowledgement, reads it, and says whether it would not
	// any more.
	exchange := func() int {
		_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0) })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 8)); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		quick := 0
		_ = raw.Control(func(fd uintptr) { quick, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK) })
		if err != nil {
			t.Fatal(err)
		}
		return quick
	}
	_ = exchange()
	for range 3 {
		if exchange() != 1 {
			t.Error("a read that follows another does not acknowledge it")
		}
	}
	if _, err := c.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if exchange() != 0 {
		t.Error("what the answer has acknowledged is acknowledged once more")
	}
}

// TestPrompt_NoSocket: a connection without a socket stays what it is.
func TestPrompt_NoSocket(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if Prompt(a) != a {
		t.Error("wrapped")
	}
}
