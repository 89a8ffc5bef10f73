package pool

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/secret"
)

// maxBackends bounds one pool's list; far above any pool known, far below what hurts.
const maxBackends = 65536

// maxNamesPerBackend bounds the Server names an operator lists for one time source.
const maxNamesPerBackend = 64

// MaxTokenBytes is the longest token: chrony's fork cuts record bodies at 256 (docs/rules/pool.md#token-length).
const MaxTokenBytes = 256

// Backend is one time source as the pool's operator describes it.
type Backend struct {
	Domain    string         // host name: looked up, sent as SNI, checked in the certificate
	Port      uint16         // TCP port of its key exchange, 1 to 65535
	Names     []string       // Server names it may hand out besides Domain; empty: any public one
	Tokens    []secret.Bytes // tokens it accepts, tried in order; empty: certificate dialect only
	Dialect   record.Dialect // to be spoken; NoDialect: found out by asking
	Addresses []netip.Addr   // where to connect; empty: look Domain up
}

// String is domain:port, the name of a backend in logs and errors.
func (b *Backend) String() string {
	return net.JoinHostPort(b.Domain, strconv.Itoa(int(b.Port)))
}

// Directory is a validated, immutable list of time sources. A new list is a new Directory, so that
// exchanges under way finish on the one they began with.
type Directory struct {
	backends []Backend
	own      []string // canonical names of the pool itself
}

// NewDirectory validates the whole list and reports every fault at once. own are the names the pool
// is reached by (those of its certificate; wildcards are none), to which no time source may point a user. The list may
// be empty (users then get error 2) and may name a host more than once, as the seed's could.
func NewDirectory(backends []Backend, own []string) (*Directory, error) {
	if len(backends) > maxBackends {
		return nil, fmt.Errorf("%d time sources, at most %d", len(backends), maxBackends)
	}
	d := &Directory{backends: make([]Backend, 0, len(backends))}
	var faults []error
	for i := range backends {
		b := backends[i].clone()
		if err := b.check(); err != nil {
			faults = append(faults, fmt.Errorf("time source %d (%q): %w", i+1, b.String(), err))
		}
		d.backends = append(d.backends, b)
	}
	for _, name := range own {
		// A wildcard covers time sources of the same domain as well; which of its names is the pool's, its users say.
		if !strings.HasPrefix(name, "*") {
			d.own = append(d.own, CanonicalName(name))
		}
	}
	return d, errors.Join(faults...)
}

// Len is the number of time sources.
func (d *Directory) Len() int { return len(d.backends) }

// At returns the i-th time source, 0 ≤ i < Len. It must not be changed.
func (d *Directory) At(i int) *Backend { return &d.backends[i] }

// clone keeps a later change of the caller's slices out of the directory.
func (b Backend) clone() Backend {
	b.Names = slices.Clone(b.Names)
	b.Tokens = slices.Clone(b.Tokens)
	b.Addresses = slices.Clone(b.Addresses)
	return b
}

// check reports everything that is wrong with one entry.
func (b *Backend) check() error {
	var faults []error
	if err := WellFormed(b.Domain); err != nil {
		faults = append(faults, fmt.Errorf("domain: %w", err))
	}
	if b.Port == 0 {
		faults = append(faults, errors.New("port is 0"))
	}
	if len(b.Names) > maxNamesPerBackend {
		faults = append(faults, fmt.Errorf("%d names, at most %d", len(b.Names), maxNamesPerBackend))
	}
	for _, name := range b.Names {
		if err := WellFormed(name); err != nil {
			faults = append(faults, fmt.Errorf("name %q: %w", name, err))
		}
	}
	for _, token := range b.Tokens {
		if len(token) == 0 || len(token) > MaxTokenBytes {
			faults = append(faults, fmt.Errorf("token of %d bytes, want 1 to %d", len(token), MaxTokenBytes))
		}
	}
	if b.Dialect > record.Cert4000 {
		faults = append(faults, fmt.Errorf("unknown protocol era %d", b.Dialect))
	}
	if b.Dialect.NeedsToken() && len(b.Tokens) == 0 {
		faults = append(faults, fmt.Errorf("protocol era %v needs a token", b.Dialect))
	}
	for _, addr := range b.Addresses {
		if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() {
			faults = append(faults, fmt.Errorf("address %v cannot be connected to", addr))
		}
	}
	return errors.Join(faults...)
}
