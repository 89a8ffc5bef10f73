package pool

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"ntp-daemon/internal/nts/record"
)

// maxNameBytes is the longest Server or Deny name taken from anybody (docs/rules/pool.md#server-names).
const maxNameBytes = record.MaxName

// maxDNSNameBytes is the longest DNS name in text, without its trailing dot (RFC 1035: 255 on the wire).
const maxDNSNameBytes = 253

// Reasons for refusing the Server name of a time source (docs/rules/pool.md#server-names). Each one ends the
// exchange with error 2; a refused name is never replaced by another one in silence.
var (
	ErrNameEmpty     = errors.New("server name is empty")
	ErrNameLong      = errors.New("server name is longer than 255 bytes")
	ErrNameMalformed = errors.New("server name is neither a DNS name nor an address")
	ErrNameOwn       = errors.New("server name is one of the pool's own")
	ErrNameLocal     = errors.New("server name is a loopback, private, link-local or otherwise not public target")
	ErrNameUnlisted  = errors.New("server name is not among those listed for this time source")
)

// localPrefixes are the special-purpose blocks to which no stranger may send a user; loopback,
// private, link-local, multicast and unspecified addresses are known to net/netip already.
// Source: the IANA special-purpose registries. Documentation blocks are left out: they lead nowhere.
var localPrefixes = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("fec0::/10"),
}

// CanonicalName is the form in which names are compared: lower case, no trailing dot, an address
// in its shortest spelling with IPv4-mapped IPv6 folded to IPv4. What travels is never changed.
func CanonicalName(name string) string {
	if addr, ok := parseAddress(name); ok {
		return addr.String()
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// parseAddress takes an address literal without zone and without brackets.
func parseAddress(name string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(name)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// Expected is what is known before a time source's answer comes.
type Expected struct {
	// Reached is the name by which the user came to the pool (SNI), which is the pool's own, although a certificate with a
	// wildcard does not say so; empty if unknown. A user who lies about it harms himself.
	Reached string
	// Names are those that the time source says it hands out (List Server Names); nil: it did not say, empty: none.
	Names []string
}

// CheckServerName decides whether the Server name a time source put in its answer may be handed
// to a user (docs/rules/pool.md#server-names). The domain of the backend and the names configured for it are
// trusted as written by the operator; with such a list present nothing else passes. Without one, a list that the time
// source gave of itself limits it in the same way, but makes no name pass that would not.
func (d *Directory) CheckServerName(b *Backend, name string, e Expected) error {
	if err := WellFormed(name); err != nil {
		return err
	}
	canonical := CanonicalName(name)
	if b.Trusts(name) {
		return nil
	}
	host := strings.TrimSuffix(name, ".")
	_, literal := parseAddress(name)
	switch {
	case !literal && numericLabel(host[strings.LastIndexByte(host, '.')+1:]):
		return ErrNameMalformed // browsers' parsers take it for an address
	case slices.Contains(d.own, canonical), d.isOwnPart(canonical), e.Reached != "" && canonical == CanonicalName(e.Reached):
		return ErrNameOwn
	case isLocal(canonical):
		return ErrNameLocal
	case len(b.Names) > 0, e.Names != nil && !containsName(e.Names, canonical):
		return ErrNameUnlisted
	}
	return nil
}

// Trusts reports whether the operator has written the name for this time source: it may stand for any address then.
func (b *Backend) Trusts(name string) bool {
	canonical := CanonicalName(name)
	return canonical == CanonicalName(b.Domain) || containsName(b.Names, canonical)
}

// WellFormed tells a DNS name or address literal from anything else a stranger may send. Errors: ErrNameEmpty,
// ErrNameLong, ErrNameMalformed.
func WellFormed(name string) error {
	switch {
	case name == "":
		return ErrNameEmpty
	case len(name) > maxNameBytes:
		return ErrNameLong
	}
	if _, ok := parseAddress(name); ok {
		return nil
	}
	host := strings.TrimSuffix(name, ".")
	// "127.1" or "0x7f000001" is an address to many a resolver although it parses as no address here. "server.1", as in
	// the seed's configuration, is a name to all of them.
	if len(host) > maxDNSNameBytes || !record.ValidServer(name) || allNumeric(host) {
		return ErrNameMalformed
	}
	return nil
}

func allNumeric(host string) bool {
	for label := range strings.SplitSeq(host, ".") {
		if !numericLabel(label) {
			return false
		}
	}
	return true
}

// numericLabel reports a label that old address parsers read as a number: decimal, octal or 0x….
func numericLabel(label string) bool {
	digits := label
	hex := len(label) >= 2 && label[0] == '0' && label[1]|0x20 == 'x'
	if hex {
		digits = label[2:]
	}
	for i := 0; i < len(digits); i++ {
		c := digits[i]
		if c >= '0' && c <= '9' || hex && 'a' <= c|0x20 && c|0x20 <= 'f' {
			continue
		}
		return false
	}
	return true
}

// isLocal reports a canonical name that leads into the user's own machine or network.
func isLocal(canonical string) bool {
	addr, ok := parseAddress(canonical)
	if !ok {
		return canonical == "localhost" || strings.HasSuffix(canonical, ".localhost")
	}
	return IsLocal(addr)
}

// IsLocal reports an address that leads into the user's own machine or network, or nowhere.
func IsLocal(addr netip.Addr) bool {
	if addr = addr.Unmap(); !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return true
	}
	for _, p := range localPrefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// containsName looks for an already canonical name in a list of names as written.
func containsName(names []string, canonical string) bool {
	for _, n := range names {
		if CanonicalName(n) == canonical {
			return true
		}
	}
	return false
}
