package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

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
	pc     *net.UDPConn
	raw    syscall.RawConn
	remote netip.AddrPort
	clock  Clock
	oob    [controlSpace]byte

	sent uint32    // datagrams sent: the kernel's counter for the next one
	tx   ntp.Stamp // of the last datagram sent
	txOK bool
}

// Dial opens a socket on a fresh random port (RFC 9109) towards remote. now reads the steered clock and is
// used where the kernel gave no stamp; mapStamp turns kernel stamps into readings of that clock, nil where
// they are the same.
func Dial(remote netip.AddrPort, now func() ntp.Timestamp, mapStamp func(ntp.Timestamp) ntp.Timestamp) (*Conn, error) {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	network := "udp4"
	if remote.Addr().Is6() {
		network = "udp6"
	}
	d := net.Dialer{Control: func(_, _ string, rc syscall.RawConn) error {
		return rc.Control(func(fd uintptr) { prepareClient(int(fd), remote.Addr().Is6()) })
	}}
	nc, err := d.Dial(network, remote.String())
	if err != nil {
		return nil, fmt.Errorf("open socket to %s: %w", remote, cause(err))
	}
	pc := nc.(*net.UDPConn)
	raw, err := pc.SyscallConn()
	if err != nil {
		_ = pc.Close()
		return nil, fmt.Errorf("open socket to %s: %w", remote, err)
	}
	return &Conn{pc: pc, raw: raw, remote: remote, clock: Clock{Now: now, Map: mapStamp}}, nil
}

// prepareClient sets the options of a client socket. All are refinements: on a kernel without one of them the
// exchange still works, with clock readings instead of stamps.
func prepareClient(fd int, v6 bool) {
	enableStamps(fd, unix.SO_TIMESTAMPING_NEW, unix.SO_TIMESTAMPING_OLD, clientStamps)
	if v6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1)
		return
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
}

// enableStamps prefers the 64-bit form of an option. Kernels before 5.1 only have the old one, which is the
// same thing where a C long has 64 bits and is left out elsewhere: its seconds end in 2038.
func enableStamps(fd, newOption, oldOption, value int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, newOption, value) != nil && unix.SizeofPtr == 8 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, oldOption, value)
	}
}

// Send sends one datagram. A pending "connection refused" of an earlier one is no reason not to send.
func (c *Conn) Send(b []byte) error {
	c.txOK = false
	_, err := c.pc.Write(b)
	if errors.Is(err, syscall.ECONNREFUSED) {
		_, err = c.pc.Write(b)
	}
	if err != nil {
		return fmt.Errorf("send to %s: %w", c.remote, cause(err))
	}
	c.sent++
	return nil
}

// Receive waits for a datagram from the remote address until ctx ends, and returns its length, its source and
// when it arrived. Datagrams longer than buf are dropped (C21), ICMP errors are ignored (C30). The error is
// ctx's own when ctx ended.
func (c *Conn) Receive(ctx context.Context, buf []byte) (n int, from netip.AddrPort, rx ntp.Stamp, err error) {
	release, err := bindDeadline(ctx, c.pc)
	if err != nil {
		return 0, from, rx, err
	}
	defer release()
	var opErr error
	err = c.raw.Read(func(fd uintptr) bool {
		var done bool
		n, from, rx, done, opErr = c.receive(int(fd), buf)
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
	return 0, from, rx, fmt.Errorf("receive from %s: %w", c.remote, cause(err))
}

// receive reads both queues of the socket. done is false when there is nothing more to read yet.
func (c *Conn) receive(fd int, buf []byte) (n int, from netip.AddrPort, rx ntp.Stamp, done bool, err error) {
	for {
		c.drainErrors(fd)
		n, oobn, flags, sa, err := unix.Recvmsg(fd, buf, c.oob[:], unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return 0, from, rx, false, nil
		case errors.Is(err, unix.EINTR), fromICMP(err):
			continue
		case err != nil:
			return 0, from, rx, true, err
		}
		from = fromSockaddr(sa)
		if flags&unix.MSG_TRUNC != 0 || !sameEndpoint(from, c.remote) {
			continue
		}
		return n, c.remote, c.clock.stamp(consumeControl(c.oob[:oobn]).stamp), true, nil
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
func (c *Conn) drainErrors(fd int) {
	for range BatchSize {
		_, oobn, _, _, err := unix.Recvmsg(fd, nil, c.oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return
		}
		m := consumeControl(c.oob[:oobn])
		if m.looped && !m.stamp.IsZero() && int32(m.id-(c.sent-1)) >= 0 {
			c.tx, c.txOK = c.clock.stamp(m.stamp), true
		}
	}
}

// TxStamp returns when the last datagram left, if the kernel said so by now. It does not wait: a software
// stamp is taken before the datagram is handed to the device, so it is there when the answer is.
func (c *Conn) TxStamp() (ntp.Stamp, bool) {
	if !c.txOK {
		_ = c.raw.Control(func(fd uintptr) { c.drainErrors(int(fd)) })
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
