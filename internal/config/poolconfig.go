package config

import (
	"net/netip"
	"time"

	"ntp-daemon/internal/pki"
	"ntp-daemon/internal/pool"
)

// Pool is the configuration of nts-pool-ke: [nts-pool-ke-server] and [observability].
type Pool struct {
	Path                 string
	Listen               netip.AddrPort
	CertificateChainPath string     // served to users, and presented to time sources as client certificate
	PrivateKeyPath       string     // of that certificate
	Roots                *pki.Roots // for verifying time sources: certificate-authority-path, system-certificates

	// Timeout is key-exchange-timeout-ms: the whole life of one user's connection; 5 s when the key
	// is absent.
	Timeout time.Duration

	// PerClient is connections-per-client: how many connections one IPv4 address or IPv6 /56 may have at one time;
	// 0 is no limit, 16 when the key is absent.
	PerClient int

	// ProxyPeers is trusted-peers of proxy-protocol: whose headers are believed, IPv4-mapped prefixes as IPv4 ones.
	// Empty: the PROXY protocol is off.
	ProxyPeers []netip.Prefix

	Servers       []pool.Backend // in the order of the file; may be empty
	TokenFiles    []string       // that their tokens were read from
	Observability Observability
	Process       Process

	examinations []examination
}
