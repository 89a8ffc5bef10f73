package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/secret"
)

// The vectors of the public pool: what its management gives to a time source as its token.
const (
	publicSecret = "even-more-secrets-this-time-with-no-min-length"
	publicTokenA = "c680e5f1c4f161968dd9b72f271ca5e7d17b0fe2e71e20b7ba4002b9252dd751"
	publicTokenB = "b236df899c9e0b9ccc636f69cbc055c17262371732298d97f62a050a1f574193"
)

// TestBaseSecret_Token compares the tokens made from a base secret with those of the public pool.
func TestBaseSecret_Token(t *testing.T) {
	b := &baseSecrets{list: []secret.Bytes{secret.Bytes("other"), secret.Bytes(publicSecret)}}
	for _, v := range []struct{ id, randomizer, token string }{
		{"1532f796-7a16-40bd-8d5a-4d09fc90e061", "4a4A8wEJ2ZKte6DJ3VxK6e", publicTokenA},
		{"de9b1a09-691a-431e-908a-2625e3c34a84", "rehrJnlBAKWNJyQE0V2MVv", publicTokenB},
	} {
		if got := b.token(1, v.id, v.randomizer); !got.Equal([]byte(v.token)) {
			t.Errorf("%s: another token", v.id)
		}
		if b.token(0, v.id, v.randomizer).Equal([]byte(v.token)) {
			t.Errorf("%s: the index of the secret has no effect", v.id)
		}
	}
}

// TestPublicPool_MeansTheSame: each key of the public pool's configuration and list arrives where it belongs, with the
// units and the defaults that it has there.
func TestPublicPool_MeansTheSame(t *testing.T) {
	p, warnings, err := LoadPool("testdata/good/public-nts-pool-ke.toml")
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	if p.Listen != netip.MustParseAddrPort("[::]:4460") || p.Timeout != 4*time.Second || p.ProxyPeers != nil || !p.StandAlone ||
		p.CertificateChainPath != "../../test-keys/end.fullchain.pem" || p.ClientKeyPath != "../../test-keys/end.key" ||
		p.Roots.File() != "../../test-keys/testca.pem" || !reflect.DeepEqual(p.Protocols, []record.Protocol{0}) {
		t.Errorf("%+v", p)
	}
	want := PoolLimits{
		MaxConnections: 250, AnswerTimeout: 2 * time.Second, SupportTimeout: 1500 * time.Millisecond,
		SupportTTL: 200 * time.Second, IdleTime: 100 * time.Second, MaxAge: 1000 * time.Second,
	}
	if p.Limits != want {
		t.Errorf("%+v, want %+v", p.Limits, want)
	}
	keys := []secret.Bytes{secret.Bytes("monitor-key-0123456789"), secret.Bytes("monitor-key-9876543210")}
	if !reflect.DeepEqual(p.MonitoringKeys, keys) {
		t.Error("other monitoring keys")
	}
	servers := []pool.Backend{
		{
			ID: "1532f796-7a16-40bd-8d5a-4d09fc90e061", Domain: "a.example", Port: 4460, Weight: 3, NoIPv6: true,
			Regions: []string{"NL", "EUROPE", "NORTH-AMERICA", "SOUTH_AMERICA"}, Tokens: []secret.Bytes{secret.Bytes(publicTokenA)},
		},
		{ID: "de9b1a09-691a-431e-908a-2625e3c34a84", Domain: "b.example", Port: 4461, Weight: 1, Tokens: []secret.Bytes{secret.Bytes(publicTokenB)}},
		{ID: "UUID-foo", Domain: "192.0.2.7", Port: 4460, NoIPv4: true, NoIPv6: true, Tokens: p.Servers[2].Tokens},
	}
	if !reflect.DeepEqual(p.Servers, servers) || len(p.Servers[2].Tokens) != 1 {
		t.Errorf("%+v", p.Servers)
	}
}

// TestPublicPool_Defaults: what is left out has the public pool's defaults.
func TestPublicPool_Defaults(t *testing.T) {
	p, _, err := LoadPool("testdata/good/public-least-nts-pool-ke.toml")
	if err != nil {
		t.Fatal(err)
	}
	want := PoolLimits{
		MaxConnections: 100, AnswerTimeout: 2500 * time.Millisecond, SupportTimeout: 2500 * time.Millisecond,
		SupportTTL: 300 * time.Second, IdleTime: 300 * time.Second, MaxAge: time.Hour,
	}
	if p.Limits != want || p.Timeout != 5*time.Second || p.Roots.File() != "" || p.Operation.DrainTimeout != 5*time.Second {
		t.Errorf("%+v, %v, %v", p.Limits, p.Timeout, p.Operation)
	}
	if !reflect.DeepEqual(p.ProxyPeers, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}) || len(p.MonitoringKeys) != 1 ||
		!reflect.DeepEqual(p.Protocols, []record.Protocol{0, 0x8001}) {
		t.Errorf("%v, %d keys, %v", p.ProxyPeers, len(p.MonitoringKeys), p.Protocols)
	}
}

// TestServersFile: a list of our own in TOML, with entries of both kinds, and the limits of our own table.
func TestServersFile(t *testing.T) {
	p, warnings, err := LoadPool("testdata/good/list-nts-pool-ke.toml")
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	want := PoolLimits{
		MaxConnections: 1000, HandshakeTimeout: 2 * time.Second, ConnectTimeout: 900 * time.Millisecond, AnswerTimeout: 2100 * time.Millisecond,
		SupportTimeout: 2100 * time.Millisecond, SupportTTL: 250 * time.Second, IdleTime: 2 * time.Minute, MaxAge: 30 * time.Minute,
	}
	if p.Limits != want {
		t.Errorf("%+v, want %+v", p.Limits, want)
	}
	token := func(i int) string { return string(p.Servers[i].Tokens[0]) }
	if len(p.Servers) != 3 || p.Servers[0].ID != "nts1" || len(token(0)) != 64 || token(1) != "0123456789abcdef" || token(2) != publicTokenA {
		t.Errorf("%+v", p.Servers)
	}
	files := []string{
		"../../test-keys/end.fullchain.pem", "../../test-keys/end.key", "testdata/public/monitors.json", "testdata/public/base-secret", "testdata/public/list.toml",
	}
	if !reflect.DeepEqual(p.Files(), files) {
		t.Errorf("%q", p.Files())
	}
	// The text alone says nothing of the files.
	if p, _, err = LoadPoolText("testdata/good/list-nts-pool-ke.toml"); err != nil || len(p.Servers) > 0 || len(p.Files()) != 2 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestPool_Again: the files are read anew, the configuration's own text is not.
func TestPool_Again(t *testing.T) {
	dir := t.TempDir()
	list, conf, token := filepath.Join(dir, "list.json"), filepath.Join(dir, "pool.toml"), filepath.Join(dir, "token")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(list, `[{"domain": "a.example", "port": 1}]`)
	write(conf, "[nts-pool-ke-server]\nlisten = \"127.0.0.1:1\"\ncertificate-chain-path = \"c\"\nprivate-key-path = \"k\"\nkey-exchange-servers-file = \""+list+"\"\n")
	p, _, err := LoadPool(conf)
	if err != nil {
		t.Fatal(err)
	}
	write(list, `[{"domain": "b.example", "port": 1}]`)
	write(conf, "nonsense")
	for range 2 {
		if p, _, err = p.Again(); err != nil || len(p.Servers) != 1 || p.Servers[0].Domain != "b.example" {
			t.Fatal(p, err)
		}
	}
	tokened := fmt.Sprintf(`[{"domain": "b.example", "port": 1, "token-file": %q}]`, token)
	write(list, tokened)
	for _, text := range []string{"the first of the tokens", "the second of the tokens"} {
		write(token, text+"\n")
		if p, _, err = p.Again(); err != nil || string(p.Servers[0].Tokens[0]) != text || !slices.Contains(p.Files(), token) {
			t.Fatal(p, err)
		}
	}
	write(list, `[{"domain": "b.example", "po`)
	if p, _, err := p.Again(); err == nil || p != nil || !strings.Contains(err.Error(), list+":1:29: ends in the middle") {
		t.Error(p, err)
	}
}

// TestIsPool: the files of ntp-daemon and of the two formats of nts-pool-ke are told apart.
func TestIsPool(t *testing.T) {
	for text, want := range map[string]bool{
		"[nts-pool-ke-server]\n": true,
		"[backend]\n":            true,
		"[server]\nlisten = \"[::]:4460\"\ncertificate-chain = \"c\"\n": true,
		"[server]\nlisten = \"[::]:123\"\n":                             false,
		"[[server]]\nlisten = \"[::]:123\"\n":                           false,
		"":                                                              false,
	} {
		if _, _, err := Parse("x.toml", []byte(text)); IsPool(err) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzServerList: no list of time sources, in either format, makes the loader panic or hang, and what it accepts is a
// directory that the pool takes.
func FuzzServerList(f *testing.F) {
	for _, name := range []string{"servers.json", "list.toml", "bad-half.json", "bad-kinds.json", "bad-values.json", "none.json", "unknown-keys.json"} {
		b, err := os.ReadFile(filepath.Join("testdata/public", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`[[[[[[[[[[[[`))
	f.Add([]byte("[{\"uuid\":\"\\ud800\",\"domain\":\"\xff\",\"port\":1}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, public := range []bool{false, true} {
			l := newLoader("list", false)
			p := &Pool{StandAlone: public}
			l.list(data, p, &baseSecrets{path: "secrets", list: []secret.Bytes{secret.Bytes(publicSecret)}})
			if ps := l.sorted(); len(ps) > 0 {
				for _, problem := range ps {
					if problem.What == "" || strings.Contains(problem.String(), publicSecret) {
						t.Errorf("%v", problem)
					}
				}
				continue
			}
			if _, err := pool.NewDirectory(p.Servers, nil); err != nil {
				t.Error(err)
			}
			for i := range p.Servers {
				if public && len(p.Servers[i].Tokens) == 0 {
					t.Error("a time source without a token")
				}
			}
		}
	})
}
