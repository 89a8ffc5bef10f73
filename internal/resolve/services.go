package resolve

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"ntp-daemon/internal/nts/record"
)

// servicePrefix is the name of NTS key exchange servers among the SRV records of a domain.
const servicePrefix = "_ntske._tcp."

// ServiceName is the name whose SRV records name the key exchange servers of a domain.
func ServiceName(domain string) string { return servicePrefix + strings.TrimSuffix(domain, ".") }

// Errors of Services.Lookup that callers match. They come wrapped in a ServiceError.
var (
	// ErrNotValidated says that DNSSEC does not vouch for the answer, or that nobody whom we believe says so.
	ErrNotValidated = errors.New("not validated by DNSSEC")
	// ErrNoService says that there are no SRV records, or only ones that say so.
	ErrNoService = errors.New("no such service")
)

// ServiceError is a look-up of SRV records that gave none that may be used.
type ServiceError struct {
	Name string // that was asked for
	Err  error
}

func (e *ServiceError) Error() string { return fmt.Sprintf("SRV records of %q: %v", e.Name, e.Err) }

// Unwrap returns what was wrong.
func (e *ServiceError) Unwrap() error { return e.Err }

// ServicesConfig adapts Services; the zero value is the one for production.
type ServicesConfig struct {
	// Trusted are the name servers that are asked and whose word on DNSSEC is believed. None: those of /etc/resolv.conf that
	// are on this host, or all of them if it declares them trusted (options trust-ad).
	Trusted []netip.AddrPort
	Timeout time.Duration // of one look-up; 0 means 10 s
	Dial    dialFunc      // reaches name servers; nil means net.Dialer
	Rand    io.Reader     // for the numbers of questions and the order of servers; nil means crypto/rand
	Path    string        // of resolv.conf, which is read for each look-up; empty: /etc/resolv.conf
}

// Services finds the key exchange servers that the SRV records of a domain name, the variant of an NTS pool in which the DNS,
// not a front end, hands out the members:
//
//	_ntske._tcp.<domain> SRV → answer with AD from a name server that we believe → CNAMEs followed → servers in the order of RFC 2782
//
// Who can forge these records can have us take the time from servers of his own, with valid certificates. So only what DNSSEC
// vouches for counts. We do not validate ourselves: a validating resolver does, and says so with the AD bit, which is worth as much
// as the path to it. Answers are kept for as long as their TTL says, within bounds. Safe for concurrent use.
type Services struct {
	c ServicesConfig

	mu   sync.Mutex
	kept map[string]keptServices // by domain; guarded by mu
}

// keptServices is an answer that is believed until then.
type keptServices struct {
	list  []Service
	until time.Time
}

// maxKept bounds the domains whose records are kept.
const maxKept = 16

// NewServices returns a Services.
func NewServices(c ServicesConfig) *Services {
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Path == "" {
		c.Path = resolvConf
	}
	return &Services{c: c, kept: map[string]keptServices{}}
}

// Lookup returns the key exchange servers of domain, at least one and at most 64, in the order in which they are to be asked. Each
// target is there once. The order is drawn anew by each call. Errors are a *ServiceError.
func (s *Services) Lookup(ctx context.Context, domain string) ([]Service, error) {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	if list := s.recall(domain, time.Now()); list != nil {
		return order(list, s.c.Rand), nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.Timeout)
	defer cancel()
	list, ttl, err := s.ask(ctx, ServiceName(domain))
	if err != nil {
		return nil, &ServiceError{Name: ServiceName(domain), Err: err}
	}
	list = order(list, s.c.Rand)
	list = list[:min(len(list), maxServices)]
	s.keep(domain, list, time.Now().Add(min(max(ttl, leastTTL), mostTTL)))
	return list, nil
}

// recall returns what is still believed of a domain, nil if that is nothing.
func (s *Services) recall(domain string, now time.Time) []Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, known := s.kept[domain]; known && now.Before(k.until) {
		return k.list
	}
	return nil
}

// keep remembers an answer; if too many are kept, those that have run out and then any one are forgotten.
func (s *Services) keep(domain string, list []Service, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, domain)
	now := time.Now()
	for other, k := range s.kept {
		if !now.Before(k.until) || len(s.kept) >= maxKept {
			delete(s.kept, other)
		}
	}
	s.kept[domain] = keptServices{list, until}
}

// ask asks the name servers in turn until one gives an answer that may be used or that ends the search.
func (s *Services) ask(ctx context.Context, name string) (list []Service, ttl time.Duration, err error) {
	servers, err := s.believed()
	if err != nil {
		return nil, 0, err
	}
	for range rounds {
		var silent []netip.AddrPort // a datagram may be lost; who has tried and said so is not asked again
		for _, server := range servers {
			r, failed := s.askOne(ctx, server, name)
			if failed == nil {
				list, err = r.usable(server)
				return list, r.ttl, err
			}
			if !errors.Is(failed, errServerFailed) {
				silent = append(silent, server)
			}
			if err == nil || !errors.Is(err, errServerFailed) { // what a name server said tells more than that another is silent
				err = failed
			}
			if ctx.Err() != nil {
				return nil, 0, err
			}
		}
		servers = silent
	}
	return nil, 0, err
}

// errServerFailed says that a name server could not, or would not, answer.
var errServerFailed = errors.New("name server failed")

// askOne asks one name server. Its errors are those after which another one is worth a try.
func (s *Services) askOne(ctx context.Context, server netip.AddrPort, name string) (reply, error) {
	var id [2]byte
	if _, err := io.ReadFull(s.c.Rand, id[:]); err != nil {
		return reply{}, fmt.Errorf("number of a question: %w", err)
	}
	q, err := newQuestion(binary.BigEndian.Uint16(id[:]), name)
	if err != nil {
		return reply{}, err
	}
	r, err := q.exchange(ctx, s.c.Dial, server)
	switch {
	case err != nil: // in the words of the Go resolver, by which the caller tells silence from refusal
		dns := &net.DNSError{UnwrapErr: err, Err: err.Error(), Name: name, Server: server.String()}
		if netErr, ok := errors.AsType[net.Error](err); ok {
			dns.IsTimeout = netErr.Timeout()
		}
		return reply{}, dns
	case r.rcode == dnsmessage.RCodeServerFailure && r.ede != "":
		return reply{}, fmt.Errorf("%w: %v says SERVFAIL, DNSSEC: %s", errServerFailed, server, r.ede)
	case r.rcode == dnsmessage.RCodeServerFailure:
		return reply{}, fmt.Errorf("%w: %v says SERVFAIL; signatures may be wrong or out of date, or the name's own servers silent", errServerFailed, server)
	case r.rcode != dnsmessage.RCodeSuccess && r.rcode != dnsmessage.RCodeNameError:
		return reply{}, fmt.Errorf("%w: %v says %v", errServerFailed, server, r.rcode)
	}
	return r, nil
}

// believed lists the name servers that are asked.
func (s *Services) believed() ([]netip.AddrPort, error) {
	if len(s.c.Trusted) > 0 {
		return s.c.Trusted, nil
	}
	list := Believed(s.c.Path)
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: no name server of %s is on this host, and it does not declare them trusted (options trust-ad); "+
			"run a validating resolver here or name one with srv-resolvers", ErrNotValidated, s.c.Path)
	}
	return list, nil
}

// Believed lists the name servers of a resolv.conf whose word on DNSSEC counts: those on this host, or all of them if the file declares
// them trusted. Empty path: that of the system.
func Believed(path string) []netip.AddrPort {
	if path == "" {
		path = resolvConf
	}
	list, trusted := nameServers(path)
	if !trusted {
		list = slices.DeleteFunc(list, func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() })
	}
	return list
}

// usable judges an answer: only what DNSSEC vouches for, and only what can be asked.
func (r *reply) usable(server netip.AddrPort) ([]Service, error) {
	switch {
	case r.rcode == dnsmessage.RCodeNameError:
		return nil, fmt.Errorf("%w: the name does not exist", ErrNoService)
	case len(r.services) == 0:
		return nil, fmt.Errorf("%w: the name has no SRV records", ErrNoService)
	case !r.validated:
		return nil, fmt.Errorf("%w: the zone is not signed, or %v does not validate (no AD bit in its answer)", ErrNotValidated, server)
	}
	list := distinct(slices.DeleteFunc(slices.Clone(r.services), func(s Service) bool { return s.Target != "" && !askable(s.Target) }))
	switch {
	case len(list) > 0:
		return list, nil
	case slices.ContainsFunc(r.services, func(s Service) bool { return s.Target == "" }):
		return nil, fmt.Errorf("%w: the domain says that it does not offer it", ErrNoService)
	}
	return nil, fmt.Errorf("%w: no SRV record names a usable host and port", ErrNoService)
}

// askable reports whether a target is a host name; an address written out is none (RFC 2782).
func askable(target string) bool {
	_, err := netip.ParseAddr(target)
	return err != nil && record.ValidServer(target)
}
