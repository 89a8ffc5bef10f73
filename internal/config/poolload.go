package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/secret"
)

// poolTable is the one table of the pool's file besides [observability] (docs/rules/configuration.md#pool-file).
const poolTable = "nts-pool-ke-server"

// belongsToPool is what Load says of a file of nts-pool-ke.
const belongsToPool = "belongs to nts-pool-ke"

// DefaultPoolTimeout holds two intercontinental handshakes; the seed's 1 s does not
// (docs/rules/configuration.md#pool-timeout).
const DefaultPoolTimeout = 5 * time.Second

// DefaultPoolPerClient is enough for a network behind one address, whose users come one after the other.
const DefaultPoolPerClient = 16

// foreignTables are tables of other programs' files, told apart so that the message helps.
var foreignTables = map[string]string{
	"nts-ke-server":   "belongs to ntp-daemon",
	"synchronization": "belongs to ntp-daemon",
	"keyset":          "belongs to ntp-daemon",
	"source-defaults": "belongs to ntp-daemon",
	publicServer:      "belongs to ntp-daemon, or to a file of the public pool without [nts-pool-ke-server]",
	publicBackend:     "belongs to a file of the public pool, without [nts-pool-ke-server]",
}

// LoadPool reads, checks and completes a configuration of nts-pool-ke. There is no default path. The error is
// Problems.
func LoadPool(path string) (*Pool, []Warning, error) {
	if path == "" {
		return nil, nil, Problems{{File: "nts-pool-ke", What: "no configuration path specified", Remedy: "name one with -c FILE"}}
	}
	return newLoader(path, true).poolFile()
}

// CheckPool is LoadPool for one who wants to know everything: what the machine lacks is told beside what is wrong with the
// text.
func CheckPool(path string, m Machine) ([]Warning, error) {
	l := newLoader(path, true)
	_, warnings, err := l.poolFile()
	return append(warnings, examineAll(l.examinations, &m)...), err
}

// poolFile reads the file.
func (l *loader) poolFile() (*Pool, []Warning, error) {
	data, err := readCapped(l.file, longestConfig)
	if err != nil {
		return nil, nil, Problems{unreadable(l.file, err)}
	}
	l.checkMode(l.file)
	return l.pool(data)
}

// IsPool reports whether an error of Load is that of a file that belongs to nts-pool-ke.
func IsPool(err error) bool {
	var ps Problems
	return errors.As(err, &ps) && slices.ContainsFunc(ps, func(p Problem) bool { return p.What == belongsToPool })
}

// poolsFile tells a file of nts-pool-ke apart from one of ntp-daemon, whose remaining tables are then read.
func (l *loader) poolsFile(root *table) {
	root.skip(poolTable)
	name := publicTable(root.node)
	if n := root.node.children[name]; name == publicServer && n.children["certificate-chain"] == nil && n.children["private-key"] == nil {
		name = "" // more likely a [[server]] that lacks its brackets
	}
	if root.has(poolTable) {
		name = poolTable
	}
	if name == "" {
		return
	}
	l.problem(root.node.children[name].key, name, belongsToPool, "run nts-pool-ke -c "+l.file)
	if name != poolTable {
		delete(root.node.children, publicServer)
		root.skip(publicBackend)
	}
}

// LoadPoolText is LoadPool for the text of the file alone, as LoadText.
func LoadPoolText(path string) (*Pool, []Warning, error) {
	data, err := readCapped(path, longestConfig)
	if err != nil {
		return nil, nil, Problems{unreadable(path, err)}
	}
	return ParsePool(path, data)
}

// ParsePool is LoadPoolText for text that is at hand.
func ParsePool(name string, data []byte) (*Pool, []Warning, error) {
	return newLoader(name, false).pool(data)
}

// pool reads every table of the pool's file.
func (l *loader) pool(data []byte) (*Pool, []Warning, error) {
	if len(data) > longestConfig {
		l.problem(0, "", fmt.Sprintf("is larger than %d bytes", longestConfig), "name a configuration")
		data = nil
	}
	root := l.parse(data)
	if l.everyKey = everyPoolKey; !root.has(poolTable) && publicTable(root.node) != "" {
		l.everyKey = everyPublicKey
	}
	p := &Pool{Path: l.file, Observability: defaultObservability(), text: data}
	log := root.sub("observability")
	log.observabilityKeys(&p.Observability)
	log.finish()
	p.Process = l.poolProcess(root.sub("process"))
	switch t := root.sub(poolTable); {
	case root.has(poolTable):
		l.poolServer(t, p)
	case publicTable(root.node) != "":
		l.public(root, p)
	case len(l.problems) == 0:
		root.missing(poolTable, "write [nts-pool-ke-server]")
	}
	p.Monitor = l.monitor(root, p.Selection != pool.RoundRobin && !p.StandAlone)
	for _, name := range root.node.names {
		if what, ok := foreignTables[name]; ok && !slices.Contains(root.known, name) {
			root.skip(name)
			l.problem(root.node.children[name].key, name, what, "write [nts-pool-ke-server], [monitor], [[source]], [observability] and [process] only")
		}
	}
	root.finish()
	if ps := append(l.sorted(), l.missing...); len(ps) > 0 {
		return nil, l.warnings, ps
	}
	p.examinations = l.examinations
	return p, l.warnings, nil
}

// poolServer reads [nts-pool-ke-server]. The authority and the servers are optional because the files of
// 1.1.0 had neither.
func (l *loader) poolServer(t *table, p *Pool) {
	t.listenRequired("listen", "0.0.0.0:4460", &p.Listen)
	l.listens(t, "listen", "tcp", p.Listen)
	t.keyPair("certificate-chain-path", "private-key-path", &p.CertificateChainPath, &p.PrivateKeyPath)
	p.Roots = l.roots(t, "certificate-authority-path", authority{system: true})
	p.Timeout = DefaultPoolTimeout
	t.interval("key-exchange-timeout-ms", timeoutRange, time.Millisecond, &p.Timeout)
	p.PerClient = DefaultPoolPerClient
	t.integer("connections-per-client", span{min: 0, max: connections.max}, &p.PerClient)
	l.proxyProtocol(t, p)
	l.poolOwn(t, p)
	t.geography(geographyKey, p)
	l.checkGeography(t.node, poolTable, geographyKey, p)
	t.clientPair("client-certificate-chain-path", "client-private-key-path", p)
	t.protocols("allowed-protocols", p)
	t.poolLimits(p)
	l.monitoringKeys(t, "monitoring-keys-path", p, false)
	l.servers(t, p)
	t.finish()
}

// poolOwn reads the keys that no pool had before this one. They are the same in both formats.
func (l *loader) poolOwn(t *table, p *Pool) {
	l.operation(t, &p.Operation, p.Observability.ObservationPath)
	t.logExchanges(&p.LogExchanges)
	l.admin(t, &p.Admin)
	t.selection(&p.Selection)
	t.upstream(&p.Upstream)
}

// proxyProtocol reads proxy-protocol = { trusted-peers = ["CIDR", …] }, which switches the protocol on by being there.
// The flag of nts-pool has no list and would make everybody trusted, so it is told apart.
func (l *loader) proxyProtocol(t *table, p *Pool) {
	const key, flag, example = "proxy-protocol", "use-proxy-protocol", `proxy-protocol = { trusted-peers = ["192.0.2.1/32"] }`
	if n := t.node.children[flag]; n != nil {
		t.skip(flag)
		l.problem(n.key, t.name(flag), "belongs to the stand-alone nts-pool", "write "+example)
	}
	peers := t.sub(key)
	if n := t.node.children[key]; n == nil || n.kind != kindTable {
		return
	}
	if !peers.has("trusted-peers") {
		peers.missing("trusted-peers", "write "+example)
	}
	l.trustedPeers(peers, p)
	peers.finish()
}

// trustedPeers reads whose headers are believed.
func (l *loader) trustedPeers(t *table, p *Pool) {
	const list = "trusted-peers"
	p.ProxyPeers = t.prefixes(list)
	n := t.node.children[list]
	if n != nil && n.kind == kindArray && len(n.items) == 0 {
		t.fail(list, n, "trusts nobody, so nobody could connect", "write the addresses of the load balancers")
	}
	if slices.ContainsFunc(p.ProxyPeers, func(p netip.Prefix) bool { return p.Bits() == 0 }) {
		l.warn(n.key, t.name(list), "trusts everybody: whoever reaches the port may pass for any user", "write the addresses of the load balancers")
	}
}

// poolUpstream reads one entry of key-exchange-servers.
func (l *loader) poolUpstream(t *table, p *Pool, base *baseSecrets) pool.Backend {
	var s pool.Backend
	if t.text("domain", "ntp.example.org", &s.Domain) {
		if what, remedy := checkUpstream(s.Domain); what != "" {
			t.fail("domain", t.node.children["domain"], quote(s.Domain)+what, remedy)
		}
	} else if !t.has("domain") {
		t.missing("domain", `write domain = "the name of the time source"`)
	}
	var port int
	if t.integer("port", portRange, &port); !t.has("port") {
		t.missing("port", "write port = 4460")
	}
	s.Port = uint16(port)
	s.Tokens = t.tokens("tokens")
	if slices.ContainsFunc(s.Tokens, func(b secret.Bytes) bool { return len(b) > pool.MaxTokenBytes }) {
		t.fail("tokens", t.node.children["tokens"], fmt.Sprintf("holds a token of more than %d bytes", pool.MaxTokenBytes), "use a shorter one")
	}
	var path string
	if t.file("token-file", "/etc/ntp-daemon/token", &path) {
		s.Tokens = append(s.Tokens, l.tokenFile(t, "token-file", path)...)
		p.read = append(p.read, path)
	}
	t.upstreamNames(&s)
	t.upstreamAddresses(&s)
	t.share(&s)
	public := t.publicKeys(&s, p.StandAlone)
	t.derived(&s, base, p.baseSecret)
	t.era(&s, p.baseSecret)
	if public {
		t.ignore()
	}
	t.finish()
	return s
}

// maxUpstreamNames and maxUpstreamAddresses bound what is written for one time source.
const (
	maxUpstreamNames     = 64
	maxUpstreamAddresses = 16
)

// checkUpstream is checkHost, and the pool's own rule: nothing that some resolvers take for a number.
func checkUpstream(name string) (what, remedy string) {
	if what, remedy = checkHost(name); what == "" && pool.WellFormed(name) != nil {
		return " is no host name", "write an address in full"
	}
	return what, remedy
}

// upstreamNames reads the NTP servers that a time source may send users to.
func (t *table) upstreamNames(s *pool.Backend) {
	const key = "names"
	list := t.strings(key, "ntp.example.org")
	if len(list) > maxUpstreamNames {
		t.fail(key, list[maxUpstreamNames], fmt.Sprintf("holds more than %d names", maxUpstreamNames), "remove some, or all: then any public name is allowed")
		return
	}
	for _, n := range list {
		if what, remedy := checkUpstream(n.text); what != "" {
			t.fail(key, n, quote(n.text)+what, remedy)
			continue
		}
		s.Names = append(s.Names, n.text)
	}
}

// upstreamAddresses reads where to connect to a time source whose name is not looked up.
func (t *table) upstreamAddresses(s *pool.Backend) {
	const key = "addresses"
	s.Addresses = t.addresses(key)
	switch n := t.node.children[key]; {
	case len(s.Addresses) > maxUpstreamAddresses:
		t.fail(key, n, fmt.Sprintf("holds more than %d addresses", maxUpstreamAddresses), "remove some")
	case slices.ContainsFunc(s.Addresses, func(a netip.Addr) bool { return a.IsUnspecified() || a.IsMulticast() }):
		t.fail(key, n, "holds an address that nobody can connect to", "write those of the time source")
	}
}

// era reads protocol-era. All dialects but the oldest show a token.
func (t *table) era(s *pool.Backend, derived bool) {
	const key = "protocol-era"
	i, ok := t.oneOf(key, "auto", record.Cert4000.String(), record.Token4000.String(), record.IANA.String())
	if !ok {
		return
	}
	s.Dialect = [...]record.Dialect{record.NoDialect, record.Cert4000, record.Token4000, record.IANA}[i]
	n := t.node.children["tokens"]
	none := !derived && !t.has("token-file") && (n == nil || n.kind == kindArray && len(n.items) == 0)
	if s.Dialect.NeedsToken() && none {
		t.fail(key, t.node.children[key], quote(s.Dialect.String())+" needs a token", "write tokens or token-file, or remove protocol-era")
	}
}
