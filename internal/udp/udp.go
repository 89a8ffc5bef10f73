package udp

import (
	"errors"
	"net/netip"
	"syscall"

	"ntp-daemon/internal/ntp"
)

// BatchSize is the most datagrams that one receive or send call moves. Measured: 32 and 64 are alike, one at a
// time costs a third more; a smaller batch keeps the first transmit stamp of a batch younger.
const BatchSize = 32

// Errors that callers match.
var (
	// ErrClosed is returned by Server.Receive after Interrupt or Close.
	ErrClosed = errors.New("socket closed")
	// ErrInUse is wrapped by Listen when another socket has the address; it is what the kernel says of any such socket.
	ErrInUse error = syscall.EADDRINUSE
	// ErrNoInterface is wrapped by Listen when the zone of the address names an interface that this host does not have.
	ErrNoInterface = errors.New("no such network interface")
)

// Clock is the steered clock as the sockets need it.
type Clock struct {
	// Now reads it; used where the kernel gave no stamp.
	Now func() ntp.Timestamp
	// Map turns a stamp of the kernel's clock into a reading of the steered clock; nil means they are the
	// same clock.
	Map func(ntp.Timestamp) ntp.Timestamp
}

// stamp maps a kernel stamp, or reads the clock when there is none.
func (c *Clock) stamp(kernel ntp.Timestamp) ntp.Stamp {
	if kernel.IsZero() {
		return ntp.Stamp{Time: c.Now(), Origin: ntp.OriginUser}
	}
	if c.Map != nil {
		kernel = c.Map(kernel)
	}
	return ntp.Stamp{Time: kernel, Origin: ntp.OriginKernel}
}

// Flaw tells why a datagram must not be answered although it was received.
type Flaw uint8

// The flaws that only the socket layer can see.
const (
	Sound      Flaw = iota
	Truncated       // longer than ntp.MaxPacket
	NotUnicast      // sent to a broadcast or multicast address: an answer would multiply
)

// Datagram is one received datagram. Data is valid until the next Receive into the same batch.
type Datagram struct {
	Data     []byte
	From     netip.AddrPort // IPv4-mapped addresses are unmapped; no zone
	To       netip.AddrPort // the address that was asked; the wildcard address where the platform cannot tell
	Received ntp.Timestamp  // kernel stamp, or the clock read after the call
	Flaw     Flaw
}

// ListenConfig describes the sockets of one listen address.
type ListenConfig struct {
	Address netip.AddrPort
	// Sockets is how many sockets share the address (SO_REUSEPORT), one per worker; below 1 means 1. Platforms
	// without load-balancing between sockets open one.
	Sockets int
	// V6Only keeps an IPv6 wildcard socket from also taking IPv4, so that 0.0.0.0 can be listened on as well.
	V6Only bool
	Clock  Clock
	// Waits limits how many of the sockets that share it wait briefly at once; nil is no limit.
	Waits *BriefWaits
}

// sameEndpoint compares without the zone, which the kernel gives as a number and users as a name.
func sameEndpoint(a, b netip.AddrPort) bool {
	return a.Port() == b.Port() && a.Addr().Unmap().WithZone("") == b.Addr().Unmap().WithZone("")
}
