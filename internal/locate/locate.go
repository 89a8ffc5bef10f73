// Package locate goes from a configured source to the servers that can be asked for the time: look-up of the name,
// for the NTS modes key exchange before it. The daemon's supervisors and ntp-ctl both find their servers here, so that
// what ntp-ctl asks is what the daemon would ask.
//
// One call is one attempt. When to try again, which of the addresses to use and what to remember of those that failed
// is for the caller. It must not send NTP packets.
package locate

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/resolve"
)

// Resolver finds the addresses of a name; *resolve.Resolver is the one for production.
type Resolver interface {
	Lookup(ctx context.Context, host string, port uint16) (resolve.Answer, error)
}

// Exchange gets keys and cookies; ke.Exchange is the one for production. It ends within the timeout of its argument.
type Exchange func(ctx context.Context, c ke.ClientConfig) (ke.Result, error)

// Services finds the servers that the SRV records of a domain name, in the order in which they are to be asked;
// *resolve.Services is the one for production. An error comes without servers, and without one there is at least one.
type Services interface {
	Lookup(ctx context.Context, domain string) ([]resolve.Service, error)
}

// Finder is the outside world of a search. It may be used by several goroutines at once if its parts may.
type Finder struct {
	Resolve  Resolver
	Services Services // nil: name servers as the source says, without a memory
	Exchange Exchange
	Timeout  time.Duration       // for the keys, with all addresses that are asked for them; 0: ke.DefaultTimeout
	Own      func() []netip.Addr // the addresses of this host; nil: resolve.OwnAddresses
}

// Hints is what the caller remembers of earlier searches.
type Hints struct {
	Denied []string         // names that a pool is asked not to return, the least important first; of SRV targets: asked last
	Held   []string         // SRV targets that are not asked
	Prefer string           // name that a pool is asked to return again, SRV target that is asked first; empty: any
	Avoid  []netip.AddrPort // addresses of the key exchange server that gave no keys of late: they are asked last

	target bool // the host is an SRV target, so no search domain of ours may turn it into another name
}

// Found is where to ask, and for the NTS modes with which keys.
type Found struct {
	Session *nts.Session // nil in the plain modes
	// Name is the server's name, or address, by the key exchange; empty in the plain modes. It is as the server
	// wrote it, or the configured host where no Server record came. Of a source found by SRV records it is the target, which
	// is what the domain vouches for.
	Name string
	Port uint16 // UDP
	// Addrs is where to ask, most promising first, without the addresses that the source ignores; empty only if it
	// ignores all. In mode pool each is a server of its own, in the other modes all belong to one server.
	Addrs   []netip.AddrPort
	Refused []resolve.Refusal // addresses that the name stands for and must not
	Failed  []Attempt         // addresses of the key exchange server that gave no keys, those of a search with an error included
	Barren  []string          // SRV targets that gave no keys, likewise
}

// Find makes one attempt for a source of any mode:
//
//	server, pool:   look up Host → addresses
//	nts, nts-pool:  look up Host → key exchange with one of its addresses → session, name and port → look up the name → addresses
//	with SRV:       look up the SRV records of Host → one target after the other as if it were the host
//
// Without a Server record NTP is served where the keys came from (RFC 8915 §4.1.7): that address is the first then,
// and a failure of the look-up does not matter. A Server record must not point farther in than where the keys came from
// (Inward). Without keys an NTS mode finds nothing: plain NTP is never tried instead (KC18). With an error there are no
// addresses; a Session that comes with one says that the key exchange was good and the look-up after it failed.
func (f Finder) Find(ctx context.Context, src *config.Source, h Hints) (Found, error) {
	if !src.Mode.NTS() {
		return f.addresses(ctx, src, Found{Port: src.Port}, src.Host)
	}
	if src.SRV {
		return f.byService(ctx, src, h)
	}
	return f.secure(ctx, src, h)
}

// secure makes one key exchange with src.Host and finds the server that it names.
func (f Finder) secure(ctx context.Context, src *config.Source, h Hints) (Found, error) {
	res, failed, err := f.keys(ctx, src, h)
	if err != nil {
		return Found{Failed: failed}, err
	}
	found, err := f.addresses(ctx, src, Found{Session: res.Session, Name: res.Server, Port: res.Port, Failed: failed}, absolute(res, h.target))
	peer := res.Remote.Unmap()
	if res.ServerGiven {
		f.keepOutward(&found, peer)
		err = unusable(&found, err)
	}
	preferFamily(found.Addrs, peer)
	if !res.ServerGiven && peer.IsValid() {
		first := netip.AddrPortFrom(peer, res.Port)
		rest := slices.DeleteFunc(found.Addrs, func(a netip.AddrPort) bool { return a == first })
		found.Addrs, err = append([]netip.AddrPort{first}, rest...), nil
	}
	return found, err
}

// unusable is the error of what keepOutward left of a look-up that ended with err.
func unusable(found *Found, err error) error {
	switch refused := found.Refused; {
	case len(found.Addrs) > 0:
		return nil
	case len(refused) > 0 && refused[len(refused)-1].Reason == resolve.Inward:
		last := refused[len(refused)-1]
		return fmt.Errorf("server %q named by the key exchange: %w: %s is refused: %s", found.Name, resolve.ErrNoUsable, last.Addr, last.Reason)
	}
	return err
}

// exchange gets keys and cookies from one address. A chain that ends at an unknown authority is tried once more if that is
// known by now.
func (f Finder) exchange(ctx context.Context, src *config.Source, h Hints, at netip.AddrPort) (ke.Result, error) {
	for again := true; ; again = false {
		roots, err := src.Roots.Pool(time.Now())
		if err != nil {
			return ke.Result{}, fmt.Errorf("certificate-authority: %w", err)
		}
		c := f.clientConfig(src, roots, h)
		c.Connect = at
		res, err := f.Exchange(ctx, c)
		if err == nil || !again || !src.Roots.Doubt(err, time.Now()) {
			return res, err
		}
	}
}

// clientConfig is the key exchange that the source asks for.
func (f Finder) clientConfig(src *config.Source, roots *x509.CertPool, h Hints) ke.ClientConfig {
	return ke.ClientConfig{
		Address: src.Host, Port: src.Port, Roots: roots, Algorithms: src.Algorithms, Denied: h.Denied, Prefer: h.Prefer, Timeout: f.timeout(),
	}
}

func (f Finder) timeout() time.Duration {
	if f.Timeout <= 0 {
		return ke.DefaultTimeout
	}
	return f.Timeout
}

// addresses looks up host and completes found.
func (f Finder) addresses(ctx context.Context, src *config.Source, found Found, host string) (Found, error) {
	a, err := f.Resolve.Lookup(ctx, host, found.Port)
	found.Addrs, found.Refused = a.Addrs, a.Refused
	if len(src.Ignore) > 0 {
		found.Addrs = slices.DeleteFunc(found.Addrs, func(a netip.AddrPort) bool { return slices.Contains(src.Ignore, a.Addr()) })
	}
	return found, err
}

// preferFamily moves the addresses of peer's family to the front: a connection of that family has just worked
// from here, so a host without route for the other one need not find out by silence.
func preferFamily(addrs []netip.AddrPort, peer netip.Addr) {
	if !peer.IsValid() {
		return
	}
	slices.SortStableFunc(addrs, func(a, b netip.AddrPort) int { return other(a, peer) - other(b, peer) })
}

// other is 1 for an address of another family than peer.
func other(a netip.AddrPort, peer netip.Addr) int {
	if a.Addr().Is4() == peer.Is4() {
		return 0
	}
	return 1
}

// absolute is the host to look up after a key exchange. A name that a server sent is absolute, so that no search
// domain of ours can turn it into another (RFC 8915 §4.1.7), and so is one out of an SRV record.
func absolute(res ke.Result, target bool) string {
	if _, err := netip.ParseAddr(res.Server); err == nil || !res.ServerGiven && !target || strings.HasSuffix(res.Server, ".") {
		return res.Server
	}
	return res.Server + "."
}
