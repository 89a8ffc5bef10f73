package udp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// maxIdle is how many pollers a Dialer keeps: as many as a large configuration has sources.
const maxIdle = 64

// Dialer opens the sockets of many requests. What one socket leaves behind serves the next. It may be used by several
// goroutines.
type Dialer struct {
	clock Clock
	keep  int // pollers at most
	mu    sync.Mutex
	idle  []*poller
}

// NewDialer returns a Dialer. now reads the steered clock and is used where the kernel gave no stamp; mapStamp turns kernel
// stamps into readings of that clock, nil where they are the same.
func NewDialer(now func() ntp.Timestamp, mapStamp func(ntp.Timestamp) ntp.Timestamp) *Dialer {
	return &Dialer{clock: Clock{Now: now, Map: mapStamp}, keep: maxIdle}
}

// Dial opens a socket on a fresh random port (RFC 9109) towards remote.
func (d *Dialer) Dial(remote netip.AddrPort) (*Conn, error) {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	p, err := d.poller()
	if err != nil {
		return nil, fmt.Errorf("open socket to %s: %w", remote, err)
	}
	c := &Conn{fd: -1, poller: p, dialer: d, remote: remote, clock: d.clock}
	if err := c.open(); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("open socket to %s: %w", remote, err)
	}
	return c, nil
}

// poller takes one that is idle, or a new one.
func (d *Dialer) poller() (*poller, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.idle); n > 0 {
		p := d.idle[n-1]
		d.idle = d.idle[:n-1]
		return p, nil
	}
	return newPoller()
}

// release takes back a poller whose socket is closed.
func (d *Dialer) release(p *poller) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) < d.keep {
		d.idle = append(d.idle, p)
		return
	}
	_ = p.file.Close()
}

// Dial is Dial of a Dialer that serves once, and keeps nothing: what it kept would be open until the collector finds it.
func Dial(remote netip.AddrPort, now func() ntp.Timestamp, mapStamp func(ntp.Timestamp) ntp.Timestamp) (*Conn, error) {
	d := &Dialer{clock: Clock{Now: now, Map: mapStamp}}
	return d.Dial(remote)
}

// open makes the socket, connects it and asks for its port. None of these calls can block.
func (c *Conn) open() error {
	remote, size, family, err := rawAddress(c.remote)
	if err != nil {
		return err
	}
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errno != 0 {
		return fmt.Errorf("socket: %w", errno)
	}
	c.fd = int(fd)
	prepareClient(c.fd, family == unix.AF_INET6)
	if _, _, errno := unix.RawSyscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&remote)), uintptr(size)); errno != 0 {
		return fmt.Errorf("connect: %w", errno)
	}
	var local unix.RawSockaddrInet6
	length := uint32(unix.SizeofSockaddrInet6)
	if _, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, fd, uintptr(unsafe.Pointer(&local)), uintptr(unsafe.Pointer(&length))); errno != 0 {
		return fmt.Errorf("getsockname: %w", errno)
	}
	c.local = rawAddrPort(&local)
	return nil
}

// rawAddress is the kernel's form of an address, its length and its family; an IPv4 address lies in the same memory.
func rawAddress(a netip.AddrPort) (raw unix.RawSockaddrInet6, size, family int, err error) {
	sa, family, err := sockaddr(a)
	if err != nil {
		return raw, 0, 0, err
	}
	raw.Family = uint16(family)
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&raw.Port))[:], a.Port())
	if sa6, ok := sa.(*unix.SockaddrInet6); ok {
		raw.Addr, raw.Scope_id = sa6.Addr, sa6.ZoneId
		return raw, unix.SizeofSockaddrInet6, family, nil
	}
	(*unix.RawSockaddrInet4)(unsafe.Pointer(&raw)).Addr = a.Addr().As4()
	return raw, unix.SizeofSockaddrInet4, family, nil
}
