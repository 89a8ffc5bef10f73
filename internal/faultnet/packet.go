package faultnet

import (
	"encoding/binary"
	"net/netip"
)

// Protocol numbers of the packets that the router understands.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

const (
	ip4Header  = 20
	ip6Header  = 40
	udpHeader  = 8
	dontFrag   = 0x40 // in byte 6 of an IPv4 header
	routerTTL  = 64
	ntpPort    = 123
	ipv4, ipv6 = 4, 6
)

// RouterAddr is the source of the router's ICMP errors (RFC 7600: the IPv4 dummy address).
var RouterAddr = netip.MustParseAddr("192.0.0.8")

// Direction is the way a packet goes.
type Direction uint8

// The directions.
const (
	Out  Direction = iota // from the near namespace, where clients live, to the far one
	Back                  // from far to near
)

// String names the direction.
func (d Direction) String() string { return [...]string{"out", "back"}[d&1] }

// Packet is one IP packet at the router. A hook may change Data or replace it.
type Packet struct {
	Data []byte
	Dir  Direction
}

// Clone is a copy that outlives the hook.
func (p *Packet) Clone() Packet { return Packet{Data: append([]byte(nil), p.Data...), Dir: p.Dir} }

// layout finds the transport header: version, its offset and protocol; ok is false for anything odd.
func layout(b []byte) (version, at int, proto uint8, ok bool) {
	if len(b) == 0 {
		return 0, 0, 0, false
	}
	switch b[0] >> 4 {
	case ipv4:
		at = int(b[0]&15) * 4
		if len(b) < ip4Header || at < ip4Header || len(b) < at {
			return 0, 0, 0, false
		}
		return ipv4, at, b[9], true
	case ipv6:
		if len(b) < ip6Header {
			return 0, 0, 0, false
		}
		return ipv6, ip6Header, b[6], true
	}
	return 0, 0, 0, false
}

// addrs are the two IP addresses.
func addrs(b []byte) (src, dst netip.Addr) {
	switch v, _, _, ok := layout(b); {
	case !ok:
		return src, dst
	case v == ipv4:
		return netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	default:
		return netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	}
}

// Ends are source and destination; the ports are 0 for what has none.
func (p *Packet) Ends() (src, dst netip.AddrPort) {
	a, b := addrs(p.Data)
	_, at, proto, ok := layout(p.Data)
	if !ok || proto != protoUDP && proto != protoTCP || len(p.Data) < at+4 {
		return netip.AddrPortFrom(a, 0), netip.AddrPortFrom(b, 0)
	}
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(p.Data[at:])), netip.AddrPortFrom(b, binary.BigEndian.Uint16(p.Data[at+2:]))
}

// Far is the address in the far namespace.
func (p *Packet) Far() netip.Addr {
	src, dst := addrs(p.Data)
	if p.Dir == Out {
		return dst
	}
	return src
}

// UDP is the payload of a whole UDP datagram, nil for every other packet. It aliases Data.
func (p *Packet) UDP() []byte {
	v, at, proto, ok := layout(p.Data)
	if !ok || proto != protoUDP || len(p.Data) < at+udpHeader || v == ipv4 && binary.BigEndian.Uint16(p.Data[6:])&0x1fff != 0 {
		return nil
	}
	n := int(binary.BigEndian.Uint16(p.Data[at+4:]))
	if n < udpHeader || at+n > len(p.Data) {
		return nil // a fragment, or damaged
	}
	return p.Data[at+udpHeader : at+n]
}

// NTP is the payload of a datagram from or to port 123, nil for every other packet.
func (p *Packet) NTP() []byte {
	src, dst := p.Ends()
	if src.Port() != ntpPort && dst.Port() != ntpPort {
		return nil
	}
	return p.UDP()
}

// IsUDP reports whether the packet is UDP, whole or not.
func (p *Packet) IsUDP() bool {
	_, _, proto, ok := layout(p.Data)
	return ok && proto == protoUDP
}

// SetUDP replaces the payload of a datagram and makes lengths and checksums right.
func (p *Packet) SetUDP(payload []byte) {
	src, dst := p.Ends()
	p.Data = UDP(src, dst, payload)
}

// UDP builds a whole packet with one datagram. Both ends are of one family.
func UDP(src, dst netip.AddrPort, payload []byte) []byte {
	b := make([]byte, udpHeader, udpHeader+len(payload))
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(udpHeader+len(payload)))
	pkt := ipPacket(src.Addr().Unmap(), dst.Addr().Unmap(), protoUDP, append(b, payload...))
	FixChecksum(pkt)
	return pkt
}

// ipPacket puts an IP header before body, with "don't fragment" set.
func ipPacket(src, dst netip.Addr, proto uint8, body []byte) []byte {
	if src.Is4() {
		h := make([]byte, ip4Header, ip4Header+len(body))
		h[0], h[6], h[8], h[9] = 0x45, dontFrag, routerTTL, proto
		binary.BigEndian.PutUint16(h[2:], uint16(ip4Header+len(body)))
		copy(h[12:], src.AsSlice())
		copy(h[16:], dst.AsSlice())
		sumHeader(h)
		return append(h, body...)
	}
	h := make([]byte, ip6Header, ip6Header+len(body))
	h[0], h[6], h[7] = 0x60, proto, routerTTL
	binary.BigEndian.PutUint16(h[4:], uint16(len(body)))
	copy(h[8:], src.AsSlice())
	copy(h[24:], dst.AsSlice())
	return append(h, body...)
}

// sumHeader writes the header checksum of an IPv4 packet.
func sumHeader(b []byte) {
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^fold(sum(0, b[:int(b[0]&15)*4])))
}

// FixChecksum makes the checksum of a whole UDP datagram right again after a change.
func FixChecksum(b []byte) {
	v, at, proto, ok := layout(b)
	if !ok || proto != protoUDP || len(b) < at+udpHeader {
		return
	}
	if v == ipv4 {
		sumHeader(b)
	}
	src, dst := addrs(b)
	body := b[at:]
	body[6], body[7] = 0, 0
	acc := sum(0, src.AsSlice())
	acc = sum(acc, dst.AsSlice()) + uint32(proto) + uint32(len(body))
	c := ^fold(sum(acc, body))
	if c == 0 {
		c = 0xffff // zero means "no checksum" (RFC 768)
	}
	binary.BigEndian.PutUint16(body[6:], c)
}

// sum adds the 16-bit words of b (RFC 1071).
func sum(acc uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		acc += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		acc += uint32(b[0]) << 8
	}
	return acc
}

func fold(acc uint32) uint16 {
	for acc > 0xffff {
		acc = acc>>16 + acc&0xffff
	}
	return uint16(acc)
}

// The ICMP errors that tests forge or the router sends (RFC 792, RFC 1191).
const (
	icmpUnreachable = 3
	icmpQuench      = 4
	icmpTimeout     = 11

	icmp6Unreachable = 1
	icmp6TooBig      = 2

	CodeHost       = 1 // of icmpUnreachable
	CodePort       = 3
	CodeFragNeeded = 4
)

// Unreachable is the ICMP or ICMPv6 error "destination unreachable" that the host or router at from sends about an
// offending packet. mtu has meaning with CodeFragNeeded and IPv4 only.
func Unreachable(from netip.Addr, code uint8, mtu uint16, offending []byte) []byte {
	if from.Is6() {
		return icmp6Error(from, icmp6Unreachable, code, 0, offending)
	}
	return icmpError(from, icmpUnreachable, code, uint32(mtu), offending)
}

// SourceQuench is the ICMP message that nobody obeys any more (RFC 6633).
func SourceQuench(from netip.Addr, offending []byte) []byte {
	return icmpError(from, icmpQuench, 0, 0, offending)
}

// TimeExceeded is the ICMP message of a routing loop.
func TimeExceeded(from netip.Addr, offending []byte) []byte {
	return icmpError(from, icmpTimeout, 0, 0, offending)
}

func icmpError(from netip.Addr, kind, code uint8, rest uint32, offending []byte) []byte {
	body := []byte{kind, code, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(body[4:], rest)
	body = append(body, offending[:min(len(offending), 28)]...)
	binary.BigEndian.PutUint16(body[2:], ^fold(sum(0, body)))
	back, _ := addrs(offending)
	return ipPacket(from, back, protoICMP, body)
}

// PacketTooBig is how an IPv6 router refuses a packet (RFC 4443 §3.2).
func PacketTooBig(from netip.Addr, mtu uint32, offending []byte) []byte {
	return icmp6Error(from, icmp6TooBig, 0, mtu, offending)
}

func icmp6Error(from netip.Addr, kind, code uint8, rest uint32, offending []byte) []byte {
	body := []byte{kind, code, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(body[4:], rest)
	body = append(body, offending[:min(len(offending), 1000)]...)
	back, _ := addrs(offending)
	acc := sum(sum(0, from.AsSlice()), back.AsSlice()) + protoICMPv6 + uint32(len(body))
	binary.BigEndian.PutUint16(body[2:], ^fold(sum(acc, body)))
	return ipPacket(from, back, protoICMPv6, body)
}

// fragment cuts an IPv4 packet to the MTU; one that must not be cut, or cannot, comes back as nil.
func fragment(b []byte, mtu int) [][]byte {
	v, at, _, ok := layout(b)
	size := (mtu - at) &^ 7
	if !ok || v != ipv4 || b[6]&dontFrag != 0 || size < 8 {
		return nil
	}
	var out [][]byte
	first := binary.BigEndian.Uint16(b[6:])
	for off := at; off < len(b); off += size {
		end := min(off+size, len(b))
		f := append(append([]byte(nil), b[:at]...), b[off:end]...)
		where := first&0x1fff + uint16((off-at)/8)
		more := first & 0x2000
		if end < len(b) {
			more = 0x2000
		}
		binary.BigEndian.PutUint16(f[6:], where|more)
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		sumHeader(f)
		out = append(out, f)
	}
	return out
}
