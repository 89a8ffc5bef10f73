package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// defaultTimeout bounds one look-up, retries of the library included (C29: a name server that hangs 30 s).
const defaultTimeout = 10 * time.Second

// maxHost is the longest name that DNS can carry in text form (RFC 1035 §2.3.4).
const maxHost = 254

// Errors of Lookup that callers match.
var (
	// ErrNoUsable says that the name exists and every address it stands for was refused.
	ErrNoUsable     = errors.New("no usable address")
	errHost         = errors.New("host name is empty or longer than 254 bytes")
	errNoNameServer = errors.New("hosts file only")
)

// Config adapts a Resolver; the zero value is the one for production.
type Config struct {
	Timeout time.Duration // of one look-up; 0 means 10 s
	// Dial reaches the name server; nil means the servers of /etc/resolv.conf.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Own lists the addresses of this host; nil asks the network interfaces.
	Own func() []netip.Addr
}

// Resolver looks up A and AAAA records, and the hosts file, in pure Go, so that a look-up ends with its
// context. It is safe for concurrent use.
type Resolver struct {
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	own     func() []netip.Addr
	timeout time.Duration
}

// New returns a Resolver.
func New(c Config) *Resolver {
	res := &net.Resolver{PreferGo: true, Dial: c.Dial}
	hostsFile := &net.Resolver{PreferGo: true, Dial: noNameServer}
	r := &Resolver{own: c.Own, timeout: c.Timeout}
	r.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
		if isLocalhost(host) { // never a question to the DNS (RFC 6761 §6.3); containers often have no line for it
			if addrs, err := hostsFile.LookupNetIP(ctx, "ip", strings.TrimSuffix(host, ".")); err == nil {
				return addrs, nil
			}
			return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
		}
		// Go looks up a rooted name in the DNS only; the operator's hosts file must win for it, too.
		if name, rooted := strings.CutSuffix(host, "."); rooted {
			if addrs, err := hostsFile.LookupNetIP(ctx, "ip", name); err == nil {
				return addrs, nil
			}
		}
		return res.LookupNetIP(ctx, "ip", host)
	}
	if r.own == nil {
		r.own = OwnAddresses
	}
	if r.timeout <= 0 {
		r.timeout = defaultTimeout
	}
	return r
}

// noNameServer keeps a Resolver to the hosts file.
func noNameServer(context.Context, string, string) (net.Conn, error) { return nil, errNoNameServer }

// Lookup returns the addresses of host, which is a name or an address written out (with a zone, if any),
// joined with port. The order is that of RFC 6724, addresses without a route last. An error means that there
// is not one usable address; the Answer then still says what was refused.
func (r *Resolver) Lookup(ctx context.Context, host string, port uint16) (Answer, error) {
	if host == "" || len(host) > maxHost {
		return Answer{}, errHost
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return usable(host, filter([]netip.Addr{addr}, port, true, nil))
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	raw, err := r.lookup(ctx, host)
	if err != nil {
		return Answer{}, fmt.Errorf("look up %q: %w", host, err)
	}
	local := isLocalhost(host)
	if local { // servers of one machine are more often on 127.0.0.1 alone than on ::1 alone
		slices.SortStableFunc(raw, func(a, b netip.Addr) int { return a.Unmap().BitLen() - b.Unmap().BitLen() })
	}
	return usable(host, filter(raw, port, local, r.own()))
}

func usable(host string, a Answer) (Answer, error) {
	if len(a.Addrs) > 0 {
		return a, nil
	}
	if len(a.Refused) > 0 {
		return a, fmt.Errorf("look up %q: %w: %s is refused: %s", host, ErrNoUsable, a.Refused[0].Addr, a.Refused[0].Reason)
	}
	return a, fmt.Errorf("look up %q: %w", host, ErrNoUsable)
}

// OwnAddresses lists the addresses of all interfaces of this host, without zones, none if they cannot be read: then an address of ours is
// caught later, by the loop detection of the system process (C27).
func OwnAddresses() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	own := make([]netip.Addr, 0, len(list))
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr().Unmap().WithZone(""))
		}
	}
	return own
}
