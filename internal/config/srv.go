package config

import (
	"fmt"
	"net/netip"

	"ntp-daemon/internal/resolve"
)

const (
	dnsPort          = 53
	mostSRVResolvers = 3 // as many as resolv.conf(5) has
)

// serviceKeys reads what finds a source by SRV records. The address must then be a domain, and its port comes from the records.
func (t *table) serviceKeys(s *Source) {
	const on, by = "enable-srv-resolution", "srv-resolvers"
	t.boolean(on, &s.SRV)
	s.SRVResolvers = t.nameServers(by)
	if !s.SRV {
		if t.has(by) {
			t.fail(by, t.node.children[by], "is given without "+on, "write "+on+" = true, or remove it")
		}
		return
	}
	address := t.node.children["address"]
	if _, err := netip.ParseAddr(s.Host); err == nil {
		t.fail("address", address, quote(s.Host)+" is an address, SRV records belong to a name", "write the domain of the pool, or remove "+on)
	}
	if s.Port != ntskePort {
		t.l.warn(address.val, t.name("address"), fmt.Sprintf("port %d is not used, the SRV records of the domain have the ports", s.Port), "remove it")
	}
	if !t.has(by) {
		t.examine(on, func(m *Machine, found func(CheckID, string, string)) {
			if len(resolve.Believed(m.Resolvers)) == 0 {
				found(CheckResolver, "no name server of the system is on this host or declared trusted (options trust-ad), so SRV records cannot be validated",
					"run a validating resolver here, or name one with "+by)
			}
		})
	}
}

// nameServers reads an array of "ip" or "ip:port".
func (t *table) nameServers(key string) (list []netip.AddrPort) {
	items := t.strings(key, "127.0.0.1")
	for n, item := range items {
		a, ok := NameServer(item.text)
		switch {
		case !ok:
			t.fail(key, item, quote(item.text)+" is not an address of a name server", `write it as "127.0.0.1" or "127.0.0.1:53"`)
			continue
		case n == mostSRVResolvers:
			t.fail(key, item, fmt.Sprintf("holds more than %d name servers", mostSRVResolvers), "remove some")
		}
		list = append(list, a)
	}
	return list
}

// NameServer reads the address of a name server, "ip" or "ip:port", port 53 if none is written; ok is false for anything else.
func NameServer(s string) (a netip.AddrPort, ok bool) {
	host, port, err := SplitAddress(s)
	if err != nil {
		return a, false
	}
	addr, err := netip.ParseAddr(host)
	if port == 0 {
		port = dnsPort
	}
	return netip.AddrPortFrom(addr.Unmap(), port), err == nil
}
