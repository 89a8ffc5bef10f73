package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// serverBuffer is the receive buffer asked for, in bytes: some 3000 requests, 20 ms at the measured rate of
// one core.
const serverBuffer = 2 << 20

// Server is one blocking socket, kept out of the runtime's poller: measured, a thread that sits in the batch
// call itself spends a third less than one that the poller wakes. Receive and Send belong to one goroutine;
// Interrupt and Dropped may be called by any.
type Server struct {
	fd        int
	bound     netip.AddrPort
	clock     Clock
	absent    bool
	closing   atomic.Bool
	ids       sentIDs // of stamped answers
	pace      pace    // of the requests
	fragments bool    // routers may fragment what is sent over IPv4
	briefly   bool    // the socket's waits have the limit briefWait; it has taken one of waits
	waits     *BriefWaits

	mu     sync.Mutex // guards closed, so that Interrupt and Dropped never reach a reused descriptor
	closed bool
}

// Listen opens the sockets of one listen address. An address that no interface has yet is bound all the same
// (IP_FREEBIND): serving starts when it appears and survives its coming and going (S24); Absent tells. An
// address that another socket has is ErrInUse, also when that socket would share it.
func Listen(c ListenConfig) ([]*Server, error) {
	n := max(c.Sockets, 1)
	// With SO_REUSEPORT a second daemon of the same user would silently take half of the requests. A first
	// socket without it finds any other owner out (L04).
	first, err := open(c, false)
	if errors.Is(err, unix.EAFNOSUPPORT) && c.Address.Addr() == netip.IPv6Unspecified() && !c.V6Only {
		c.Address = netip.AddrPortFrom(netip.IPv4Unspecified(), c.Address.Port()) // a host without IPv6
		first, err = open(c, false)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on udp %s: %w", c.Address, err)
	}
	if n == 1 {
		return []*Server{first}, nil
	}
	c.Address = first.bound // port 0 has become a real port
	_ = first.Close()
	list := make([]*Server, 0, n)
	for range n {
		s, err := open(c, true)
		if err != nil {
			for _, s := range list {
				_ = s.Close()
			}
			return nil, fmt.Errorf("listen on udp %s: %w", c.Address, err)
		}
		list = append(list, s)
	}
	return list, nil
}

func open(c ListenConfig, reuse bool) (*Server, error) {
	addr := netip.AddrPortFrom(c.Address.Addr().Unmap(), c.Address.Port())
	sa, domain, err := sockaddr(addr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	s := &Server{fd: fd, clock: c.Clock, ids: sentIDs{kinds: probeSent()}, waits: c.Waits, fragments: true}
	if err := s.bind(sa, addr.Addr(), c.V6Only, reuse); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("getsockname: %w", err)
	}
	s.bound = fromSockaddr(local)
	return s, nil
}

// bind sets the options and binds. Stamps, packet info and buffer size are refinements that a kernel may lack.
func (s *Server) bind(sa unix.Sockaddr, addr netip.Addr, v6only, reuse bool) error {
	if reuse {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return fmt.Errorf("share address between workers: %w", err)
		}
	}
	enableStamps(s.fd, unix.SO_TIMESTAMPNS_NEW, unix.SO_TIMESTAMPNS_OLD, 1)
	if s.ids.kinds != noSent && !enableSent(s.fd) {
		s.ids.kinds = noSent
	}
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, serverBuffer) != nil {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, serverBuffer)
	}
	s.fragment(false)
	if addr.Is6() {
		_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT) // see fragment
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, boolInt(v6only)); err != nil {
			return fmt.Errorf("set IPV6_V6ONLY: %w", err)
		}
	}
	if addr.IsUnspecified() { // a socket with an address of its own answers from it anyway
		if err := s.askDestination(addr.Is6(), v6only); err != nil {
			return fmt.Errorf("ask for destination addresses: %w", err)
		}
	}
	err := unix.Bind(s.fd, sa)
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		s.absent = true
		if err = unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1); err == nil {
			err = unix.Bind(s.fd, sa)
		}
	}
	if errors.Is(err, unix.EADDRINUSE) {
		return ErrInUse
	}
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// askDestination asks for packet info. An IPv6 socket that also takes IPv4 asks for that of IPv4, too: only there
// does the kernel say which of the host's addresses it would answer from, which tells a directed broadcast.
func (s *Server) askDestination(v6, v6only bool) error {
	if v6 {
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1); err != nil || v6only {
			return err
		}
	}
	return unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sockaddr converts a listen address; a zone may be an interface's name or number.
func sockaddr(a netip.AddrPort) (unix.Sockaddr, int, error) {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, unix.AF_INET, nil
	}
	sa := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" {
		if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
			sa.ZoneId = uint32(n)
			return sa, unix.AF_INET6, nil
		}
		ifi, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, 0, fmt.Errorf("interface %q: %w", zone, ErrNoInterface)
		}
		sa.ZoneId = uint32(ifi.Index)
	}
	return sa, unix.AF_INET6, nil
}

// LocalAddr is the bound address.
func (s *Server) LocalAddr() netip.AddrPort { return s.bound }

// Absent reports that no interface had the address when the socket was opened.
func (s *Server) Absent() bool { return s.absent }

// Receive waits for at least one datagram and takes up to BatchSize that are there. After Interrupt or Close
// it returns ErrClosed. Other errors are the machine's (an interface going down, no memory): the caller
// pauses and calls again. No allocation.
//
// Now and then it gives way to other goroutines, where there is likely to be time for it: after a batch that was not full, while waits are brief.
// Else the runtime would make it, each 10 ms, at any moment (docs/rules/server.md#calls-that-cannot-block).
func (s *Server) Receive(b *Batch) error {
	if s.briefly && b.n < BatchSize && s.pace.yields() {
		runtime.Gosched()
	}
	b.rearm()
	for {
		if s.closing.Load() {
			return ErrClosed
		}
		n, errno := s.wait(b)
		switch {
		case s.closing.Load():
			return ErrClosed
		case errno == unix.EAGAIN: // nothing came for the time of a brief wait
			s.brief(false)
		case errno == unix.EINTR:
		case errno != 0:
			return fmt.Errorf("recvmmsg: %w", errno)
		default:
			b.filled(n, s.bound, &s.clock)
			s.brief(s.pace.arrived(b.grams[0].Received))
			return nil
		}
	}
}

// wait waits for datagrams: briefly without telling the runtime, or for as long as it takes, telling it
// (docs/rules/server.md#calls-that-cannot-block).
func (s *Server) wait(b *Batch) (int, unix.Errno) {
	if s.briefly {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.in[0])), BatchSize,
			unix.MSG_WAITFORONE, 0, 0)
		return int(n), errno
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.in[0])), BatchSize,
		unix.MSG_WAITFORONE, 0, 0)
	return int(n), errno
}

// brief makes the next waits brief ones, or not.
func (s *Server) brief(want bool) {
	if want == s.briefly || want && !s.waits.take() {
		return
	}
	limit := unix.NsecToTimeval(0) // none
	if want {
		limit = unix.NsecToTimeval(int64(briefWait))
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_RCVTIMEO,
		uintptr(unsafe.Pointer(&limit)), unsafe.Sizeof(limit), 0)
	s.briefly = want && errno == 0 // a wait without limit may not be a brief one
	if !s.briefly {
		s.waits.give()
	}
}

// Send sends the answers queued in b and returns how many were refused (S20): one that cannot be sent is lost
// and the next one is tried; nothing is waited for, so the runtime is not told. No allocation.
func (s *Server) Send(b *Batch) (failed int) {
	s.askSent(b)
	s.fragment(b.longest > longestWhole)
	for at := 0; at < b.out; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.outHdr[at])), uintptr(b.out-at),
			unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0: // about the first one left
			s.noteRefused(b, at)
			failed++
			at++
		default:
			s.noteSent(b, at, at+int(n))
			at += int(n)
		}
	}
	b.clear()
	return failed
}

// longestWhole is the length of the longest answer that no router may fragment: with its headers 576 bytes, as few as any path of
// today carries.
const longestWhole = 576 - 20 - 8

// fragment says whether routers may fragment the answers that are sent over IPv4 from now on. One that they may needs an identification, for
// which the kernel takes a keyed hash and a counter that all processors share: 1.5 % of what an answer costs. Either way a
// path MTU that a forged ICMP message made small stops no answer; they are no longer than requests that arrived.
func (s *Server) fragment(may bool) {
	if may == s.fragments {
		return
	}
	s.fragments = may
	mode := int32(unix.IP_PMTUDISC_PROBE)
	if may {
		mode = unix.IP_PMTUDISC_OMIT
	}
	_, _, _ = unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(s.fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER,
		uintptr(unsafe.Pointer(&mode)), unsafe.Sizeof(mode), 0)
}

// Interrupt makes Receive return ErrClosed, now and from now on. Shutting down an unconnected UDP socket is
// refused with ENOTCONN, but wakes whoever waits on it.
func (s *Server) Interrupt() {
	s.closing.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		_ = unix.Shutdown(s.fd, unix.SHUT_RD)
	}
}

// Close frees the socket; only when no Receive is in progress. A second call does nothing.
func (s *Server) Close() error {
	s.closing.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.briefly {
		s.briefly = false
		s.waits.give()
	}
	return unix.Close(s.fd)
}

// Dropped returns how many requests the kernel dropped because the socket's buffer was full or their checksum wrong,
// since it was opened, modulo 2^32; 0 where the kernel does not say, and after Close. Any goroutine may call it.
func (s *Server) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0
	}
	const drops = 8 // index of SK_MEMINFO_DROPS in struct sk_meminfo (linux/sock_diag.h)
	var info [9]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || size < uint32(unsafe.Sizeof(info)) {
		return 0
	}
	return uint64(info[drops])
}
