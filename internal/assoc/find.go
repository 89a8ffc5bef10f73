package assoc

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/resolve"
)

// keyExchangeTimeout bounds a key exchange from dial to close (KC14).
const keyExchangeTimeout = 5 * time.Second

// found is what one search yields: where to ask, and for the NTS modes with which keys.
type found struct {
	purpose purpose
	session *nts.Session // nil in the plain modes
	name    string       // server name given by the key exchange; empty in the plain modes
	port    uint16       // NTP port
	addrs   []netip.AddrPort
	refused []resolve.Refusal
	// provisional: the certificate was judged as of the floor, see Bootstrap.
	provisional bool
	err         error // no addresses; with a session it is the look-up after a good key exchange that failed
	step        string
}

// search runs one look-up or key exchange, without touching the supervisor. denied are the names that a pool is
// asked not to return.
func search(ctx context.Context, spec *Spec, d *Deps, p purpose, denied []string) found {
	f := found{purpose: p, port: spec.Port}
	host := spec.Host
	var remote, peer netip.Addr
	if spec.Mode.NTS() {
		res, provisional, err := exchangeKeys(ctx, spec, d, denied)
		if f.provisional = provisional; err != nil {
			f.step, f.err = "key exchange", err
			return f
		}
		f.session, f.name, f.port = res.Session, res.Server, res.Port
		host = absolute(res)
		peer = res.Remote.Unmap()
		if !res.ServerGiven {
			remote = peer // NTP is served where the keys came from (RFC 8915 §4.1.7)
		}
	}
	a, err := d.Resolve.Lookup(ctx, host, f.port)
	f.addrs, f.refused = a.Addrs, a.Refused
	preferFamily(f.addrs, peer)
	switch {
	case remote.IsValid():
		first := netip.AddrPortFrom(remote, f.port)
		f.addrs = append([]netip.AddrPort{first}, slices.DeleteFunc(a.Addrs, func(o netip.AddrPort) bool { return o == first })...)
	case err != nil:
		f.step, f.err = "name look-up", err
	}
	return f
}

// preferFamily moves the addresses of peer's family to the front: a connection of that family has just worked
// from here, so a host without route for the other one need not find out by silence.
func preferFamily(addrs []netip.AddrPort, peer netip.Addr) {
	if peer.IsValid() {
		slices.SortStableFunc(addrs, func(a, b netip.AddrPort) int {
			return other(a, peer) - other(b, peer)
		})
	}
}

// other is 1 for an address of another family than peer.
func other(a netip.AddrPort, peer netip.Addr) int {
	if a.Addr().Is4() == peer.Is4() {
		return 0
	}
	return 1
}

// absolute returns the name to look up: one that a server sent is absolute, so that no search domain of ours can
// turn it into another (RFC 8915 §4.1.7).
func absolute(res ke.Result) string {
	if _, err := netip.ParseAddr(res.Server); err == nil || !res.ServerGiven || strings.HasSuffix(res.Server, ".") {
		return res.Server
	}
	return res.Server + "."
}

// exchangeKeys runs one NTS key exchange with the configured host. Failing that there is no source: plain NTP is
// never tried instead (KC18). provisional says that the certificate was judged before the clock was set,
// as of the floor or by a clock that the floor contradicts.
func exchangeKeys(ctx context.Context, spec *Spec, d *Deps, denied []string) (res ke.Result, provisional bool, err error) {
	exchange := func(judge func() time.Time) (ke.Result, error) {
		// The exchange keeps its own deadline; this one only makes sure that an injected one does.
		ctx, cancel := context.WithTimeout(ctx, keyExchangeTimeout+time.Second)
		defer cancel()
		return d.Exchange(ctx, ke.ClientConfig{
			Address: spec.Host, Port: spec.Port, Roots: spec.Roots, Time: judge,
			Algorithms: spec.Algorithms, Denied: denied, Timeout: keyExchangeTimeout,
		})
	}
	log := logging.Target(d.Log, "ntpd::daemon::spawn")
	at, provisional := d.Bootstrap.Judge(d.Time())
	doubted := false // the clock had to judge in the end
	if provisional {
		res, err = exchange(func() time.Time { return at })
		doubted = err != nil && d.Bootstrap.contradicted(d.Time(), err)
	}
	if !provisional || doubted {
		res, err = exchange(d.Time)
	}
	switch {
	case err != nil:
		return res, provisional, fmt.Errorf("key exchange with %s: %w", spec.Name(), err)
	case doubted:
		log.Warn().Str("source", spec.Name()).Time("earliest", at).
			Msg("the certificate is valid by the clock but not as of the earliest possible time, one of which is wrong; to be confirmed")
	case provisional:
		log.Warn().Str("source", spec.Name()).Time("judged_at", at).
			Msg("the clock is not set, the certificate is valid as of the earliest possible time; to be confirmed")
	}
	log.Debug().Str("source", spec.Name()).Uint16("aead", uint16(res.Algorithm)).Msg("keys exchanged")
	return res, provisional, nil
}
