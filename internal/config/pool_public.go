package config

import "time"

// The tables of the public pool's own program, nts-pool. Its [server] is one table; ntp-daemon's [[server]] are many.
const (
	publicServer  = "server"
	publicBackend = "backend"
)

// The defaults of that program (docs/rules/configuration.md#public-pool).
const (
	publicConnections = 100
	publicAnswer      = 2500 * time.Millisecond
	publicCache       = 300 * time.Second
	publicAge         = time.Hour
)

// publicTable names the table that shows a file to be one of the public pool's; empty: it is none.
func publicTable(root *node) string {
	for _, name := range []string{publicBackend, publicServer} {
		if n := root.children[name]; n != nil && (name == publicBackend || n.kind == kindTable) {
			return name
		}
	}
	return ""
}

// public reads [server] and [backend]. Every key of theirs means what it means there; those of ours that it lacks are
// beside them (docs/rules/configuration.md#public-pool).
func (l *loader) public(root *table, p *Pool) {
	p.StandAlone, p.Upstream.ConnectAtStart = true, true
	for _, part := range []struct {
		name string
		read func(*table, *Pool)
	}{{publicServer, l.publicServer}, {publicBackend, l.publicBackend}} {
		switch n := root.node.children[part.name]; {
		case n == nil:
			root.missing(part.name, "write ["+part.name+"]")
		case n.kind != kindTable:
			_ = root.sub(part.name) // says so
			continue
		default:
			part.read(root.sub(part.name), p)
		}
	}
	l.publicSelection(root, p)
}

func (l *loader) publicServer(t *table, p *Pool) {
	t.listenRequired("listen", "[::]:4460", &p.Listen)
	l.listens(t, "listen", "tcp", p.Listen)
	t.keyPair("certificate-chain", "private-key", &p.CertificateChainPath, &p.PrivateKeyPath)
	p.Timeout, p.PerClient = DefaultPoolTimeout, DefaultPoolPerClient
	p.Limits.MaxConnections, p.Limits.AnswerTimeout = publicConnections, publicAnswer
	t.interval("key-exchange-timeout", timeoutRange, time.Millisecond, &p.Timeout)
	t.interval("timesource-timeout", timeoutRange, time.Millisecond, &p.Limits.AnswerTimeout)
	t.integer("max-connections", connections, &p.Limits.MaxConnections)
	t.integer("connections-per-client", span{min: 0, max: connections.max}, &p.PerClient)
	l.publicProxy(t, p)
	l.poolOwn(t, p)
	l.monitoringKeys(t, "monitoring-keys", p, true)
	t.finish()
}

// publicProxy reads use-proxy-protocol, which there believes everybody. Here it needs the list of those to believe.
func (l *loader) publicProxy(t *table, p *Pool) {
	const flag, list = "use-proxy-protocol", "trusted-peers"
	var on bool
	t.boolean(flag, &on)
	peers := t.has(list)
	if peers {
		l.trustedPeers(t, p)
	}
	t.skip(list)
	switch n := t.node.children[flag]; {
	case on && !peers:
		t.fail(flag, n, "needs "+list+", for whoever reaches the port could pass for any user",
			`write trusted-peers = ["…"] beside it, with the addresses of the load balancers`)
	case !on && peers:
		t.fail(list, t.node.children[list], "has no effect without "+flag, "write "+flag+" = true, or remove it")
	}
}

func (l *loader) publicBackend(t *table, p *Pool) {
	p.Roots = l.roots(t, "upstream-cas", authority{system: true})
	t.keyPair("certificate-chain", "private-key", &p.ClientChainPath, &p.ClientKeyPath)
	const protocols, secrets, list = "allowed-protocols", "base-shared-secret", "key-exchange-servers"
	t.protocols(protocols, p)
	base := l.baseSecrets(t, secrets, p)
	p.Limits.SupportTimeout, p.Limits.SupportTTL, p.Limits.IdleTime, p.Limits.MaxAge = publicAnswer, publicCache, publicCache, publicAge
	t.interval("timesource-timeout", timeoutRange, time.Millisecond, &p.Limits.SupportTimeout)
	t.interval("server-support-cache-validity", cacheRange, time.Second, &p.Limits.SupportTTL)
	t.interval("server-connection-cache-max-idle", cacheRange, time.Second, &p.Limits.IdleTime)
	t.interval("server-connection-cache-max-age", cacheRange, time.Second, &p.Limits.MaxAge)
	t.geography(publicGeographyKey, p)
	var path string
	if t.file(list, "/etc/nts-pool-ke/servers.json", &path) {
		l.serversFile(t, list, path, p, base)
	}
	for _, required := range []struct{ key, remedy string }{
		{protocols, "write allowed-protocols = [0], which is NTPv4"},
		{secrets, "write the path of the file with the secret that the time sources' tokens are made from"},
		{list, "write the path of the list of time sources"},
	} {
		if !t.has(required.key) {
			t.missing(required.key, required.remedy)
		}
	}
	t.finish()
}
