package locate

import (
	"net/netip"
	"slices"

	"ntp-daemon/internal/resolve"
)

// keepOutward takes the addresses out of found that a key exchange server at peer may not send us to. What a remote party
// names is untrusted, in whichever record: with 127.0.0.1, or the address of our router, it would have us send packets of
// its choice where it cannot itself (docs/rules/client.md#inward). Nobody can point farther in than where he stands, so a
// server on this host may name this host, and one on our link its neighbours.
func (f Finder) keepOutward(found *Found, peer netip.Addr) {
	own := f.Own
	if own == nil {
		own = resolve.OwnAddresses
	}
	list := own()
	allowed := resolve.ScopeOf(peer, list)
	if allowed == resolve.Host { // the look-up knew only that the name is not localhost
		for _, r := range found.Refused {
			if r.Reason == resolve.Loopback {
				found.Addrs = append(found.Addrs, netip.AddrPortFrom(r.Addr, found.Port))
			}
		}
		found.Refused = slices.DeleteFunc(found.Refused, func(r resolve.Refusal) bool { return r.Reason == resolve.Loopback })
	}
	kept := found.Addrs[:0]
	for _, a := range found.Addrs {
		if resolve.ScopeOf(a.Addr(), list) > allowed {
			found.Refused = append(found.Refused, resolve.Refusal{Addr: a.Addr(), Reason: resolve.Inward})
		} else {
			kept = append(kept, a)
		}
	}
	found.Addrs = kept
}
