package config

import (
	"net/netip"
	"time"

	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pki"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/secret"
)

// Pool is the configuration of nts-pool-ke: [nts-pool-ke-server], or [server] and [backend] as today's public pool has them,
// and [observability].
type Pool struct {
	Path                 string
	StandAlone           bool // written for the public pool's own program: [server], [backend]
	Listen               netip.AddrPort
	CertificateChainPath string     // served to users, and presented to time sources as client certificate
	PrivateKeyPath       string     // of that certificate
	ClientChainPath      string     // presented to time sources instead; empty: the one of users
	ClientKeyPath        string     // of that one
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

	Operation    PoolOperation
	LogExchanges LogExchanges   // log-exchanges; LogAll when the key is absent
	Admin        netip.AddrPort // admin-listen: HTTP for operators; not valid: none
	Upstream     Upstream       // connections to time sources

	Selection pool.Mode // selection: how users are shared out; pool.RoundRobin when the key is absent
	GeoPath   string    // geolocation-db-path: the database of countries; empty: none

	Protocols []record.Protocol // allowed-protocols: that users may get; empty: NTPv4
	Limits    PoolLimits

	Servers        []pool.Backend // in the order of the file; may be empty
	MonitoringKeys []secret.Bytes // of monitoring-keys-path: who shows one may name a time source by its id

	Monitor       Monitor
	Observability Observability
	Process       Process

	baseSecret   bool         // tokens are made from a base secret
	text         secret.Bytes // of the configuration, tokens included
	read         []string     // files that values were read from
	examinations []examination
}

// Files are the files, besides the configuration itself, whose content it stands for: a change of one takes effect.
func (p *Pool) Files() (list []string) {
	seen := map[string]bool{"": true}
	for _, f := range append([]string{p.CertificateChainPath, p.PrivateKeyPath, p.ClientChainPath, p.ClientKeyPath, p.Roots.File()}, p.read...) {
		if !seen[f] {
			seen[f] = true
			list = append(list, f)
		}
	}
	return list
}

// Again loads the configuration that p was loaded from once more, with the text that it had then and the files as they are
// now.
func (p *Pool) Again() (*Pool, []Warning, error) { return newLoader(p.Path, true).pool(p.text) }
