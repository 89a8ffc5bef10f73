package config

import (
	"crypto/x509"
	"net/netip"
	"time"

	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/secret"
)

// Pool is the configuration of nts-pool-ke: [nts-pool-ke-server] and [observability].
type Pool struct {
	Path                 string
	Listen               netip.AddrPort
	CertificateChainPath string         // served to users, and presented to time sources as client certificate
	PrivateKeyPath       string         // of that certificate
	AuthorityPath        string         // certificate-authority-path; empty: system roots only
	Roots                *x509.CertPool // for verifying time sources: system roots and that file; nil: system roots

	// Timeout is key-exchange-timeout-ms: the whole life of one user's connection. When the key is absent it
	// is 5 s and TimeoutSet is false, so that stage limits apply inside it (nts-pool.md E1).
	Timeout    time.Duration
	TimeoutSet bool

	// ProxyPeers is trusted-peers of proxy-protocol: whose headers are believed, IPv4-mapped prefixes as IPv4 ones.
	// Empty: the PROXY protocol is off.
	ProxyPeers []netip.Prefix

	Servers       []PoolServer // in the order of the file; may be empty
	Observability Observability
}

// PoolServer is one entry of key-exchange-servers.
type PoolServer struct {
	Domain string // name to connect to and to verify, as written
	Port   uint16
	Tokens []secret.Bytes // of the keys tokens and token-file, in this order; empty: dialect A only

	Names     []string       // NTP servers that it may send users to besides Domain; empty: any public one
	Addresses []netip.Addr   // where to connect; empty: look Domain up
	Dialect   record.Dialect // protocol-era; NoDialect: found out by asking
}
