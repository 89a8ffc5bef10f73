package accept

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPrompt_AcknowledgesAfterEachRead: a socket that would delay its acknowledgements stops doing so with each read.
func TestPrompt_AcknowledgesAfterEachRead(t *testing.T) {
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
	for range 3 {
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
		if quick != 1 || err != nil {
			t.Errorf("TCP_QUICKACK is %d after a read, %v", quick, err)
		}
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
