//go:build !linux

package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"ntp-daemon/internal/ntp"
)

// Conn is the socket of one client association or one exchange; see conn_linux.go. Here it has no kernel
// stamps: receive times are clock readings and TxStamp knows nothing.
type Conn struct {
	pc     *net.UDPConn
	remote netip.AddrPort
	clock  Clock
}

// Dial opens a socket on a fresh random port (RFC 9109) towards remote. It is not connected, so that ICMP
// messages do not reach it (C30); now reads the steered clock, mapStamp is not used.
func Dial(remote netip.AddrPort, now func() ntp.Timestamp, mapStamp func(ntp.Timestamp) ntp.Timestamp) (*Conn, error) {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	network := "udp4"
	if remote.Addr().Is6() {
		network = "udp6"
	}
	pc, err := net.ListenUDP(network, nil)
	if err != nil {
		return nil, fmt.Errorf("open socket to %s: %w", remote, cause(err))
	}
	return &Conn{pc: pc, remote: remote, clock: Clock{Now: now, Map: mapStamp}}, nil
}

// Send sends one datagram.
func (c *Conn) Send(b []byte) error {
	if _, err := c.pc.WriteToUDPAddrPort(b, c.remote); err != nil {
		return fmt.Errorf("send to %s: %w", c.remote, cause(err))
	}
	return nil
}

// Receive waits for a datagram from the remote address until ctx ends, and returns its length, its source and
// when it arrived. Datagrams as long as buf or longer are dropped: this platform does not say whether the rest
// was cut off (C21). The error is ctx's own when ctx ended.
func (c *Conn) Receive(ctx context.Context, buf []byte) (n int, from netip.AddrPort, rx ntp.Stamp, err error) {
	release, err := bindDeadline(ctx, c.pc)
	if err != nil {
		return 0, from, rx, err
	}
	defer release()
	for {
		n, from, err := c.pc.ReadFromUDPAddrPort(buf)
		rx := c.clock.stamp(0)
		switch {
		case err == nil && n < len(buf) && sameEndpoint(from, c.remote):
			return n, c.remote, rx, nil
		case err == nil, errors.Is(err, syscall.ECONNREFUSED):
			continue
		case ctx.Err() != nil:
			return 0, from, rx, ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return 0, from, rx, context.DeadlineExceeded
		}
		return 0, from, rx, fmt.Errorf("receive from %s: %w", c.remote, cause(err))
	}
}

// TxStamp always says that there is none.
func (c *Conn) TxStamp() (ntp.Stamp, bool) { return ntp.Stamp{}, false }

// LocalAddr is the address and port the requests leave from.
func (c *Conn) LocalAddr() netip.AddrPort {
	a := c.pc.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Close frees the socket and ends a Receive in progress.
func (c *Conn) Close() error { return c.pc.Close() }

// Dialer opens the sockets of many requests.
type Dialer struct{ clock Clock }

// NewDialer returns a Dialer. now reads the steered clock, mapStamp is not used.
func NewDialer(now func() ntp.Timestamp, mapStamp func(ntp.Timestamp) ntp.Timestamp) *Dialer {
	return &Dialer{clock: Clock{Now: now, Map: mapStamp}}
}

// Dial opens a socket on a fresh random port towards remote.
func (d *Dialer) Dial(remote netip.AddrPort) (*Conn, error) {
	return Dial(remote, d.clock.Now, d.clock.Map)
}
