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

// admit looks at the length and the first byte, before anything costs; port is the source's. Answered means: go
// on.
func admit(b []byte, port uint16, accepted Versions) Verdict {
	switch {
	case len(b) < ntp.HeaderLen:
		return TooShort
	case len(b) > ntp.MaxPacket:
		return TooLong
	case !asks(b[0], port):
		return WrongMode
	case accepted&answerable>>(b[0]>>3&7)&1 == 0:
		return WrongVersion
	}
	return Answered
}

// asks reports whether a packet with that first byte is a request. An answer never is one, so two servers cannot
// keep each other busy (CVE-2009-3563, CVE-2025-58066):
//
//	request                                        answer                why
//	3, client                                      4, server             RFC 5905 §3
//	1, symmetric active                            2, symmetric passive  w32tm and routers ask their servers so; we
//	                                                                     keep no association, as chrony
//	0 of version 1 from another port than 123      4, server             NTPv1 has no modes: two daemons use port 123
//	                                                                     on both sides, a client does not (RFC 1059)
//	any other                                      none
func asks(first byte, port uint16) bool {
	switch ntp.Mode(first & 7) {
	case ntp.ModeClient, ntp.ModeSymmetricActive:
		return true
	case ntp.ModeUnspecified:
		return first>>3&7 == 1 && port != ntp.Port
	}
	return false
}

// answerMode is the mode of the answer to a request of mode m.
func answerMode(m ntp.Mode) ntp.Mode {
	if m == ntp.ModeSymmetricActive {
		return ntp.ModeSymmetricPassive
	}
	return ntp.ModeServer
}

// admitPeer looks at what follows the header of a symmetric active request. Fields that mean nothing to us are
// passed over, but a peer with a key would refuse an answer without MAC, and NTS has no symmetric mode
// (RFC 8915 §1).
func admitPeer(f *ntp.Fields) Verdict {
	if f.MAC != nil {
		return WrongMode
	}
	for _, field := range f.All() {
		switch field.Type {
		case ntp.FieldUniqueID, ntp.FieldCookie, ntp.FieldCookiePlaceholder, ntp.FieldAuthenticator:
			return BadNTS
		}
	}
	return Answered
}
