package ntp

import (
	"crypto/md5" //nolint:gosec // RFC 5905 §7.3 fixes MD5 for the identifier of an IPv6 source; it protects nothing.
	"encoding/binary"
	"net/netip"
)

// RefID identifies the reference of a clock: four ASCII letters at stratum 0 and 1, else the IPv4 address or
// the first four bytes of the MD5 hash of the IPv6 address of the upstream server (RFC 5905 §7.3).
type RefID uint32

// RefIDFromString packs up to four bytes, padded with NUL on the right (RFC 5905 §7.3).
func RefIDFromString(s string) RefID {
	var b [4]byte
	copy(b[:], s)
	return RefID(binary.BigEndian.Uint32(b[:]))
}

// RefIDFromAddr returns the identifier of an upstream server; an IPv4-mapped address counts as IPv4.
func RefIDFromAddr(a netip.Addr) RefID {
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		return RefID(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	sum := md5.Sum(b[:]) //nolint:gosec // see the import
	return RefID(binary.BigEndian.Uint32(sum[:4]))
}

// OwnRefID returns the identifier that a server shows which follows us at that address of ours; 0 for an address that
// identifies nobody to others: several daemons on one host reach each other over loopback, each with 127.0.0.1 as its own.
func OwnRefID(a netip.Addr) RefID {
	if a = a.Unmap(); !a.IsValid() || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() {
		return 0
	}
	return RefIDFromAddr(a)
}

// Text returns the letters of a stratum 0 or 1 identifier; bytes that are not printable ASCII become '?',
// so that a peer's bytes never reach a terminal raw.
func (r RefID) Text() string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(r))
	n := 4
	for n > 0 && b[n-1] == 0 {
		n--
	}
	for i := range b[:n] {
		if b[i] < 0x20 || b[i] > 0x7e {
			b[i] = '?'
		}
	}
	return string(b[:n])
}
