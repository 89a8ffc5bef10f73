package ntp

import (
	"encoding/binary"
	"errors"
)

// Port is the UDP port on which NTP is served unless something else was agreed on (RFC 5905 §7.2).
const Port = 123

// HeaderLen is the length of an NTP header in bytes; MaxPacket the longest datagram that is parsed at all.
// Nothing the suite sends is longer than 1232 bytes, so more is hostile or broken.
const (
	HeaderLen = 48
	MaxPacket = 2048
)

// Errors of ParseHeader.
var (
	ErrShort = errors.New("packet shorter than an NTP header")
	ErrLong  = errors.New("packet longer than 2048 bytes")
)

// Header is the fixed part of an NTPv3 or NTPv4 packet.
//
//	 0                   1                   2                   3
//	|LI | VN  |Mode |    Stratum    |     Poll      |   Precision   |
//	|                          Root Delay                           |
//	|                       Root Dispersion                         |
//	|                         Reference ID                          |
//	|                     Reference Timestamp (64)                  |
//	|                      Origin Timestamp (64)                    |
//	|                      Receive Timestamp (64)                   |
//	|                      Transmit Timestamp (64)                  |
type Header struct {
	Leap           LeapIndicator
	Version        uint8
	Mode           Mode
	Stratum        Stratum
	Poll           int8 // log2 s, as received; hostile values are clamped where they are used
	Precision      int8 // log2 s
	RootDelay      Short
	RootDispersion Short
	RefID          RefID
	Reference      Timestamp // when the clock was last set
	Origin         Timestamp // T1 of the request, or what the client put there
	Receive        Timestamp // T2
	Transmit       Timestamp // T3 in a reply; 64 random bits in our requests (C01)
}

// ParseHeader reads the fixed header; what follows it is for Trailer.
func ParseHeader(b []byte) (h Header, err error) {
	err = h.Parse(b)
	return h, err
}

// Parse is ParseHeader into memory that is there; h is unchanged if there is an error. A header that was just written is not copied then: that
// would wait until its parts have arrived in the cache, which takes as long as reading them.
func (h *Header) Parse(b []byte) error {
	if len(b) < HeaderLen {
		return ErrShort
	}
	if len(b) > MaxPacket {
		return ErrLong
	}
	b = b[:HeaderLen]
	h.Leap, h.Version, h.Mode = LeapIndicator(b[0]>>6), b[0]>>3&7, Mode(b[0]&7)
	h.Stratum, h.Poll, h.Precision = Stratum(b[1]), int8(b[2]), int8(b[3])
	h.RootDelay = Short(binary.BigEndian.Uint32(b[4:]))
	h.RootDispersion = Short(binary.BigEndian.Uint32(b[8:]))
	h.RefID = RefID(binary.BigEndian.Uint32(b[12:]))
	h.Reference = Timestamp(binary.BigEndian.Uint64(b[16:]))
	h.Origin = Timestamp(binary.BigEndian.Uint64(b[24:]))
	h.Receive = Timestamp(binary.BigEndian.Uint64(b[32:]))
	h.Transmit = Timestamp(binary.BigEndian.Uint64(b[40:]))
	return nil
}

// AppendTo appends the 48 bytes of the header to dst.
func (h *Header) AppendTo(dst []byte) []byte {
	dst = append(dst, uint8(h.Leap)<<6|h.Version&7<<3|uint8(h.Mode)&7, uint8(h.Stratum), uint8(h.Poll), uint8(h.Precision))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.RootDelay))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.RootDispersion))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.RefID))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Reference))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Origin))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Receive))
	return binary.BigEndian.AppendUint64(dst, uint64(h.Transmit))
}

// IsKiss reports whether a server reply is a kiss-o'-death packet (RFC 5905 §7.4).
func (h *Header) IsKiss() bool { return h.Stratum == 0 }
