package config

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/pelletier/go-toml/v2"
	"github.com/rs/zerolog"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/secret"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
)

func parseOK(t *testing.T, text string) *Config {
	t.Helper()
	cfg, _, err := Parse("t.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestDefaults: the configuration of an empty file (docs/rules/configuration.md#defaults).
func TestDefaults(t *testing.T) {
	want := &Config{
		Path: "t.toml",
		Observability: Observability{LogLevel: zerolog.InfoLevel, LogFormat: logging.Auto, ObservationPermissions: 0o666,
			MetricsExporterListen: netip.MustParseAddrPort("127.0.0.1:9975")},
		Keyset:  Keyset{StaleKeys: 7, RotationInterval: 24 * time.Hour},
		Process: Process{User: "ntp-daemon"},
		Synchronization: Synchronization{
			Params: system.Params{
				SingleStep:           system.StepLimit{Forward: 1000 * time.Second, Backward: 1000 * time.Second},
				StartupStep:          system.StepLimit{Forward: system.Unlimited, Backward: 86400 * time.Second},
				LocalStratum:         16,
				UnauthenticatedSteps: 1000 * time.Second,
				LocalReference:       ntp.RefIDFromString("XNON"),
				Algorithm:            algorithm.Defaults(),
				Precision:            -20,
			},
			ClockControl: true,
		},
	}
	if d := cmp.Diff(want, parseOK(t, ""), cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.IgnoreUnexported(Config{})); d != "" {
		t.Error(d)
	}
}

func TestSources(t *testing.T) {
	cfg := parseOK(t, `
[source-defaults]
poll-interval-limits = { min = 5 }
[[source]]
mode = "server"
address = "ntp.example.org"
[[source]]
mode = "pool"
address = "[2001:db8::1]:1123"
ignore = ["::ffff:192.0.2.1"]
poll-interval-limits = { min = 0, max = 2 }
ntp-version = 3
[[source]]
mode = "nts"
address = "2001:db8::1"
initial-poll-interval = 7
aead-algorithms = [30, 15]
interleaved = true
[[source]]
mode = "nts-pool"
address = "localhost:14460"
count = 2
interleaved = false
`)
	want := []Source{
		{Mode: source.ModeServer, Host: "ntp.example.org", Port: 123, Count: 1, Version: 4, Interleaved: source.InterleaveAuto, PollMin: 5, PollMax: 10, PollInitial: 5},
		{Mode: source.ModePool, Host: "2001:db8::1", Port: 1123, Count: 4, Version: 3, PollMin: 0, PollMax: 2, PollInitial: 2,
			Ignore: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
		{Mode: source.ModeNTS, Host: "2001:db8::1", Port: 4460, Count: 1, Version: 4, Interleaved: source.InterleaveAlways, PollMin: 5, PollMax: 10, PollInitial: 7,
			Algorithms: []aead.Algorithm{aead.GCMSIV128, aead.SIVCMAC256}},
		{Mode: source.ModeNTSPool, Host: "localhost", Port: 14460, Count: 2, Version: 4, Interleaved: source.InterleaveNever, PollMin: 5, PollMax: 10, PollInitial: 5},
	}
	if d := cmp.Diff(want, cfg.Sources, cmpopts.EquateComparable(netip.Addr{}), cmpopts.IgnoreFields(Source{}, "Roots")); d != "" {
		t.Error(d)
	}
}

func TestServers(t *testing.T) {
	cfg := parseOK(t, `
[[server]]
listen = "[::]:123"
[[server]]
listen = "127.0.0.1:123"
allowlist = { filter = ["::ffff:192.0.2.77/120"], action = "deny" }
denylist = { filter = [], action = "ignore" }
rate-limiting-cache-size = 32
rate-limiting-cutoff-ms = 1500
require-nts = true
accept-ntp-versions = [4]
[[server]]
listen = "127.0.0.1:124"
accept-ntp-versions = [4, 2, 1, 2]
interleaved = false
`)
	want := []Server{
		{Listen: netip.MustParseAddrPort("[::]:123"), Allow: server.Rule{Prefixes: everyone, Action: server.Ignore}, Deny: server.Rule{Prefixes: nil, Action: server.Deny}, Interleaved: true, Responder: server.Config{Versions: 1<<3 | 1<<4}},
		{Listen: netip.MustParseAddrPort("127.0.0.1:123"),
			Allow:          server.Rule{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Action: server.Deny},
			Deny:           server.Rule{Prefixes: []netip.Prefix{}, Action: server.Ignore},
			RateLimitSlots: 32, RateLimitSpacing: 1500 * time.Millisecond, Interleaved: true, Responder: server.Config{RequireNTS: server.Ignore, Versions: 1 << 4}},
		{Listen: netip.MustParseAddrPort("127.0.0.1:124"), Allow: server.Rule{Prefixes: everyone, Action: server.Ignore}, Deny: server.Rule{Action: server.Deny}, Responder: server.Config{Versions: 1<<1 | 1<<2 | 1<<4}},
	}
	if d := cmp.Diff(want, cfg.Servers, cmpopts.EquateComparable(netip.AddrPort{}, netip.Prefix{})); d != "" {
		t.Error(d)
	}
}

func TestKEServer(t *testing.T) {
	b, err := os.ReadFile("testdata/good/1.1-nts-pool.toml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata/good/1.1-nts-pool.toml")
	cfg, _, err := Load(path)
	if err != nil {
		t.Fatal(err, string(b))
	}
	ke := cfg.KEServers[0]
	if len(ke.PoolCertificates) != 1 || ke.MaxConnections != 512 || ke.LongLived != 51 || ke.NTPPort != 123 || ke.Timeout != time.Second {
		t.Errorf("%+v", ke)
	}
	now := time.Now()
	own, err := cfg.Sources[0].Roots.Pool(now)
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err = Load("testdata/good/1.7.toml")
	if err != nil {
		t.Fatal(err)
	}
	if ke = cfg.KEServers[0]; len(ke.PoolTokens) != 2 || !ke.PoolTokens[1].Equal([]byte("another-token-of-a-pool")) || ke.LongLived != 20 {
		t.Errorf("%+v", ke)
	}
	if system, err := cfg.Sources[0].Roots.Pool(now); err != nil || system.Equal(own) {
		t.Errorf("certificate-authority adds nothing to the system's roots: %v", err)
	}
}

func TestMaximumRootDistance(t *testing.T) {
	if d := parseOK(t, "[synchronization]\nmaximum-root-distance = 0.25").Synchronization.HoldOver; d != 250*time.Millisecond {
		t.Error(d)
	}
	for _, text := range []string{"0", "-1", "17", "nan", `"1"`} {
		if _, _, err := Parse("t.toml", []byte("[synchronization]\nmaximum-root-distance = "+text)); err == nil {
			t.Errorf("%s accepted", text)
		}
	}
}

func TestThresholds(t *testing.T) {
	s := time.Second
	for text, want := range map[string]system.StepLimit{
		`10`:                                  {Forward: 10 * s, Backward: 10 * s},
		`0.5`:                                 {Forward: s / 2, Backward: s / 2},
		`0`:                                   {Forward: 0, Backward: 0},
		`"inf"`:                               {Forward: system.Unlimited, Backward: system.Unlimited},
		`{ forward = 1, backward = "inf" }`:   {Forward: s, Backward: system.Unlimited},
		`{ forward = 1 }`:                     {Forward: s, Backward: system.Unlimited},
		`{ backward = 0x10 }`:                 {Forward: system.Unlimited, Backward: 16 * s},
		`{}`:                                  {Forward: system.Unlimited, Backward: system.Unlimited},
		`4294967296`:                          {Forward: 4294967296 * s, Backward: 4294967296 * s},
		"{\n forward = 1,\n backward = 2,\n}": {Forward: s, Backward: 2 * s},
	} {
		cfg := parseOK(t, "[synchronization]\nsingle-step-panic-threshold = "+text)
		if got := cfg.Synchronization.SingleStep; got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"accumulated-step-panic-threshold = 0", `accumulated-step-panic-threshold = "inf"`} {
		if got := parseOK(t, "[synchronization]\n"+text).Synchronization.AccumulatedSteps; got != 0 && got != system.Unlimited {
			t.Errorf("%s: %v", text, got)
		}
	}
	for text, want := range map[string]time.Duration{
		"": 1000 * s, "unauthenticated-steps-per-day = 0": 0, `unauthenticated-steps-per-day = "inf"`: system.Unlimited,
		"unauthenticated-steps-per-day = 60\nsingle-step-panic-threshold = 5000": 60 * s,
		"single-step-panic-threshold = 5000":                                     5000 * s,
		"single-step-panic-threshold = { backward = 10 }":                        system.Unlimited,
		"single-step-panic-threshold = 10":                                       1000 * s,
	} {
		if got := parseOK(t, "[synchronization]\n"+text).Synchronization.UnauthenticatedSteps; got != want {
			t.Errorf("%s: %v a day, want %v", text, got, want)
		}
	}
	for text, want := range map[string]system.PanicAction{
		"": system.PanicHold, `panic-action = "hold"`: system.PanicHold, `panic-action = "exit"`: system.PanicExit,
	} {
		if got := parseOK(t, "[synchronization]\n"+text).Synchronization.PanicAction; got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	for _, text := range []string{"unauthenticated-steps-per-day = -1", "unauthenticated-steps-per-day = { forward = 1 }", `panic-action = "panic"`, "panic-action = 1"} {
		if _, _, err := Parse("t.toml", []byte("[synchronization]\n"+text)); err == nil {
			t.Errorf("%s accepted", text)
		}
	}
	cfg := parseOK(t, "[synchronization.startup-step-panic-threshold]\nforward = 3\n[synchronization]\naccumulated-step-panic-threshold = 7")
	if cfg.Synchronization.StartupStep != (system.StepLimit{Forward: 3 * s, Backward: system.Unlimited}) || cfg.Synchronization.AccumulatedSteps != 7*s {
		t.Errorf("%+v", cfg.Synchronization)
	}
}

func TestVirtualClock(t *testing.T) {
	s := parseOK(t, "[synchronization]\nclock = \"virtual\"\nvirtual-offset = -0.25\nvirtual-frequency = 50").Synchronization
	if s.Clock != ClockVirtual || s.VirtualOffset != -250*time.Millisecond || s.VirtualFrequency != 50e-6 {
		t.Errorf("%+v", s)
	}
}

func TestAlgorithmKeys(t *testing.T) {
	v := reflect.ValueOf(parseOK(t, "[synchronization]\nminimum-agreeing-sources = 2").Synchronization.Algorithm)
	if got := v.FieldByName("MinimumAgreeing").Int(); got != 2 {
		t.Errorf("MinimumAgreeing %d, want 2", got)
	}
	// Every key sets the field of its own name, to a value that is inside every range but no default.
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name == "MinimumAgreeing" || name == "KnownFrequencyUncertainty" { // set elsewhere, from the drift file
			continue
		}
		key, value := kebab(name), "0.015625"
		switch v.Field(i).Kind() {
		case reflect.Int:
			value = "5"
		case reflect.Bool:
			value = "true"
		}
		switch name {
		case "InitialWander", "InitialFrequencyUncertainty", "SlewMaximumFrequencyOffset", "MaximumFrequencySteer":
			value = "0.00390625"
		}
		p := parseOK(t, "[synchronization.algorithm]\n"+key+" = "+value).Synchronization.Algorithm
		if got := fmt.Sprint(reflect.ValueOf(p).Field(i)); got != value {
			t.Errorf("%s = %s gave %s", key, value, got)
		}
	}
}

func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('-')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func TestPool(t *testing.T) {
	p, _, err := LoadPool("testdata/good/1.1-nts-pool-ke.toml")
	if err != nil {
		t.Fatal(err)
	}
	if p.Listen != netip.MustParseAddrPort("0.0.0.0:4460") || p.Timeout != time.Second || p.Roots == nil {
		t.Errorf("%+v", p)
	}
	if d := cmp.Diff([]pool.Backend{{Domain: "localhost", Port: 8081, Weight: 1}, {Domain: "localhost", Port: 8080, Weight: 1}}, p.Servers); d != "" {
		t.Error(d)
	}
	p, _, err = LoadPool("testdata/good/tokens-nts-pool-ke.toml")
	if err != nil {
		t.Fatal(err)
	}
	want := [][]secret.Bytes{{secret.Bytes("0123456789abcdef-first"), secret.Bytes("0123456789abcdef-second")}, {secret.Bytes("0123456789abcdef-first"), secret.Bytes("0123456789abcdef-second")}}
	for i, s := range p.Servers {
		if !reflect.DeepEqual(s.Tokens, want[i]) {
			t.Errorf("%s: %d tokens, not those of the file", s.Domain, len(s.Tokens))
		}
	}
	if p.Timeout != 5*time.Second {
		t.Errorf("timeout %v", p.Timeout)
	}
	p, _, err = LoadPool("testdata/good/upstream-nts-pool-ke.toml")
	if err != nil {
		t.Fatal(err)
	}
	upstream := []pool.Backend{{
		Domain: "a.example", Port: 4460, Dialect: record.Token4000, Tokens: []secret.Bytes{secret.Bytes("0123456789abcdef")},
		Names: []string{"ntp.a.example", "198.18.0.1"}, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		ID: "nts-a", Weight: 20, Regions: []string{"NL", "NORTH-AMERICA", "SOUTH_AMERICA"}, Operator: "example.org", NoIPv6: true, MaxConnections: 4,
	}, {Domain: "b.example", Port: 4460, Dialect: record.Cert4000, Weight: 1}}
	if !reflect.DeepEqual(p.Servers, upstream) {
		t.Errorf("%+v", p.Servers)
	}
	if _, _, err := LoadPool(""); err == nil || err.Error() != "nts-pool-ke: no configuration path specified; name one with -c FILE" {
		t.Errorf("%v", err)
	}
	if _, _, err := LoadPool("testdata/no-such-file.toml"); err == nil ||
		err.Error() != "testdata/no-such-file.toml: no such file or directory; name a configuration with -c FILE" {
		t.Errorf("%v", err)
	}
}

// TestNoSecretsInMessages: a token that is refused, and one that is not, appear nowhere.
func TestNoSecretsInMessages(t *testing.T) {
	text := "[[nts-ke-server]]\nlisten = \"1.2.3.4:1\"\naccepted-pool-authentication-tokens = [\"geheim\", \"geheim\\t\"]\nx = 1\n"
	_, warnings, err := Parse("t.toml", []byte(text))
	if s := verdict(warnings, err); strings.Contains(s, "geheim") || !strings.Contains(s, "control character") {
		t.Error(s)
	}
	p, _, err := LoadPool("testdata/good/tokens-nts-pool-ke.toml")
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %+v %#v %x", p, p, p.Servers, p.Servers[0].Tokens); strings.Contains(s, "first") || strings.Contains(s, "6669727374") {
		t.Error(s)
	}
}

// TestF06_OddFiles: byte order marks and line ends of other systems are fine, everything else is an error
// with a place, and nothing takes long.
func TestF06_OddFiles(t *testing.T) {
	var many strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&many, "[[source]]\nmode = \"server\"\naddress = \"n%d.example.org\"\npoll-interval-limits = { min = 4, max = 6 }\n", i)
	}
	var keys strings.Builder
	for i := range 200000 {
		fmt.Fprintf(&keys, "k%d=1\n", i)
	}
	for _, c := range []struct{ name, text, want string }{
		{"byte order mark", "\xef\xbb\xbf[keyset]\nstale-key-count = 3\n", ""},
		{"byte order mark and a wrong key", "\xef\xbb\xbfkeysets = 1", `1:1: keysets: unknown key; did you mean "keyset"?`},
		{"two byte order marks", "\xef\xbb\xbf\xef\xbb\xbf[keyset]\n", "1:1: "},
		{"UTF-16", "\xff\xfe[\x00k\x00", "1:1: "},
		{"CR LF", "[keyset]\r\nstale-key-count = 3\r\n", ""},
		{"CR alone", "[keyset]\rstale-key-count = 3\r", "1:9: "},
		{"NUL", "[keyset]\nkey-storage-path = \"a\x00b\"\n", "2:22: "},
		{"escaped NUL in a path", "[keyset]\nkey-storage-path = \"a\\u0000b\"\n", "2:20: keyset.key-storage-path: holds a NUL byte"},
		{"invalid UTF-8", "[keyset]\nkey-storage-path = \"a\xffb\"\n", "2:22: "},
		{"invalid UTF-8 in a comment", "# \xff\n", "1:3: "},
		{"umlauts before the place", "# ü\n[keyset]\n\"ü\" = 1", "3:1: keyset.ü: unknown key"},
		{"10 MB", strings.Repeat("# comment\n", 1<<20), "1:1: is larger than 4194304 bytes"},
		{"10000 sources", many.String(), ""},
		{"200000 keys", keys.String(), "1:1: k0: unknown key"},
		{"deep array", "a = " + strings.Repeat("[", 100000), "1:"},
		{"deep table", "a = " + strings.Repeat("{a=", 100000), "1:"},
		{"long dotted key", strings.Repeat("a.", 100000) + "a = 1", "1:1: a: unknown key"},
		{"long key", strings.Repeat("a", 1000000) + " = 1", "1:1: aaaa"},
		{"long string", "[[source]]\nmode = \"" + strings.Repeat("a", 1000000) + "\"", "2:8: source.mode: \"aaaaa"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := cpuTime(t)
			_, _, err := Parse("t.toml", []byte(c.text))
			// The row says 2 s; the race detector takes its share. A machine that is busy elsewhere does not count.
			if d := cpuTime(t) - start; d > 8*time.Second {
				t.Errorf("took %v", d)
			}
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "t.toml:"+c.want)):
				t.Errorf("error %.200v, want t.toml:%s…", err, c.want)
			}
			if ps, ok := errors.AsType[Problems](err); ok {
				for _, p := range ps {
					if len(p.String()) > 1000 {
						t.Errorf("a message of %d bytes", len(p.String()))
					}
				}
			}
		})
	}
}

// TestTheParserAgrees: what our tree accepts and refuses as TOML is what go-toml's own decoder does.
func TestTheParserAgrees(t *testing.T) {
	for _, text := range []string{
		"a = 1\na = 2", "[a]\n[a]", "[a.b]\n[a]", "[a]\nb.c = 1\n[a.b]", "a.b = 1\n[a]", "a = {}\n[a.b]", "a = {}\na.b = 1",
		"[[a]]\n[[a]]\n[a.b]\n[[a]]\n[a.b]", "[a]\n[[a]]", "[[a]]\n[a]", "a = []\n[[a]]", "[a.b]\nc = 1\n[a]\nb.d = 1",
		"[a]\nb.c = 1\nb.d = 2", "a = { b.c = 1, b.d = 2 }", "a = { b = 1, b = 2 }", "a = { b = {}, b.c = 1 }", "[a]\nb = 1\n[a.b]",
		"a.b.c = 1\na.b = 2", "a = [{ b = 1, b = 2 }]", "[a.b.c]\n[a.b]\n[a]", "[[a.b]]\n[a]\n[a.b.c]", "[[a]]\nb = 1\n[a.b]",
		"a.b = 1\n[a.c]", "[x]\na.b = 1\n[x.a.c]", "[[a]]\nb.c = 1\n[a.b.d]", "a = 1\n[[a]]", "[a]\nb = { c = 1 }\nb.d = 1", "[a]\n[a.b]\n[[a.b]]",
	} {
		var v map[string]any
		theirs := toml.Unmarshal([]byte(text), &v)
		_, ours := parse([]byte(text))
		if (theirs == nil) != (ours == nil) {
			t.Errorf("%q: theirs %v, ours %v", text, theirs, ours)
		}
	}
}

// TestGuard_NoTextUnmarshalerOnScalars: go-toml 2.4.3 never calls UnmarshalText of a named scalar type; a
// struct of this package that is decoded one day would accept anything there (docs/rules/configuration.md#strict-toml).
func TestGuard_NoTextUnmarshalerOnScalars(t *testing.T) {
	unmarshaler := reflect.TypeFor[encoding.TextUnmarshaler]()
	seen := map[reflect.Type]bool{
		reflect.TypeFor[zerolog.Level](): true, // its only reader is logging.ParseLevel, see TestWords
	}
	var walk func(reflect.Type, string)
	walk = func(typ reflect.Type, path string) {
		if seen[typ] {
			return
		}
		seen[typ] = true
		switch k := typ.Kind(); k {
		case reflect.Struct:
			for i := range typ.NumField() {
				walk(typ.Field(i).Type, path+"."+typ.Field(i).Name)
			}
		case reflect.Slice, reflect.Array, reflect.Pointer, reflect.Map:
			walk(typ.Elem(), path)
		default:
			if reflect.PointerTo(typ).Implements(unmarshaler) {
				t.Errorf("%s: %v is a scalar with UnmarshalText", path, typ)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "Config")
	walk(reflect.TypeFor[Pool](), "Pool")
	if len(seen) < 20 {
		t.Errorf("only %d types seen", len(seen))
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "abc", 0}, {"adress", "address", 1}, {"lisetn", "listen", 1}, {"kitten", "sitting", 3}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
		if got := editDistance(c.b, c.a); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

// TestWords: every word of the owners of levels, formats and modes is a word of the configuration and means the same.
func TestWords(t *testing.T) {
	for _, w := range logging.Levels() {
		o := parseOK(t, "[observability]\nlog-level = "+strconv.Quote(w)).Observability
		if o.LogLevel.String() != w || !o.LogLevelSet {
			t.Errorf("%s: %v", w, o.LogLevel)
		}
	}
	for _, w := range logging.Formats() {
		if o := parseOK(t, "[observability]\nlog-format = "+strconv.Quote(w)).Observability; string(o.LogFormat) != w {
			t.Errorf("%s: %v", w, o.LogFormat)
		}
	}
	for _, w := range []string{"Error", "fatal", "panic", "disabled", "1", "verbose"} {
		for _, key := range []string{"log-level", "log-format"} {
			if _, _, err := Parse("test", []byte("[observability]\n"+key+" = "+strconv.Quote(w))); err == nil {
				t.Errorf("%s = %s accepted", key, w)
			}
		}
	}
	for _, m := range source.Modes() {
		if modes[m] != m.String() {
			t.Errorf("%v is read as %s", m, modes[m])
		}
	}
	if ClockSystem.String() != "system" || ClockVirtual.String() != "virtual" {
		t.Error("a clock has the wrong word")
	}
}

// TestP07_ProxyProtocol: the table switches the protocol on, blocks are kept as the addresses of peers will be, and
// trusting everybody is worth a warning.
func TestP07_ProxyProtocol(t *testing.T) {
	const rest = `[nts-pool-ke-server]
listen = "[::]:4460"
certificate-chain-path = "c"
private-key-path = "k"
key-exchange-servers = [{ domain = "localhost", port = 8080 }]
`
	for _, row := range []struct {
		line     string
		want     []netip.Prefix
		warnings int
	}{
		{"", nil, 0},
		{`proxy-protocol = { trusted-peers = ["192.0.2.9/28", "::ffff:198.51.100.0/120", "2001:db8::1/128"] }`, []netip.Prefix{
			netip.MustParsePrefix("192.0.2.0/28"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::1/128")}, 0},
		{`proxy-protocol = { trusted-peers = ["::/0"] }`, []netip.Prefix{netip.MustParsePrefix("::/0")}, 1},
	} {
		p, warnings, err := ParsePool("pool.toml", []byte(rest+row.line))
		if err != nil || !slices.Equal(p.ProxyPeers, row.want) || len(warnings) != row.warnings {
			t.Errorf("%s: %v, %v, %v", row.line, p, warnings, err)
		}
	}
}

func TestLongLivedConnections(t *testing.T) {
	const rest = "[[server]]\nlisten = \"[::]:123\"\n[[nts-ke-server]]\nlisten = \"[::]:4460\"\n" +
		"certificate-chain-path = \"c\"\nprivate-key-path = \"k\"\n"
	for lines, want := range map[string]int{
		"":                             51,
		"concurrent-connections = 5":   1,
		"longlived-connections = 0":    0, // none
		"longlived-connections = 1":    1,
		"concurrent-connections = 100": 10,
	} {
		if c := parseOK(t, rest+lines); c.KEServers[0].LongLived != want {
			t.Errorf("%s: %d, want %d", lines, c.KEServers[0].LongLived, want)
		}
	}
}

// TestHandshakeLimits: what key exchange may take of the machine, and what is refused.
func TestHandshakeLimits(t *testing.T) {
	const rest = "[[server]]\nlisten = \"[::]:123\"\n[[nts-ke-server]]\nlisten = \"[::]:4460\"\n" +
		"certificate-chain-path = \"c\"\nprivate-key-path = \"k\"\n"
	for lines, want := range map[string][2]int{
		"":                               {60, 10},
		"handshake-cpu-percent = 1":      {1, 10},
		"handshake-cpu-percent = 6400":   {6400, 10},
		"handshake-niceness = 0":         {60, 0},
		"handshake-niceness = 19":        {60, 19},
		"handshake-cpu-percent = 0":      {},
		"handshake-cpu-percent = 6401":   {},
		"handshake-cpu-percent = 60.5":   {},
		"handshake-niceness = -1":        {},
		"handshake-niceness = 20":        {},
		"handshake-cpu-percent = \"60\"": {},
	} {
		c, _, err := Parse("ntp.toml", []byte(rest+lines))
		if (err == nil) != (want != [2]int{}) {
			t.Errorf("%s: %v", lines, err)
		} else if err == nil && (c.KEServers[0].HandshakeCPU != want[0] || c.KEServers[0].Niceness != want[1]) {
			t.Errorf("%s: %+v", lines, c.KEServers[0])
		}
	}
}

// cpuTime is the processor time that this process has used.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
