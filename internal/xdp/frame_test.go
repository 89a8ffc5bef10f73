//go:build linux

package xdp

import (
	"encoding/binary"
	"net/netip"
)

// frame is an Ethernet frame with an NTP request that a test can damage.
type frame struct {
	to, from   [6]byte // hardware addresses
	etherType  uint16  // 0: that of the addresses
	src, dst   netip.AddrPort
	ttl, tos   uint8
	fragment   uint16 // the IPv4 word with flags and offset
	next       uint8  // 0: UDP
	checksum   sum
	udpLength  int // 0: what it is
	payload    []byte
	trailing   []byte // behind what the lengths say
	ipChecksum uint16 // is added to the right one
	options    []byte // of IPv4
}

// sum says what stands in the UDP checksum.
type sum uint8

const (
	right   sum = iota
	none        // zero
	partial     // the pseudo header's, for hardware to complete
	wrong
)

var (
	ownMAC    = [6]byte{2, 0, 0, 0, 0, 1}
	clientMAC = [6]byte{2, 0, 0, 0, 0, 2}
)

// bytes builds the frame.
func (f *frame) bytes() []byte {
	udp := binary.BigEndian.AppendUint16(nil, f.src.Port())
	udp = binary.BigEndian.AppendUint16(udp, f.dst.Port())
	length := 8 + len(f.payload)
	if f.udpLength != 0 {
		length = f.udpLength
	}
	udp = binary.BigEndian.AppendUint16(udp, uint16(length))
	udp = append(append(udp, 0, 0), f.payload...)
	pseudo := pseudoSum(f.src.Addr(), f.dst.Addr(), length)
	switch f.checksum {
	case right:
		binary.BigEndian.PutUint16(udp[6:], notZero(^onesSum(pseudo, udp)))
	case partial:
		binary.BigEndian.PutUint16(udp[6:], onesSum(pseudo, nil))
	case wrong:
		binary.BigEndian.PutUint16(udp[6:], notZero(^onesSum(pseudo, udp)+7))
	}
	b := append(append([]byte{}, f.to[:]...), f.from[:]...)
	next := f.next
	if next == 0 {
		next = 17
	}
	if f.src.Addr().Is4() {
		b = binary.BigEndian.AppendUint16(b, or(f.etherType, 0x0800))
		ip := []byte{0x45 + uint8(len(f.options)/4), f.tos, 0, 0, 0x12, 0x34, uint8(f.fragment >> 8), uint8(f.fragment), f.ttl, next, 0, 0}
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(f.options)+len(udp)))
		ip = append(append(append(ip, f.src.Addr().AsSlice()...), f.dst.Addr().AsSlice()...), f.options...)
		binary.BigEndian.PutUint16(ip[10:], ^onesSum(0, ip)+f.ipChecksum)
		b = append(b, ip...)
	} else {
		b = binary.BigEndian.AppendUint16(b, or(f.etherType, 0x86dd))
		ip := []byte{0x60 | f.tos>>4, f.tos<<4 | 5, 6, 7, 0, 0, next, f.ttl}
		binary.BigEndian.PutUint16(ip[4:], uint16(len(udp)))
		b = append(append(append(b, ip...), f.src.Addr().AsSlice()...), f.dst.Addr().AsSlice()...)
	}
	return append(append(b, udp...), f.trailing...)
}

// datagram finds the addresses and the payload of a frame that is whole: with the right checksums and lengths.
func datagram(b []byte) (src, dst netip.AddrPort, payload []byte, whole bool) {
	if len(b) < 14 {
		return src, dst, nil, false
	}
	var a, z netip.Addr
	var udp []byte
	ip := b[14:]
	switch t := binary.BigEndian.Uint16(b[12:]); {
	case t == 0x0800 && len(ip) >= 28 && ip[0] == 0x45 && onesSum(0, ip[:20]) == 0xffff && ip[9] == 17 &&
		int(binary.BigEndian.Uint16(ip[2:])) == len(ip) && binary.BigEndian.Uint16(ip[6:])&0x3fff == 0:
		a, _ = netip.AddrFromSlice(ip[12:16])
		z, _ = netip.AddrFromSlice(ip[16:20])
		udp = ip[20:]
	case t == 0x86dd && len(ip) >= 48 && ip[0]>>4 == 6 && ip[6] == 17 && int(binary.BigEndian.Uint16(ip[4:])) == len(ip)-40:
		a, _ = netip.AddrFromSlice(ip[8:24])
		z, _ = netip.AddrFromSlice(ip[24:40])
		udp = ip[40:]
	default:
		return src, dst, nil, false
	}
	field := binary.BigEndian.Uint16(udp[6:])
	pseudo := pseudoSum(a, z, len(udp))
	whole = int(binary.BigEndian.Uint16(udp[4:])) == len(udp) &&
		(field == 0 && a.Is4() || field == onesSum(pseudo, nil) || field != 0 && onesSum(pseudo, udp) == 0xffff)
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(udp)), netip.AddrPortFrom(z, binary.BigEndian.Uint16(udp[2:])), udp[8:], whole
}

// onesSum is the ones' complement sum of start and b (RFC 1071).
func onesSum(start uint64, b []byte) uint16 {
	for i := 0; i < len(b); i += 2 {
		start += uint64(b[i]) << 8
		if i+1 < len(b) {
			start += uint64(b[i+1])
		}
	}
	for start > 0xffff {
		start = start>>16 + start&0xffff
	}
	return uint16(start)
}

func pseudoSum(src, dst netip.Addr, length int) uint64 {
	return uint64(onesSum(17+uint64(length), append(src.AsSlice(), dst.AsSlice()...)))
}

// notZero: a checksum of zero means none (RFC 768).
func notZero(sum uint16) uint16 { return or(sum, 0xffff) }

func or(v, instead uint16) uint16 {
	if v == 0 {
		return instead
	}
	return v
}
