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

// MaxWeight bounds the weight of one time source, so that no sum of a list overflows; the public pool's are 1 to 10.
const MaxWeight = 1_000_000

// maxIDBytes bounds an id, which is a label of metrics; a UUID has 36.
const maxIDBytes = 64

// maxRegionsPerBackend bounds the regions of one time source; there are some 250 countries.
const maxRegionsPerBackend = 256

// Backend is one time source as the pool's operator describes it.
type Backend struct {
	ID        string         // stable id, unique in the list; empty: domain:port stands for it (Name)
	Domain    string         // host name: looked up, sent as SNI, checked in the certificate
	Port      uint16         // TCP port of its key exchange, 1 to 65535
	Names     []string       // Server names it may hand out besides Domain; empty: any public one
	Tokens    []secret.Bytes // tokens it accepts, tried in order; empty: certificate dialect only
	Dialect   record.Dialect // to be spoken; NoDialect: found out by asking
	Addresses []netip.Addr   // where to connect; empty: look Domain up

	Weight   uint32   // share in weighted draws, 0 to MaxWeight; 0: only monitors reach it (docs/rules/pool.md#weight)
	Regions  []string // countries and continents that it serves best, in the spelling of CanonicalRegion
	Operator string   // who runs it, for not giving one user two of the same; empty: its Domain stands for it
	NoIPv4   bool     // it does not serve users of IPv4
	NoIPv6   bool     // it does not serve users of IPv6; with both, only monitors reach it

	MaxConnections int // that the pool keeps to it at most; 0: the pool's own default
}

// String is domain:port, the name of a backend in logs and errors.
func (b *Backend) String() string {
	return net.JoinHostPort(b.Domain, strconv.Itoa(int(b.Port)))
}

// Name is the stable id, in metrics, for monitors and for comparing a new list with an old one.
func (b *Backend) Name() string {
	if b.ID != "" {
		return b.ID
	}
	return b.String()
}

// Directory is a validated, immutable list of time sources. A new list is a new Directory, so that
// exchanges under way finish on the one they began with.
type Directory struct {
	backends []Backend
	own      []string // canonical names of the pool itself
	below    []string // what its wildcards cover the names below of
	shares   *shares
	named    map[string]int
}

// NewDirectory validates the whole list and reports every fault at once. own are the names the pool
// is reached by (those of its certificate; wildcards are none), to which no time source may point a user. The list may
// be empty (users then get error 2) and may name a host more than once, as the seed's could; ids are unique.
func NewDirectory(backends []Backend, own []string) (*Directory, error) {
	if len(backends) > maxBackends {
		return nil, fmt.Errorf("%d time sources, at most %d", len(backends), maxBackends)
	}
	d := &Directory{backends: make([]Backend, 0, len(backends)), named: make(map[string]int, len(backends))}
	var faults []error
	for i := range backends {
		b := backends[i].clone()
		first, twice := d.named[b.Name()]
		if twice && (b.ID != "" || backends[first].ID != "") {
			faults = append(faults, fmt.Errorf("time source %d (%q): its id %q is that of time source %d", i+1, b.String(), b.Name(), first+1))
		} else if !twice {
			d.named[b.Name()] = i
		}
		if err := b.check(); err != nil {
			faults = append(faults, fmt.Errorf("time source %d (%q): %w", i+1, b.String(), err))
		}
		d.backends = append(d.backends, b)
	}
	for _, name := range own {
		// A wildcard covers time sources of the same domain as well; which of its names is the pool's, its users say.
		if parent, wildcard := strings.CutPrefix(name, "*."); wildcard {
			d.below = append(d.below, CanonicalName(parent))
		} else {
			d.own = append(d.own, CanonicalName(name))
		}
	}
	d.shares = newShares(d.backends)
	return d, errors.Join(faults...)
}

// Len is the number of time sources.
func (d *Directory) Len() int { return len(d.backends) }

// Named returns the time source with that Name, the first one of several that share a host and a port.
func (d *Directory) Named(name string) (i int, ok bool) {
	i, ok = d.named[name]
	return i, ok
}

// At returns the i-th time source, 0 ≤ i < Len. It must not be changed.
func (d *Directory) At(i int) *Backend { return &d.backends[i] }

// clone keeps a later change of the caller's slices out of the directory.
func (b Backend) clone() Backend {
	b.Names = slices.Clone(b.Names)
	b.Tokens = slices.Clone(b.Tokens)
	b.Addresses = slices.Clone(b.Addresses)
	b.Regions = slices.Clone(b.Regions)
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
	return errors.Join(append(faults, b.checkShare()...)...)
}

// checkShare reports what is wrong with the id, and with all that decides which users a time source gets.
func (b *Backend) checkShare() (faults []error) {
	if b.ID != "" && !ValidID(b.ID) {
		faults = append(faults, fmt.Errorf("id %q is not 1 to %d letters, digits, hyphens, underscores, dots or colons", b.ID, maxIDBytes))
	}
	if b.Weight > MaxWeight {
		faults = append(faults, fmt.Errorf("weight %d, at most %d", b.Weight, MaxWeight))
	}
	if len(b.Regions) > maxRegionsPerBackend {
		faults = append(faults, fmt.Errorf("%d regions, at most %d", len(b.Regions), maxRegionsPerBackend))
	}
	for _, r := range b.Regions {
		if c, ok := CanonicalRegion(r); !ok || c != r {
			faults = append(faults, fmt.Errorf("region %q is not the code of a country or the name of a continent", r))
		}
	}
	if b.MaxConnections < 0 {
		faults = append(faults, fmt.Errorf("%d connections", b.MaxConnections))
	}
	return faults
}

// ValidID reports whether s can be the id of a time source: 1 to 64 letters, digits and any of -_.:.
// Brackets are letters here, for an address in front of a port.
func ValidID(s string) bool {
	if s == "" || len(s) > maxIDBytes {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.:[]", c) >= 0:
		default:
			return false
		}
	}
	return true
}
