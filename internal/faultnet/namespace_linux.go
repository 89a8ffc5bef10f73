package faultnet

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/suite"
)

// In runs f on a thread that is inside the namespace. Sockets that f opens stay there for life. The thread goes back
// afterwards; it must not end, because it may be the parent of a running program (Pdeathsig).
func In(n *suite.Namespace, f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	there, err := os.Open("/var/run/netns/" + n.Name)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace %s: %w", n.Name, err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, so that nothing else ever runs in the wrong namespace.
		return fmt.Errorf("leave namespace %s: %w", n.Name, back)
	}
	runtime.UnlockOSThread()
	return err
}

// ListenUDP opens a datagram socket inside the namespace, closed with the test.
func ListenUDP(t testing.TB, n *suite.Namespace, addr netip.AddrPort) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	err := In(n, func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ListenTCP opens a listener inside the namespace, closed with the test.
func ListenTCP(t testing.TB, n *suite.Namespace, addr netip.AddrPort) *net.TCPListener {
	t.Helper()
	var ln *net.TCPListener
	err := In(n, func() (err error) {
		ln, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// DialTCP connects from inside the namespace.
func DialTCP(n *suite.Namespace, to netip.AddrPort) (net.Conn, error) {
	var conn net.Conn
	err := In(n, func() (err error) {
		c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(to))
		if err == nil {
			conn = c
		}
		return err
	})
	return conn, err
}

// Spoofer sends whole IPv4 packets, with any source address, from inside a namespace.
type Spoofer struct {
	t  testing.TB
	fd int
}

// NewSpoofer opens a raw socket inside the namespace, closed with the test.
func NewSpoofer(t testing.TB, n *suite.Namespace) *Spoofer {
	t.Helper()
	s := &Spoofer{t: t}
	err := In(n, func() (err error) {
		s.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(s.fd) })
	return s
}

// Send sends one packet; it is routed by its destination.
func (s *Spoofer) Send(pkt []byte) error {
	_, dst := addrs(pkt)
	return unix.Sendto(s.fd, pkt, 0, &unix.SockaddrInet4{Addr: dst.As4()})
}
