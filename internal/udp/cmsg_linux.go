package udp

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// controlSpace holds what we ask the kernel for: one timestamp of three 64-bit timespecs, one packet info and,
// on the error queue, one extended error with an IPv6 address behind it.
const controlSpace = 256

// control is what the control messages of one datagram said.
type control struct {
	stamp  ntp.Timestamp // of the kernel's system clock; zero without one
	to     netip.Addr    // destination address; zero without one
	cast   bool          // the destination was a broadcast or multicast address
	id     uint32        // counter of the sent datagram that stamp belongs to
	looped bool          // the message is a transmit stamp from the error queue
}

// consume reads the control messages in oob, which must be aligned as the kernel's structures are, and enters them into
// c. Unknown ones are skipped, damaged ones end the walk. This is on the way of every request; the parser of
// package unix, which a test compares it with, takes three times as long.
func (c *control) consume(oob []byte) {
	for len(oob) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		if uint64(h.Len) < uint64(unix.CmsgLen(0)) || uint64(h.Len) > uint64(len(oob)) {
			return
		}
		c.take(h, oob[unix.CmsgLen(0):h.Len])
		space := unix.CmsgSpace(int(h.Len) - unix.CmsgLen(0))
		if space >= len(oob) {
			return
		}
		oob = oob[space:]
	}
}

// take enters one control message.
func (c *control) take(h *unix.Cmsghdr, data []byte) {
	switch {
	case h.Level == unix.SOL_SOCKET && isTimestamp(h.Type):
		c.stamp = timespec64(data)
	case h.Level == unix.SOL_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		p := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
		c.to = netip.AddrFrom4(p.Addr)
		c.cast = p.Addr != p.Spec_dst // which is the host's own address (ip(7))
	case h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		p := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
		c.to = netip.AddrFrom16(p.Addr).Unmap()
		c.cast = c.cast || c.to.IsMulticast()
	case h.Level == unix.SOL_IP && h.Type == unix.IP_RECVERR, h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_RECVERR:
		if len(data) >= int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			e := (*unix.SockExtendedErr)(unsafe.Pointer(&data[0]))
			c.looped = e.Origin == unix.SO_EE_ORIGIN_TIMESTAMPING
			c.id = e.Data
		}
	}
}

// isTimestamp reports whether a control message carries stamps in 64-bit form: always for the NEW kinds
// (Linux 5.1), for the old ones only where a C long has 64 bits.
func isTimestamp(t int32) bool {
	if t == unix.SO_TIMESTAMPING_NEW || t == unix.SO_TIMESTAMPNS_NEW {
		return true
	}
	return unix.SizeofPtr == 8 && (t == unix.SO_TIMESTAMPING_OLD || t == unix.SO_TIMESTAMPNS_OLD)
}

// timespec64 reads the software stamp, the first of up to three timespecs.
func timespec64(b []byte) ntp.Timestamp {
	if len(b) < 16 {
		return 0
	}
	sec, nsec := int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:]))
	if sec == 0 && nsec == 0 || nsec < 0 || nsec >= 1e9 {
		return 0
	}
	return ntp.FromUnix(sec, nsec)
}

// putSource writes the control message that makes a datagram leave from address a into buf and returns how
// many bytes it takes. A link-local address needs its interface; for others the routing table decides, so that
// an answer may leave by another interface than the one the request came in by.
func putSource(buf []byte, a netip.Addr, v6socket bool, ifindex uint32) int {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&buf[0]))
	if !v6socket {
		h.Level, h.Type = unix.SOL_IP, unix.IP_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		p := (*unix.Inet4Pktinfo)(unsafe.Pointer(&buf[unix.CmsgLen(0)]))
		p.Ifindex, p.Spec_dst, p.Addr = 0, a.As4(), [4]byte{}
		return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
	}
	h.Level, h.Type = unix.SOL_IPV6, unix.IPV6_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
	p := (*unix.Inet6Pktinfo)(unsafe.Pointer(&buf[unix.CmsgLen(0)]))
	*p = unix.Inet6Pktinfo{Addr: a.As16()}
	if a.IsLinkLocalUnicast() && a.Is6() {
		p.Ifindex = ifindex
	}
	return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
}
