package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"ntp-daemon/internal/printable"
	"ntp-daemon/internal/secret"
	"ntp-daemon/internal/server"
)

// Server is one [[server]] table.
type Server struct {
	Listen           netip.AddrPort
	Allow            server.Rule   // default: everyone; Action is for who is not in it
	Deny             server.Rule   // default: nobody; Action is for who is in it
	RateLimitSlots   int           // rate-limiting-cache-size; 0: no limit
	RateLimitSpacing time.Duration // rate-limiting-cutoff-ms: least spacing per client
	RateLimitKiss    bool          // rate-limiting-kiss: tell clients over the limit now and then
	Interleaved      bool          // interleaved answers for clients that ask for them; default true
	XDP              string        // interface whose driver answers plain requests, with ntp-xdp; empty: none
	Responder        server.Config // RequireNTS and Versions; the rest is for the daemon to set
}

// Keyset is the table [keyset]: the master keys of cookies.
type Keyset struct {
	StaleKeys        int           // old keys still accepted, default 7
	RotationInterval time.Duration // default 24 h
	StoragePath      string        // empty: keys live in memory only. Default: inside State.Directory
}

// KEServer is one [[nts-ke-server]] table.
type KEServer struct {
	Listen               netip.AddrPort
	CertificateChainPath string
	PrivateKeyPath       string
	Timeout              time.Duration // of one exchange, TLS included; default 1 s
	MaxConnections       int           // concurrent-connections, default 512
	LongLived            int           // connections kept for pools, default a tenth of MaxConnections and at least 1; 0: none
	NTPServer            string        // sent to clients; empty: none, they use this host
	NTPPort              uint16        // sent to clients; 0: none, they use 123

	// HandshakeCPU is the processor time that key exchange may take before handshakes wait, in percent of one processor.
	HandshakeCPU int
	Niceness     int // of the threads that do it; 0 is that of the process

	PoolTokens           []secret.Bytes // accepted-pool-authentication-tokens
	PoolCertificatePaths []string       // authorized-pool-server-certificates
	PoolCertificates     [][]byte       // the DER of each of those
}

// Defaults and limits of the server tables (docs/rules/configuration.md#servers).
const (
	defaultStaleKeys   = 7
	defaultRotation    = 24 * time.Hour
	defaultKETimeout   = time.Second
	defaultConnections = 512
	defaultHandshakes  = 60   // percent of one processor
	defaultNiceness    = 10   // a tenth of the weight of NTP (sched(7))
	mostHandshakes     = 6400 // 64 processors
	longLivedShare     = 10   // longlived-connections is this part of concurrent-connections
	longestToken       = 1024
	shortToken         = 16 // a random token of so many letters and digits has 80 bits and more
	newToken           = "make a long one, as with openssl rand -base64 32"
)

var (
	cacheSlots   = span{min: 0, max: 1 << 24}
	milliseconds = span{min: 0, max: 3600000, unit: "ms"}
	timeoutRange = span{min: 1, max: 600000, unit: "ms"}
	staleRange   = span{min: 0, max: 1000}
	rotations    = span{min: 1, max: 10 * 366 * 86400, unit: "s"}
	connections  = span{min: 1, max: 1 << 20}
	portRange    = span{min: 1, max: 65535}
)

// actions are the words of server.Ignore and what follows it.
var actions = []string{"ignore", "deny"}

// everyone matches every address.
var everyone = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// server reads one [[server]] table.
func (l *loader) server(t *table) Server {
	s := Server{
		Allow: server.Rule{Prefixes: everyone, Action: server.Ignore},
		Deny:  server.Rule{Action: server.Deny},

		Interleaved: true,
		Responder:   server.Config{Versions: server.DefaultVersions},
	}
	t.listenRequired("listen", "[::]:123", &s.Listen)
	t.accessList("allowlist", &s.Allow)
	t.accessList("denylist", &s.Deny)
	t.integer("rate-limiting-cache-size", cacheSlots, &s.RateLimitSlots)
	t.interval("rate-limiting-cutoff-ms", milliseconds, time.Millisecond, &s.RateLimitSpacing)
	if t.has("rate-limiting-cache-size") != t.has("rate-limiting-cutoff-ms") {
		l.warn(t.node.key, t.path, "rate limiting needs both rate-limiting-cache-size and rate-limiting-cutoff-ms, it is off", "write both or neither")
	}
	if t.boolean("rate-limiting-kiss", &s.RateLimitKiss); s.RateLimitKiss && (s.RateLimitSlots == 0 || s.RateLimitSpacing == 0) {
		l.warn(t.node.children["rate-limiting-kiss"].key, t.name("rate-limiting-kiss"), "has no effect without a rate limit",
			"write rate-limiting-cache-size and rate-limiting-cutoff-ms, or remove it")
	}
	t.requireNTS(&s.Responder.RequireNTS)
	t.boolean("interleaved", &s.Interleaved)
	t.versions(&s.Responder.Versions, false)
	t.xdp(&s)
	t.finish()
	l.listens(t, "listen", "udp", s.Listen)
	return s
}

// listenRequired is listen for a key that must be there.
func (t *table) listenRequired(key, example string, dst *netip.AddrPort) {
	t.listen(key, example, dst)
	if !t.has(key) {
		t.missing(key, fmt.Sprintf("write %s = %q", key, example))
	}
}

// accessList reads { filter = ["CIDR", …], action = "ignore" | "deny" }. The denylist of 1.0 and 1.1 had the
// default action ignore; an absent list keeps ours.
func (t *table) accessList(key string, dst *server.Rule) {
	at := t.sub(key)
	if n := t.node.children[key]; n == nil || n.kind != kindTable {
		return
	}
	if at.has("filter") {
		dst.Prefixes = at.prefixes("filter")
	} else {
		at.missing("filter", `write filter = ["192.0.2.0/24"]`)
	}
	if i, ok := at.oneOf("action", actions...); ok {
		dst.Action = server.Ignore + server.Action(i)
	} else if !at.has("action") {
		at.missing("action", `write action = "ignore" or action = "deny"`)
	}
	at.finish()
}

// prefixes reads an array of CIDR blocks. IPv4-mapped blocks become IPv4 ones, as the sender's addresses do;
// one that reaches beyond the mapped range is refused, because it would match nothing (row F08).
func (t *table) prefixes(key string) []netip.Prefix {
	list := []netip.Prefix{}
	for _, item := range t.strings(key, "192.0.2.0/24") {
		p, what, remedy := parsePrefix(item.text)
		if what != "" {
			t.fail(key, item, quote(item.text)+what, remedy)
			continue
		}
		list = append(list, p)
	}
	return list
}

func parsePrefix(s string) (p netip.Prefix, what, remedy string) {
	addr, bits, found := strings.Cut(s, "/")
	if !found || bits == "" {
		return p, " has no prefix length", "write an address and a length, as 192.0.2.0/24 or 192.0.2.1/32"
	}
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" {
		return p, " holds no IP address before the slash", "write 192.0.2.0/24 or 2001:db8::/32"
	}
	p, err = netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Sprintf(": length %s is out of range", printable.Line(bits)), fmt.Sprintf("use 0 to %d", a.BitLen())
	}
	if a.Is4In6() {
		if p.Bits() < 96 {
			return p, fmt.Sprintf(": length %d of an IPv4-mapped address is out of range", p.Bits()), "use 96 to 128, or write the IPv4 address"
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), "", ""
}

// requireNTS reads true, false, "ignore" or "deny".
func (t *table) requireNTS(dst *server.Action) {
	const key = "require-nts"
	n := t.get(key)
	switch {
	case n == nil:
	case n.kind == kindBool && n.text == "false":
		*dst = server.Allow
	case n.kind == kindBool || n.kind == kindString && n.text == "ignore":
		*dst = server.Ignore
	case n.kind == kindString && n.text == "deny":
		*dst = server.Deny
	default:
		t.fail(key, n, n.shown()+" is not known", `use true, false, "ignore" or "deny"`)
	}
}

// versions reads accept-ntp-versions, of a key exchange server when nts is set.
func (t *table) versions(dst *server.Versions, nts bool) {
	const key = "accept-ntp-versions"
	n := t.typed(key, kindArray, key+" = [4]")
	if n == nil {
		return
	}
	lowest, remedy := uint8(1), "use 1, 2, 3 or 4"
	if nts {
		lowest, remedy = 4, "use 4 or 5, NTS needs at least version 4"
	}
	*dst = 0
	for _, item := range n.items {
		if item.is(5) {
			t.l.notBuilt(item.val, t.name(key), "NTP version 5")
			continue
		}
		known := false
		for v := lowest; v <= 4; v++ {
			if item.is(float64(v)) {
				*dst, known = *dst|server.VersionSet(v), true
			}
		}
		if !known {
			t.fail(key, item, item.shown()+" is no version of NTP for a server", remedy)
		}
	}
	if len(n.items) == 0 {
		t.fail(key, n, "is empty, nobody would be answered", remedy)
	}
}

// keyset reads [keyset].
func (l *loader) keyset(t *table) Keyset {
	k := Keyset{StaleKeys: defaultStaleKeys, RotationInterval: defaultRotation}
	t.integer("stale-key-count", staleRange, &k.StaleKeys)
	t.interval("key-rotation-interval", rotations, time.Second, &k.RotationInterval)
	if t.file("key-storage-path", "/var/lib/ntp-daemon/keys", &k.StoragePath) {
		t.examine("key-storage-path", examineFolder(filepath.Dir(k.StoragePath)))
	}
	t.finish()
	return k
}

// keServer reads one [[nts-ke-server]] table.
func (l *loader) keServer(t *table) KEServer {
	s := KEServer{Timeout: defaultKETimeout, MaxConnections: defaultConnections, HandshakeCPU: defaultHandshakes, Niceness: defaultNiceness}
	t.listenRequired("listen", "[::]:4460", &s.Listen)
	t.keyPair("certificate-chain-path", "private-key-path", &s.CertificateChainPath, &s.PrivateKeyPath)
	t.interval("key-exchange-timeout-ms", timeoutRange, time.Millisecond, &s.Timeout)
	t.integer("concurrent-connections", connections, &s.MaxConnections)
	s.LongLived = max(1, s.MaxConnections/longLivedShare)
	t.integer("longlived-connections", span{min: 0, max: float64(s.MaxConnections)}, &s.LongLived)
	t.integer("handshake-cpu-percent", span{min: 1, max: mostHandshakes, unit: "%"}, &s.HandshakeCPU)
	t.integer("handshake-niceness", span{min: 0, max: 19}, &s.Niceness)
	if t.text("ntp-server", "ntp.example.org", &s.NTPServer) {
		if what, remedy := checkHost(s.NTPServer); what != "" {
			t.fail("ntp-server", t.node.children["ntp-server"], quote(s.NTPServer)+what, remedy)
		}
	}
	var port int
	t.integer("ntp-port", portRange, &port)
	s.NTPPort = uint16(port)
	var versions server.Versions // checked only: nothing depends on it
	t.versions(&versions, true)
	s.PoolTokens = t.tokens("accepted-pool-authentication-tokens")
	for _, item := range t.strings("authorized-pool-server-certificates", "end.pem") {
		s.PoolCertificatePaths = append(s.PoolCertificatePaths, item.text)
		if der := l.leaf(t, "authorized-pool-server-certificates", item); der != nil {
			s.PoolCertificates = append(s.PoolCertificates, der)
		}
	}
	t.finish()
	l.listens(t, "listen", "tcp", s.Listen)
	return s
}

// keyPair reads the two required paths of a certificate.
func (t *table) keyPair(chainKey, keyKey string, chain, key *string) {
	for _, k := range []struct {
		name string
		dst  *string
	}{{chainKey, chain}, {keyKey, key}} {
		if t.file(k.name, "/etc/ntp-daemon/tls.pem", k.dst); !t.has(k.name) {
			t.missing(k.name, "write "+k.name+" = \"…\" with the path of a PEM file")
		}
	}
	if *chain != "" && *key != "" {
		t.examineKeyPair(chainKey, keyKey, *chain, *key)
	}
}

// tokens reads an array of bearer tokens. A token never appears in a message.
func (t *table) tokens(key string) []secret.Bytes {
	var list []secret.Bytes
	for _, item := range t.strings(key, "…") {
		if what := checkToken(item.text); what != "" {
			t.fail(key, item, what, "make a new token")
			continue
		}
		if len(item.text) < shortToken {
			t.l.told(CheckShortToken, item.val, t.name(key), fmt.Sprintf("holds a token of %d characters, which can be guessed", len(item.text)), newToken)
		}
		list = append(list, secret.Bytes(item.text))
	}
	if len(list) > 0 {
		t.l.noteTokens(t.name(key), t.node.children[key].val)
	}
	return list
}

// checkToken says what is wrong with a token without showing it.
func checkToken(s string) string {
	if len(s) > longestToken {
		return fmt.Sprintf("holds a token of more than %d bytes", longestToken)
	}
	for _, c := range s {
		if c < 0x20 || c == 0x7f {
			return "holds a token with a control character"
		}
	}
	return ""
}
