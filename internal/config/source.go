package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/pki"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/source"
)

// Source is one [[source]] table with the [source-defaults] filled in.
type Source struct {
	Mode   source.Mode
	Host   string       // host name or address, without port
	Port   uint16       // default 123, or 4460 with NTS
	Count  int          // sources wanted: 1, or the key count of a pool (default 4)
	Ignore []netip.Addr // addresses of a pool that are never used

	// SRV: the host is a domain whose SRV records name the key exchange servers (enable-srv-resolution); Port has no meaning
	// then. SRVResolvers are the name servers that are asked, and believed (srv-resolvers); none: those of the system.
	SRV          bool
	SRVResolvers []netip.AddrPort

	Roots *pki.Roots // whom the key exchange believes: certificate-authority, system-certificates; nil without NTS

	// Algorithms is what the key exchange offers, most wanted first (aead-algorithms); nil: the default ones.
	Algorithms []aead.Algorithm

	Version     uint8               // of the packets sent: 4, or 3 without NTS
	Interleaved source.Interleaving // default auto
	PollMin     ntp.PollExp
	PollMax     ntp.PollExp // ≥ PollMin
	PollInitial ntp.PollExp // in [PollMin, PollMax]
}

// Name is host:port as configured, or the name of the SRV records, by which logs, status and messages call the source.
func (s *Source) Name() string {
	if s.SRV {
		return resolve.ServiceName(s.Host)
	}
	return net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port)))
}

// Defaults and limits of sources (docs/rules/configuration.md#sources).
const (
	ntskePort        = 4460
	defaultPollMin   = 4  // 16 s
	defaultPollMax   = 10 // 1024 s
	defaultPollStart = 4
	defaultCount     = 4
	mostSources      = 1000 // of one pool; a name server rarely gives more than a dozen
)

// modes are the words of mode: those of the modes that run, then those that are known and do not run yet.
var modes = func() (words []string) {
	for _, m := range source.Modes() {
		words = append(words, m.String())
	}
	return append(words, "sock", "pps")
}()

var (
	firstNotBuilt = len(source.Modes())
	modePPS       = firstNotBuilt + 1
)

// oldModes are the modes of the 0.3.x layout.
var oldModes = map[string]string{"simple": "server", "nts-server": "nts"}

var pollRange = span{min: float64(ntp.MinPollExp), max: float64(ntp.MaxPollExp), unit: "(log2 of seconds)"}

// sourceDefaults are what [source-defaults] gives to each source: poll limits, whom key exchanges believe, and when answers are
// asked for that tell when the one before left.
type sourceDefaults struct {
	polls
	authority
	interleaved source.Interleaving
}

// polls is a set of poll limits and where they were written.
type polls struct {
	min, max, start int
	startWritten    bool
}

// sourceDefaults reads [source-defaults].
func (l *loader) sourceDefaults(t *table) sourceDefaults {
	d := sourceDefaults{polls: polls{min: defaultPollMin, max: defaultPollMax, start: defaultPollStart}, authority: authority{system: true}, interleaved: source.InterleaveAuto}
	t.pollKeys(&d.polls)
	t.authorityKeys("certificate-authority", &d.authority)
	t.interleaved(&d.interleaved)
	t.finish()
	return d
}

// pollKeys reads the two poll keys over the defaults in p. A start outside the limits is moved inside: the default of
// 16 s does not follow a configured minimum (docs/rules/configuration.md#sources), and files of every era must load.
func (t *table) pollKeys(p *polls) {
	limits := t.sub("poll-interval-limits")
	limits.integer("min", pollRange, &p.min)
	limits.integer("max", pollRange, &p.max)
	limits.finish()
	if p.min > p.max {
		t.l.problem(limits.node.val, limits.path, fmt.Sprintf("min %d is above max %d", p.min, p.max), "swap them, or give both")
		p.max = p.min
	}
	const key = "initial-poll-interval"
	p.startWritten = t.integer(key, pollRange, &p.start) || p.startWritten
	inside := min(max(p.start, p.min), p.max)
	if p.start != inside && p.startWritten && t.has(key) {
		t.l.warn(t.node.children[key].val, t.name(key),
			fmt.Sprintf("%d is outside the limits %d to %d", p.start, p.min, p.max), fmt.Sprintf("%d is used", inside))
	}
	p.start = inside
}

// source reads one [[source]] table; ok is false when it cannot run.
func (l *loader) source(t *table, defaults sourceDefaults) (s Source, ok bool) {
	mode, found := t.mode()
	if !found {
		return s, false
	}
	if mode >= firstNotBuilt {
		l.notBuilt(t.node.children["mode"].val, t.name("mode"), fmt.Sprintf("sources of mode %q", modes[mode]))
		l.possible += t.refclock(mode)
		return s, false
	}
	s = Source{Mode: source.Mode(mode), Port: ntp.Port, Count: 1, Version: 4}
	nts := s.Mode.NTS()
	if nts {
		s.Port = ntskePort
	}
	t.address("address", &s.Host, &s.Port)
	if s.Mode.Plural() {
		s.Count = defaultCount
		t.integer("count", span{min: 1, max: mostSources}, &s.Count)
	}
	if s.Mode == source.ModePool {
		s.Ignore = t.addresses("ignore")
	}
	if nts {
		s.Roots = l.roots(t, "certificate-authority", defaults.authority)
		s.Algorithms = t.algorithms("aead-algorithms")
		t.serviceKeys(&s)
	}
	t.ntpVersion(&s.Version, nts)
	t.pollKeys(&defaults.polls)
	s.PollMin, s.PollMax, s.PollInitial = ntp.PollExp(defaults.min), ntp.PollExp(defaults.max), ntp.PollExp(defaults.start)
	s.Interleaved = defaults.interleaved
	if t.interleaved(&s.Interleaved); s.Version < 4 {
		if s.Interleaved == source.InterleaveAlways && t.has("interleaved") {
			l.warn(t.node.children["interleaved"].key, t.name("interleaved"), "has no effect with NTP version 3", "use version 4, or remove it")
		}
		s.Interleaved = source.InterleaveNever
	}
	t.finishSource(modes[mode])
	l.possible += s.Count
	return s, true
}

// mode reads the key that decides about all others; without it nothing is said of them.
func (t *table) mode() (int, bool) {
	n := t.node.children["mode"]
	if n == nil {
		t.missing("mode", "write mode = "+alternatives(modes[:firstNotBuilt]))
		return 0, false
	}
	if now, old := oldModes[n.text]; old && n.kind == kindString {
		t.skip("mode")
		t.l.problem(n.val, t.name("mode"), quote(n.text)+" is a mode of the 0.3 layout", fmt.Sprintf("write mode = %q", now))
		return 0, false
	}
	return t.oneOf("mode", modes...)
}

// modeOnly names keys that belong to some modes only, for the remedy.
var modeOnly = map[string]string{
	"count":                      `only the modes "pool" and "nts-pool" have it`,
	"ignore":                     `only the mode "pool" has it`,
	"certificate-authority":      `only the modes "nts" and "nts-pool" have it`,
	"system-certificates":        `only the modes "nts" and "nts-pool" have it`,
	"enable-srv-resolution":      `only the modes "nts" and "nts-pool" have it`,
	"srv-resolvers":              `only the modes "nts" and "nts-pool" have it`,
	"aead-algorithms":            `only the modes "nts" and "nts-pool" have it`,
	"path":                       `only the modes "sock" and "pps" have it`,
	"precision":                  `only the modes "sock" and "pps" have it`,
	"accuracy":                   `only the modes "sock" and "pps" have it`,
	"measurement_noise_estimate": `only the modes "sock" and "pps" have it`,
	"period":                     `only the mode "pps" has it`,
	"address":                    `the modes "sock" and "pps" have none`,
	"ntp-version":                `the modes "sock" and "pps" have none`,
	"ntp_version":                `the modes "sock" and "pps" have none`,
	"poll-interval-limits":       `the modes "sock" and "pps" have none`,
	"initial-poll-interval":      `the modes "sock" and "pps" have none`,
	"interleaved":                `the modes "sock" and "pps" have none`,
}

// finishSource is finish with a word on keys that another mode has.
func (t *table) finishSource(mode string) {
	asked := make(map[string]bool, len(t.known))
	for _, k := range t.known {
		asked[k] = true
	}
	for _, name := range t.node.names {
		why, elsewhere := modeOnly[name]
		if asked[name] || !elsewhere {
			continue
		}
		t.l.problem(t.node.children[name].key, t.name(name), fmt.Sprintf("no key of mode %q", mode), "remove it, "+why)
		t.skip(name)
	}
	t.finish()
}

// ntpVersion reads ntp-version and its alias of 1.4 and 1.5, ntp_version. Version 3, which ntpd-rs does not ask
// with, is for old servers; it has no room for NTS.
func (t *table) ntpVersion(dst *uint8, nts bool) {
	key := "ntp-version"
	if t.has("ntp_version") {
		key = "ntp_version"
		if n := t.node.children["ntp-version"]; n != nil {
			t.skip("ntp-version")
			t.fail("ntp-version", n, "is given twice, also as ntp_version", "remove one")
		}
	} else {
		t.skip("ntp-version")
	}
	n := t.get(key)
	remedy := `use 3, 4, 5 or "auto"`
	if nts {
		remedy = `use 4, 5 or "auto", NTS needs at least version 4`
	}
	switch {
	case n == nil:
	case n.is(4):
	case n.is(3) && !nts:
		*dst = 3
	case n.is(5):
		t.l.notBuilt(n.val, t.name(key), "NTP version 5")
	case n.kind == kindString && n.text == "auto" && key == "ntp-version":
		t.l.note(n.val, t.name(key), `NTP version 5 is not built yet, "auto" is version 4`, "")
	default:
		t.fail(key, n, n.shown()+" is no version of NTP for a source", remedy)
	}
}

// interleaved reads true, false or "auto".
func (t *table) interleaved(dst *source.Interleaving) {
	const key = "interleaved"
	n := t.get(key)
	switch {
	case n == nil:
	case n.kind == kindBool && n.text == "true":
		*dst = source.InterleaveAlways
	case n.kind == kindBool && n.text == "false":
		*dst = source.InterleaveNever
	case n.kind == kindString && n.text == "auto":
		*dst = source.InterleaveAuto
	default:
		t.fail(key, n, n.shown()+" is not known", `use true, false or "auto"`)
	}
}

// algorithms reads the algorithms that a key exchange offers, most wanted first; nil: the default ones.
func (t *table) algorithms(key string) (list []aead.Algorithm) {
	n := t.typed(key, kindArray, key+" = [30, 15]")
	if n == nil {
		return nil
	}
	const remedy = "use some of 15, 16, 17 and 30, most wanted first"
	for _, item := range n.items {
		f, _ := item.float()
		a := aead.Algorithm(min(max(f, 0), math.MaxUint16))
		switch {
		case !item.is(float64(a)) || !a.Supported():
			t.fail(key, item, item.shown()+" is no AEAD algorithm that is built", remedy)
		case slices.Contains(list, a):
			t.fail(key, item, item.shown()+" is given twice", remedy)
		default:
			list = append(list, a)
		}
	}
	if len(n.items) == 0 {
		t.fail(key, n, "is empty, there would be nothing to agree on", remedy)
	}
	return list
}

// is reports whether the value is this whole number, in whatever base it is written.
func (n *node) is(v float64) bool {
	f, ok := n.float()
	return ok && n.kind == kindInteger && f == v
}

// shown is the value as a message shows it.
func (n *node) shown() string {
	switch n.kind {
	case kindString:
		return quote(n.text)
	case kindInteger, kindFloat, kindBool:
		return shorten(n.text)
	}
	return n.kind.String()
}

// addresses reads an array of IP addresses.
func (t *table) addresses(key string) []netip.Addr {
	var list []netip.Addr
	for _, item := range t.strings(key, "192.0.2.1") {
		a, err := netip.ParseAddr(item.text)
		if err != nil {
			t.fail(key, item, quote(item.text)+" is not an IP address", "write it without port or prefix length")
			continue
		}
		list = append(list, a.Unmap())
	}
	return list
}

// refclock checks the keys of the modes sock and pps (docs/rules/configuration.md#not-built) and returns how many
// sources the block counts for in minimum-agreeing-sources.
func (t *table) refclock(mode int) int {
	positive, variance := span{min: 1e-12, max: 1e9, unit: "s"}, span{min: 1e-24, max: 1e18, unit: "s²"}
	var path string
	var f float64
	if t.file("path", "/run/chrony.ttyS0.sock", &path); !t.has("path") {
		t.missing("path", "write path = \"…\"")
	}
	t.number("precision", positive, &f)
	t.number("accuracy", positive, &f)
	if n := t.get("measurement_noise_estimate"); n != nil {
		t.numberOf("measurement_noise_estimate", n, variance, &f)
		if t.has("precision") {
			t.fail("measurement_noise_estimate", n, "is given besides precision", "remove it")
		} else {
			t.l.warn(n.key, t.name("measurement_noise_estimate"), "is deprecated", "write precision, the square root of it")
		}
	} else if !t.has("precision") {
		t.missing("precision", "write precision = the standard deviation in seconds")
	}
	if mode == modePPS {
		t.number("period", positive, &f)
	}
	t.finishSource(modes[mode])
	if mode == modePPS {
		return 0
	}
	return 1
}
