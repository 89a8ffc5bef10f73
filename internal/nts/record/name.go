package record

import (
	"net/netip"
	"strings"
)

// MaxName is the longest server name we send, accept or deny (DNS: 253 octets of text, 255 on the wire).
const MaxName = 255

// ValidServer says whether name can stand in a Server record (RFC 8915 §4.1.7): an IPv4 or IPv6 address
// without zone, or a host name of ASCII letters, digits, hyphens and underscores in labels of 1 to 63, with
// or without the final dot. Internationalised names must arrive as A-labels. Everything that could break a
// log line, a resolver or a file name fails.
func ValidServer(name string) bool {
	if name == "" || len(name) > MaxName {
		return false
	}
	if a, err := netip.ParseAddr(name); err == nil {
		return a.Zone() == ""
	}
	letter := false
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
				letter = true
			case c == '-':
				letter = true
			case c >= '0' && c <= '9':
			default:
				return false
			}
		}
	}
	// All digits and dots is a mistyped IPv4 address, which some resolvers would take for one.
	return letter
}
