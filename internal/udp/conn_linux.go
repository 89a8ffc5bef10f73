package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// clientStamps asks for software stamps in both directions; the transmit stamp comes back without the packet,
// numbered by the send counter.
const clientStamps = unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE |
	unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY

// Conn is the socket of one client association or one exchange. It is connected, so that the kernel drops what
// others send (C06); a connected socket also gets forged "port unreachable" messages, which are ignored
// (C30). Not safe for concurrent use, except Close.
type Conn struct {
	oob [controlSpace]byte // first, and so aligned as the kernel's structures in it are

	poller *poller
	dialer *Dialer // to whom the poller goes back
	remote netip.AddrPort
	local  netip.AddrPort
	clock  Clock

	mu        sync.Mutex // held for calls on fd, so that Close does not hand its number to another socket meanwhile
	fd        int        // -1 when closed
	watched   bool       // by poller
	receiving bool       // a Receive uses the poller

	sent uint32    // datagrams sent: the kernel's counter for the next one
	tx   ntp.Stamp // of the last datagram sent
	txOK bool
}

// prepareClient sets the options of a client socket. All are refinements: on a kernel without one of them the
// exchange still works, with clock readings instead of stamps.
func prepareClient(fd int, v6 bool) {
	enableStamps(fd, unix.SO_TIMESTAMPING_NEW, unix.SO_TIMESTAMPING_OLD, clientStamps)
	if v6 {
		setOption(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
		setOption(fd, unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1)
		return
	}
	setOption(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
}

// enableStamps prefers the 64-bit form of an option. Kernels before 5.1 only have the old one, which is the
// same thing where a C long has 64 bits and is left out elsewhere: its seconds end in 2038.
func enableStamps(fd, newOption, oldOption, value int) {
	if !setOption(fd, unix.SOL_SOCKET, newOption, value) && unix.SizeofPtr == 8 {
		setOption(fd, unix.SOL_SOCKET, oldOption, value)
	}
}

// setOption sets an option of a socket, which cannot block, and reports whether the kernel has it.
func setOption(fd, level, option, value int) bool {
	v := int32(value)
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
	return errno == 0
}

// LocalAddr is the address and port the requests leave from.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// Close frees the socket and ends a Receive in progress. Closing the poller's file waits for the read in progress, which may
// be waiting for mu: so that comes last, without it.
func (c *Conn) Close() error {
	p, receiving := c.detach()
	switch {
	case p == nil: // closed before
	case receiving:
		_ = p.file.Close()
	default:
		c.dialer.release(p)
	}
	return nil
}

// detach closes the socket and hands out its poller, once, and says whether a Receive uses that.
func (c *Conn) detach() (p *poller, receiving bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(c.fd), 0, 0) // a datagram socket has nothing to wait for
	}
	p = c.poller
	c.fd, c.poller = -1, nil
	return p, c.receiving
}

// Send sends one datagram. A pending "connection refused" of an earlier one is no reason not to send.
func (c *Conn) Send(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.txOK = false
	errno := c.write(b)
	if errno == unix.ECONNREFUSED {
		errno = c.write(b)
	}
	if errno != 0 {
		return fmt.Errorf("send to %s: %w", c.remote, errno)
	}
	c.sent++
	c.drainErrors() // the stamp is mostly there: then it is no event that wakes us
	return nil
}

// write is write(2) on a socket that has room, or is closed.
func (c *Conn) write(b []byte) unix.Errno {
	if c.fd < 0 {
		return unix.EBADF
	}
	var first *byte
	if len(b) > 0 {
		first = &b[0]
	}
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(first)), uintptr(len(b)))
	return errno
}

// Receive waits for a datagram from the remote address until ctx ends, and returns its length, its source and
// when it arrived. Datagrams longer than buf are dropped (C21), ICMP errors are ignored (C30). The error is
// ctx's own when ctx ended.
func (c *Conn) Receive(ctx context.Context, buf []byte) (n int, from netip.AddrPort, rx ntp.Stamp, err error) {
	p, err := c.watch()
	if err != nil {
		return 0, from, rx, fmt.Errorf("receive from %s: %w", c.remote, err)
	}
	defer c.unwatch()
	release, err := bindDeadline(ctx, p.file)
	if err != nil {
		return 0, from, rx, err
	}
	defer release()
	var opErr error
	err = p.raw.Read(func(uintptr) bool {
		p.drain()
		var done bool
		n, from, rx, done, opErr = c.receive(buf)
		return done
	})
	switch {
	case err == nil && opErr == nil:
		return n, from, rx, nil
	case ctx.Err() != nil:
		return 0, from, rx, ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, from, rx, context.DeadlineExceeded
	case err == nil:
		err = opErr
	}
	return 0, from, rx, fmt.Errorf("receive from %s: %w", c.remote, err)
}

// watch lets the poller watch the socket from the first wait on.
func (c *Conn) watch() (*poller, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil, net.ErrClosed
	}
	if !c.watched {
		if err := c.poller.watch(c.fd); err != nil {
			return nil, err
		}
		c.watched = true
	}
	c.receiving = true
	return c.poller, nil
}

// unwatch lets the poller go on to another socket.
func (c *Conn) unwatch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.receiving = false
}

// receive reads both queues of the socket. done is false when there is nothing more to read yet.
func (c *Conn) receive(buf []byte) (n int, from netip.AddrPort, rx ntp.Stamp, done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return 0, from, rx, true, net.ErrClosed
	}
	for {
		c.drainErrors()
		n, oobn, flags, from, err := recvNow(c.fd, buf, c.oob[:], 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return 0, from, rx, false, nil
		case errors.Is(err, unix.EINTR), fromICMP(err):
			continue
		case err != nil:
			return 0, from, rx, true, err
		}
		if flags&unix.MSG_TRUNC != 0 || !sameEndpoint(from, c.remote) {
			continue
		}
		var m control
		m.consume(c.oob[:oobn])
		return n, c.remote, c.clock.stamp(m.stamp), true, nil
	}
}

// icmpErrors are what the kernel makes of ICMP and ICMPv6 errors (icmp_err_convert in net/ipv4/icmp.c,
// icmpv6_err_convert in net/ipv6/icmp.c). Anybody can forge those.
var icmpErrors = [...]unix.Errno{
	unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENOPROTOOPT, unix.EPROTO, unix.EMSGSIZE,
	unix.EOPNOTSUPP, unix.EHOSTDOWN, unix.ENONET, unix.EACCES,
}

// fromICMP reports whether an ICMP message may have caused the error. The kernel forgets each when it is read.
func fromICMP(err error) bool {
	var e unix.Errno
	return errors.As(err, &e) && slices.Contains(icmpErrors[:], e)
}

// drainErrors takes the transmit stamps from the error queue. An id at or after the last datagram's belongs to
// it: kernels differ in whether a refused send moves their counter.
// c.mu is held.
func (c *Conn) drainErrors() {
	for range BatchSize {
		_, oobn, _, _, err := recvNow(c.fd, nil, c.oob[:], unix.MSG_ERRQUEUE)
		if err != nil {
			return
		}
		var m control
		m.consume(c.oob[:oobn])
		if m.looped && !m.stamp.IsZero() && int32(m.id-(c.sent-1)) >= 0 {
			c.tx, c.txOK = c.clock.stamp(m.stamp), true
		}
	}
}

// TxStamp returns when the last datagram left, if the kernel said so by now. It does not wait: a software
// stamp is taken before the datagram is handed to the device, so it is there when the answer is.
func (c *Conn) TxStamp() (ntp.Stamp, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.txOK && c.fd >= 0 {
		c.drainErrors()
	}
	return c.tx, c.txOK
}

// fromSockaddr converts what the kernel reported; the zone is left out.
func fromSockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
