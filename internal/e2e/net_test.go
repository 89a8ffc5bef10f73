package e2e_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/suite"
)

// inside runs f on a thread that is in the namespace for good; sockets that f opens stay there.
func inside(t *testing.T, n *suite.Namespace, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- func() error {
			ns, err := os.Open("/run/netns/" + n.Name)
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("setns: %w", err)
			}
			return f()
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// dial opens a connection from inside the namespace; the address must be numeric.
func dial(t *testing.T, n *suite.Namespace, network, address string) (c net.Conn) {
	t.Helper()
	inside(t, n, func() (err error) {
		c, err = (&net.Dialer{Timeout: 5 * time.Second}).Dial(network, address)
		return err
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// listen opens a TCP listener inside the namespace.
func listen(t *testing.T, n *suite.Namespace, address string) (ln net.Listener) {
	t.Helper()
	inside(t, n, func() (err error) { ln, err = net.Listen("tcp4", address); return err })
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// asker asks one server for the time.
type asker struct {
	t *testing.T
	c net.Conn
	n uint64
}

func newAsker(t *testing.T, n *suite.Namespace, address string) *asker {
	return &asker{t: t, c: dial(t, n, "udp4", address)}
}

// hello is H(23) with a transmit field of its own.
func hello(n uint64) []byte {
	b := make([]byte, 48)
	b[0] = 0x23
	binary.BigEndian.PutUint64(b[40:], n|1<<63)
	return b
}

// ask sends one request and reports whether its reply with a time came within a second.
func (a *asker) ask() bool {
	a.n++
	if _, err := a.c.Write(hello(a.n)); err != nil {
		return false
	}
	_ = a.c.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 2048)
	for {
		n, err := a.c.Read(buf)
		if err != nil {
			return false
		}
		if n == 48 && buf[0]&7 == 4 && buf[1] != 0 && binary.BigEndian.Uint64(buf[24:]) == a.n|1<<63 {
			return true
		}
	}
}

// datagram is one UDP packet on a wire; payloads of later fragments are counted as packets without ports.
type datagram struct {
	from, to netip.AddrPort
	payload  []byte
}

// sniffer collects the UDP packets that pass an interface.
type sniffer struct {
	fd   int
	stop chan struct{}
	done chan struct{}
	mu   sync.Mutex
	seen []datagram
}

const ethAll = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network byte order

// sniff watches an interface of the namespace from now on. On loopback each packet is seen once.
func sniff(t *testing.T, n *suite.Namespace, iface string) *sniffer {
	t.Helper()
	s := &sniffer{stop: make(chan struct{}), done: make(chan struct{})}
	inside(t, n, func() error {
		i, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		if s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, ethAll); err != nil {
			return err
		}
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
		tv := unix.NsecToTimeval(int64(20 * time.Millisecond))
		if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return err
		}
		return unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: ethAll, Ifindex: i.Index})
	})
	go s.run(iface == "lo")
	t.Cleanup(func() { s.end() })
	return s
}

// run owns the socket until end.
func (s *sniffer) run(loopback bool) {
	defer close(s.done)
	defer unix.Close(s.fd)
	buf := make([]byte, 65536)
	for {
		select {
		case <-s.stop:
			return
		default:
		}
		n, from, err := unix.Recvfrom(s.fd, buf, 0)
		if err != nil {
			continue // the time limit, so that stop is looked at
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && loopback && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if d, ok := parseUDP(buf[:n]); ok {
			s.mu.Lock()
			s.seen = append(s.seen, d)
			s.mu.Unlock()
		}
	}
}

// end stops watching and returns what passed.
func (s *sniffer) end() []datagram {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	<-s.done
	return s.packets()
}

func (s *sniffer) packets() []datagram {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]datagram(nil), s.seen...)
}

func parseUDP(b []byte) (d datagram, ok bool) {
	var from, to netip.Addr
	switch {
	case len(b) >= 28 && b[0]>>4 == 4 && b[9] == unix.IPPROTO_UDP:
		from, to = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		fragment := binary.BigEndian.Uint16(b[6:])&0x1fff != 0
		b = b[int(b[0]&15)*4:]
		if fragment {
			return datagram{from: netip.AddrPortFrom(from, 0), to: netip.AddrPortFrom(to, 0), payload: clone(b)}, true
		}
	case len(b) >= 48 && b[0]>>4 == 6 && b[6] == unix.IPPROTO_UDP:
		from, to = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
		b = b[40:]
	default:
		return d, false
	}
	if len(b) < 8 {
		return d, false
	}
	d.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(b))
	d.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[2:]))
	d.payload = clone(b[8:])
	return d, true
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }

// forger sends IP packets with any source address from inside a namespace.
type forger struct {
	t  *testing.T
	fd int
}

func newForger(t *testing.T, n *suite.Namespace, family int) *forger {
	t.Helper()
	f := &forger{t: t}
	inside(t, n, func() (err error) {
		f.fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	t.Cleanup(func() { _ = unix.Close(f.fd) })
	return f
}

// udp4 is an IPv4 packet without UDP checksum, which RFC 768 allows.
func udp4(from, to netip.AddrPort, payload []byte) []byte {
	b := make([]byte, 28+len(payload))
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	a, z := from.Addr().As4(), to.Addr().As4()
	copy(b[12:], a[:])
	copy(b[16:], z[:])
	binary.BigEndian.PutUint16(b[20:], from.Port())
	binary.BigEndian.PutUint16(b[22:], to.Port())
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(payload)))
	copy(b[28:], payload)
	return b
}

// udp6 is an IPv6 packet.
func udp6(from, to netip.AddrPort, payload []byte) []byte {
	b := make([]byte, 48+len(payload))
	b[0], b[6], b[7] = 0x60, unix.IPPROTO_UDP, 64
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	a, z := from.Addr().As16(), to.Addr().As16()
	copy(b[8:], a[:])
	copy(b[24:], z[:])
	binary.BigEndian.PutUint16(b[40:], from.Port())
	binary.BigEndian.PutUint16(b[42:], to.Port())
	binary.BigEndian.PutUint16(b[44:], uint16(8+len(payload)))
	copy(b[48:], payload)
	sum := uint32(unix.IPPROTO_UDP) + uint32(8+len(payload))
	for i := 8; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		sum += w
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	c := ^uint16(sum)
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(b[46:], c)
	return b
}

// linkForger sends IPv4 packets as frames, so that no kernel corrects them on the way out.
type linkForger struct {
	t  *testing.T
	fd int
	to unix.SockaddrLinklayer
}

// newLinkForger sends from one end of a wire to the other.
func newLinkForger(t *testing.T, from, to *testHost) *linkForger {
	t.Helper()
	f := &linkForger{t: t, to: unix.SockaddrLinklayer{Protocol: unix.ETH_P_IP<<8&0xff00 | unix.ETH_P_IP>>8, Halen: 6}}
	peer, own := to.wire(), from.wire()
	inside(t, to.Namespace, func() error {
		i, err := net.InterfaceByName(peer)
		if err == nil {
			copy(f.to.Addr[:], i.HardwareAddr)
		}
		return err
	})
	inside(t, from.Namespace, func() error {
		i, err := net.InterfaceByName(own)
		if err != nil {
			return err
		}
		f.to.Ifindex = i.Index
		f.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	t.Cleanup(func() { _ = unix.Close(f.fd) })
	return f
}

// send fills in the header checksum and sends.
func (f *linkForger) send(packet []byte) {
	packet[10], packet[11] = 0, 0
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(packet[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(packet[10:], ^uint16(sum))
	for {
		err := unix.Sendto(f.fd, packet, 0, &f.to)
		if err == nil {
			return
		}
		if err != syscall.ENOBUFS && err != syscall.EAGAIN {
			f.t.Errorf("send forged frame: %v", err)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// send sends one IP packet; a full queue is waited out.
func (f *forger) send(packet []byte) {
	var to unix.Sockaddr
	if packet[0]>>4 == 4 {
		to = &unix.SockaddrInet4{Addr: [4]byte(packet[16:])}
	} else {
		to = &unix.SockaddrInet6{Addr: [16]byte(packet[24:])}
	}
	for range 1000 {
		err := unix.Sendto(f.fd, packet, 0, to)
		if err == nil {
			return
		}
		if err != syscall.ENOBUFS && err != syscall.EAGAIN {
			f.t.Errorf("send forged packet: %v", err)
			return
		}
		time.Sleep(time.Millisecond)
	}
}
