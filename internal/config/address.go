package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// longestHost is the longest name that DNS can hold (RFC 1035 §2.3.4).
const longestHost = 253

// address reads "host", "host:port", "[v6]:port" or a bare IPv6 address (docs/rules/configuration.md#addresses).
func (t *table) address(key string, host *string, port *uint16) {
	var s string
	if !t.text(key, "ntp.example.org", &s) {
		if !t.has(key) {
			t.missing(key, `write address = "host" or "host:port"`)
		}
		return
	}
	h, p, what, remedy := splitAddress(s)
	if what != "" {
		t.fail(key, t.node.children[key], quote(s)+what, remedy)
		return
	}
	*host = h
	if p != 0 {
		*port = p
	}
}

// SplitAddress reads an address as the configuration of a source may hold it: host, host:port, [v6]:port or a bare IPv6
// address, with a zone or without. The port is 0 if none is written. The error says what is wrong and what to write.
func SplitAddress(s string) (host string, port uint16, err error) {
	host, port, what, remedy := splitAddress(s)
	if what != "" {
		return "", 0, fmt.Errorf("%s%s; %s", quote(s), what, remedy)
	}
	return host, port, nil
}

// splitAddress returns host and port, port 0 when none is written, or what is wrong and the remedy.
func splitAddress(s string) (host string, port uint16, what, remedy string) {
	host, digits := s, ""
	if strings.Count(s, ":") > 1 {
		if a, err := netip.ParseAddr(s); err == nil {
			what, remedy = checkHost(a.String())
			return a.String(), 0, what, remedy
		}
		end := strings.LastIndex(s, "]:")
		if !strings.HasPrefix(s, "[") || end < 0 && !strings.HasSuffix(s, "]") {
			return "", 0, " is no address", `write an IPv6 address with port as "[2001:db8::1]:123"`
		}
		if end < 0 {
			end = len(s) - 1
		} else {
			if digits = s[end+2:]; digits == "" {
				return "", 0, " has no port after the colon", "write a port or remove the colon"
			}
		}
		a, err := netip.ParseAddr(s[1:end])
		if err != nil || !a.Is6() {
			return "", 0, " is no IPv6 address", `write an IPv6 address with port as "[2001:db8::1]:123"`
		}
		host = a.String()
	} else if i := strings.IndexByte(s, ':'); i >= 0 {
		host, digits = s[:i], s[i+1:]
		if digits == "" {
			return "", 0, " has no port after the colon", "write a port or remove the colon"
		}
	}
	if digits != "" {
		p, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || p == 0 {
			return "", 0, " has no valid port", "use 1 to 65535"
		}
		port = uint16(p)
	}
	if what, remedy = checkHost(host); what != "" {
		return "", 0, what, remedy
	}
	return host, port, "", ""
}

// checkHost refuses what no name server and no certificate can hold, and an address that leads nowhere.
func checkHost(h string) (what, remedy string) {
	if a, err := netip.ParseAddr(h); err == nil {
		if a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "" {
			return " is a link-local address without its interface", fmt.Sprintf(`write it as "%s%%eth0"`, a)
		}
		return "", ""
	}
	name := strings.TrimSuffix(h, ".")
	if name == "" || len(name) > longestHost {
		return " holds no host name of 1 to 253 characters", `write "host" or "host:port"`
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" || len(label) > 63 {
			return " is no host name", "each part between the dots has 1 to 63 characters"
		}
	}
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		case c > 0x7f:
			return " is no host name", `write the ASCII form of the name, which begins with "xn--"`
		default:
			return " is no host name", "use letters, digits, hyphens and dots"
		}
	}
	return "", ""
}
