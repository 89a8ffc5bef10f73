package poolke

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pki"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/secret"
)

// Defaults of the limits that are known here alone (docs/rules/pool.md#limits).
const (
	defaultSupportTTL    = 300 * time.Second
	defaultConnections   = 4096
	maxWaiting           = 1024                   // of those, users whose handshake or request is waited for: some 30 KiB each
	prefixV6             = 56                     // what providers hand out to one customer
	connectShare         = 5                      // connecting to a time source may take a fifth of the total,
	answerShare          = 2                      // and one answer of it a half
	reserveShare         = 10                     // a tenth of the total is kept for telling the user about a failure,
	longestAnswerReserve = 200 * time.Millisecond // but no more than this
)

// Config is everything a pool front end is told. Zero limits mean the defaults.
type Config struct {
	Listen          netip.AddrPort
	CertificatePath string           // of Certificate, for messages
	Certificate     *tls.Certificate // shown to users and, as client certificate, to time sources; Leaf set
	Roots           *pki.Roots       // for time sources; nil: the system's
	Backends        []pool.Backend   // may be empty: every user then gets error 2

	// ClientCertificate is shown to time sources instead of Certificate; nil: that one.
	ClientCertificate *tls.Certificate

	// MonitoringKeys are those of monitors, who may name the time source that they get. Empty: nobody may.
	MonitoringKeys []secret.Bytes

	// ProxyPeers are the load balancers whose PROXY protocol headers are believed. Not empty: every connection
	// must come from one of them and begin with a header. Empty: headers are not understood.
	ProxyPeers []netip.Prefix

	// ObservationPath is the Unix socket at which the pool's state can be read, with these permissions; empty: none.
	ObservationPath        string
	ObservationPermissions fs.FileMode

	LogExchanges config.LogExchanges // what the log says of users' exchanges
	Admin        netip.AddrPort      // of the HTTP listener for operators; not valid: none

	HandoverPath string // Unix socket at which a successor takes over; empty: none

	Selection pool.Mode // how users are shared out
	GeoPath   string    // of the database of countries, read when a list is put into use; empty: none

	ConnectAtStart bool // to time sources, before the first user comes (warm.go)

	Protocols []record.Protocol // that users may get; empty: NTPv4

	Timeout          time.Duration // hard total for one user, from accept to the last byte
	HandshakeTimeout time.Duration // TLS with the user; 0: only the total counts
	RequestTimeout   time.Duration // the user's request, after TLS; 0: only the total counts
	ConnectTimeout   time.Duration // TCP to a time source; 0: a fifth of the total
	AnswerTimeout    time.Duration // one answer of a time source; 0: half of the total
	SupportTimeout   time.Duration // its answer about what it can do; 0: AnswerTimeout
	SupportTTL       time.Duration // how long that answer is believed
	IdleTime         time.Duration // how long a connection to a time source is kept unused; 0: that of package member
	MaxAge           time.Duration // and how long at all
	DrainTimeout     time.Duration // for users under way when the pool stops
	DrainDelay       time.Duration // new users are still taken for so long after readiness ended

	source *config.Pool // what it was made from; nil: nothing is watched
	read   time.Time    // before its files were
	again  bool         // its files were read once more, and nobody asked for it

	Monitor MonitorConfig // probing time sources; as at the start, whatever is reloaded

	MaxConnections int // users at one time
	PerPrefix      int // of them from one IPv4 address or IPv6 /56; negative: no limit
}

// fill replaces a time that was left out.
func fill(value *time.Duration, fallback time.Duration) {
	if *value <= 0 {
		*value = fallback
	}
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	fill(&c.Timeout, config.DefaultPoolTimeout)
	fill(&c.HandshakeTimeout, c.Timeout)
	fill(&c.RequestTimeout, c.Timeout)
	fill(&c.ConnectTimeout, c.Timeout/connectShare)
	fill(&c.AnswerTimeout, c.Timeout/answerShare)
	fill(&c.SupportTimeout, c.AnswerTimeout)
	fill(&c.SupportTTL, defaultSupportTTL)
	fill(&c.DrainTimeout, config.DefaultPoolDrain)
	if c.MaxConnections <= 0 {
		c.MaxConnections = defaultConnections
	}
	if c.PerPrefix == 0 {
		c.PerPrefix = config.DefaultPoolPerClient
	}
	c.PerPrefix = max(c.PerPrefix, 0)
	if len(c.Protocols) == 0 {
		c.Protocols = []record.Protocol{record.NTPv4}
	}
	return c
}

// reserve is the part of the total that no time source may use up.
func (c *Config) reserve() time.Duration { return min(c.Timeout/reserveShare, longestAnswerReserve) }

// trusts reports whether a is a balancer whose PROXY protocol headers are believed.
func (c *Config) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(c.ProxyPeers, func(p netip.Prefix) bool { return p.Contains(a) })
}

// FromConfig turns a loaded configuration into a Config. It reads the certificates and judges them as of now; the error
// names the file and the key of the configuration.
func FromConfig(c *config.Pool, now time.Time) (Config, error) {
	cert, err := program.LoadCertificate(c.CertificateChainPath, c.PrivateKeyPath, now)
	if err != nil {
		return Config{}, err
	}
	var client *tls.Certificate
	if c.ClientChainPath != "" {
		if client, err = program.LoadCertificate(c.ClientChainPath, c.ClientKeyPath, now); err != nil {
			return Config{}, fmt.Errorf("for time sources: %w", err)
		}
	}
	perPrefix := c.PerClient
	if perPrefix == 0 {
		perPrefix = -1
	}
	return Config{
		source:            c,
		ClientCertificate: client, MonitoringKeys: c.MonitoringKeys, Protocols: c.Protocols, MaxConnections: c.Limits.MaxConnections,
		HandshakeTimeout: c.Limits.HandshakeTimeout, ConnectTimeout: c.Limits.ConnectTimeout, AnswerTimeout: c.Limits.AnswerTimeout,
		SupportTimeout: c.Limits.SupportTimeout, SupportTTL: c.Limits.SupportTTL, IdleTime: c.Limits.IdleTime, MaxAge: c.Limits.MaxAge,
		Listen: c.Listen, PerPrefix: perPrefix, Certificate: cert, CertificatePath: c.CertificateChainPath, Roots: c.Roots, Backends: c.Servers, Timeout: c.Timeout, ProxyPeers: c.ProxyPeers,
		DrainTimeout: c.Operation.DrainTimeout, DrainDelay: c.Operation.DrainDelay, HandoverPath: c.Operation.HandoverPath,
		LogExchanges: c.LogExchanges, Admin: c.Admin, Selection: c.Selection, GeoPath: c.GeoPath, ConnectAtStart: c.Upstream.ConnectAtStart,
		Monitor:         MonitorConfig{Enabled: c.Monitor.Enabled, StatePath: c.Monitor.StatePath, Sources: c.Monitor.Sources},
		ObservationPath: c.Observability.ObservationPath, ObservationPermissions: c.Observability.ObservationPermissions,
	}, nil
}

// shown is the certificate that time sources are shown.
func (c *Config) shown() *tls.Certificate {
	if c.ClientCertificate != nil {
		return c.ClientCertificate
	}
	return c.Certificate
}

// ownNames are the names and addresses that the pool's certificate is for: where no time source may
// send a user.
func ownNames(cert *tls.Certificate) ([]string, error) {
	if cert == nil || cert.Leaf == nil {
		return nil, errors.New("no certificate")
	}
	names := append([]string(nil), cert.Leaf.DNSNames...)
	for _, ip := range cert.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names, nil
}
