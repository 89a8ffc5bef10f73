package resolve

import (
	"net/netip"
	"os"
	"slices"
	"strings"
)

// resolvConf is where the system says which name servers it asks.
const resolvConf = "/etc/resolv.conf"

// dnsPort is where name servers listen.
const dnsPort = 53

// maxNameServers is how many name servers are asked, as resolv.conf(5) has it.
const maxNameServers = 3

// nameServers reads what resolv.conf(5) says of name servers, and whether it declares that their AD bit may be believed
// (options trust-ad). Without the file, or without one in it, it is this host, as resolv.conf(5) says.
func nameServers(path string) (list []netip.AddrPort, trusted bool) {
	text, _ := os.ReadFile(path) // without it the default holds
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(words[1]); err == nil && len(list) < maxNameServers {
				list = append(list, netip.AddrPortFrom(a.Unmap(), dnsPort))
			}
		case "options":
			trusted = trusted || slices.Contains(words[1:], "trust-ad")
		}
	}
	if len(list) == 0 {
		list = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), dnsPort)}
	}
	return list, trusted
}
