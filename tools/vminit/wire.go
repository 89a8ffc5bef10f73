//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// requests are the times at which this machine's card was given a packet to the server's NTP port, whoever sent it.
type requests struct {
	mu sync.Mutex
	at []time.Duration // monotonic
}

// watchRequests looks at the wire until the scenario ends.
func (t *trial) watchRequests() *requests {
	fd, err := tap(interfaceName)
	t.must(err, "look at the wire")
	r := new(requests)
	done := make(chan struct{})
	t.atEnd(func() { close(done) })
	go r.collect(fd, done)
	return r
}

// tap opens a packet socket (packet(7)) at an interface; it wakes its reader twice a second.
func tap(name string) (fd int, err error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return -1, err
	}
	all := binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL) // only such a socket hears what is sent
	order := binary.NativeEndian.Uint16(all)
	if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(order)); err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	wake := unix.Timeval{Usec: 500_000}
	if err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wake); err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: order, Ifindex: ifi.Index})
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	return fd, nil
}

// collect owns the socket until done.
func (r *requests) collect(fd int, done <-chan struct{}) {
	defer unix.Close(fd)
	for buf := make([]byte, 2048); ; {
		select {
		case <-done:
			return
		default:
		}
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if link, ok := from.(*unix.SockaddrLinklayer); err == nil && ok && link.Pkttype == unix.PACKET_OUTGOING && isRequest(buf[:n]) {
			at := monotonic()
			r.mu.Lock()
			r.at = append(r.at, at)
			r.mu.Unlock()
		}
	}
}

// isRequest reports whether an IPv4 packet is UDP to the server's NTP port.
func isRequest(packet []byte) bool {
	const destination, port, options = 16, 2, 20 // places in the header of IPv4, and of UDP behind one without options
	to := netip.MustParseAddr(serverAddress).As4()
	return len(packet) >= options+8 && packet[0] == 0x45 && packet[9] == unix.IPPROTO_UDP &&
		bytes.Equal(packet[destination:options], to[:]) && binary.BigEndian.Uint16(packet[options+port:]) == 123
}

// between returns the requests from begin on and before end.
func (r *requests) between(begin, end time.Duration) (found []time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.at {
		if at >= begin && at < end {
			found = append(found, at)
		}
	}
	return found
}
