package server

import "ntp-daemon/internal/ntp"

// Versions is a set of NTP versions, bit n for version n.
type Versions uint8

// DefaultVersions are NTPv3 and NTPv4.
const DefaultVersions Versions = 1<<3 | 1<<4

// answerable are the versions whose header this package can fill. Version 0 never existed on the wire with a
// mode, and version 5 has another header.
const answerable Versions = 1<<1 | 1<<2 | 1<<3 | 1<<4

// VersionSet makes a set; versions that cannot be answered are left out.
func VersionSet(list ...uint8) (v Versions) {
	for _, n := range list {
		if n < 8 {
			v |= 1 << n
		}
	}
	return v & answerable
}

// admit looks at the length and the first byte, before anything costs. Answered means: go on.
func admit(b []byte, accepted Versions) Verdict {
	switch {
	case len(b) < ntp.HeaderLen:
		return TooShort
	case len(b) > ntp.MaxPacket:
		return TooLong
	case ntp.Mode(b[0]&7) != ntp.ModeClient:
		return WrongMode
	case accepted&answerable>>(b[0]>>3&7)&1 == 0:
		return WrongVersion
	}
	return Answered
}
