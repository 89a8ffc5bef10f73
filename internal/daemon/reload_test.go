package daemon

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/suite"
	"ntp-daemon/internal/testca"
)

func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// reloadable builds a daemon from a file; its log is in the file log beside it.
func reloadable(t *testing.T, path, text string) *Daemon {
	t.Helper()
	put(t, path, []byte(text))
	cfg, _, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	observability := cfg.Observability // the file says nothing of this log
	observability.LogPath = filepath.Join(filepath.Dir(path), "log")
	before := zerolog.GlobalLevel()
	log, file, part := openLog(observability, cfg.Observability.LogLevel)
	if part != nil {
		t.Fatal(part.Down())
	}
	t.Cleanup(func() { _ = file.Close(); zerolog.SetGlobalLevel(before) })
	d, err := New(cfg, Deps{Log: log, Rand: rand.Reader, OpenClock: openClock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	d.logFile = file
	return d
}

func logged(t *testing.T, path, text string) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(filepath.Dir(path), "log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(b), text)
}

// reload is a reload of a daemon without sources.
func reload(t *testing.T, d *Daemon) { newReloader(d, &sources{d: d}).reload(t.Context()) }

// A reload may make the log more talkative than it was at the start; a level from the command line stays.
func TestReload_LogLevel(t *testing.T) {
	for _, fixed := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "ntp.toml")
		const rest = "[synchronization]\nclock = \"virtual\"\n"
		d := reloadable(t, path, "[observability]\nlog-level = \"info\"\n"+rest)
		d.levelFixed = fixed
		d.log.Debug().Msg("before")
		put(t, path, []byte("[observability]\nlog-level = \"trace\"\n"+rest))
		reload(t, d)
		d.log.Trace().Msg("after")
		if logged(t, path, "before") || logged(t, path, "after") == fixed {
			t.Errorf("fixed %v: before %v, after %v", fixed, logged(t, path, "before"), logged(t, path, "after"))
		}
	}
}

// What the configuration calls 0 is none; ke has its default there.
func TestLongLived(t *testing.T) {
	for n, want := range map[int]int{0: -1, 1: 1, 51: 51} {
		if got := longLived(n); got != want {
			t.Errorf("%d became %d, want %d", n, got, want)
		}
	}
}

// Row KS19: a reload is a whole. One certificate that cannot be used keeps everything as it was.
func TestKS19_ReloadIsAWhole(t *testing.T) {
	dir, ca := t.TempDir(), testca.New(t)
	pair := func(name string) {
		chain, key := testca.Files(t, ca.Leaf(name))
		put(t, filepath.Join(dir, name+".pem"), chain)
		put(t, filepath.Join(dir, name+".key"), key)
	}
	pair("one")
	pair("two")
	path := filepath.Join(dir, "ntp.toml")
	ports := [3]int{suite.FreePort(t), suite.FreePort(t), suite.FreePort(t)}
	text := func(deny string) string {
		s := fmt.Sprintf("[[server]]\nlisten = \"127.0.0.1:%d\"\n[server.denylist]\nfilter = [%q]\naction = \"deny\"\n", ports[0], deny)
		for i, name := range []string{"one", "two"} {
			s += fmt.Sprintf("[[nts-ke-server]]\nlisten = \"127.0.0.1:%d\"\ncertificate-chain-path = %q\nprivate-key-path = %q\n",
				ports[i+1], filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"))
		}
		return s
	}
	d := reloadable(t, path, text("192.0.2.1/32"))
	first := d.ke[0].cert.Load()
	denied := netip.MustParseAddr("192.0.2.2")

	pair("one") // renewed
	put(t, filepath.Join(dir, "two.key"), []byte("no key"))
	put(t, path, []byte(text("192.0.2.2/32")))
	reload(t, d)
	if d.ke[0].cert.Load() != first || d.servers[0].access.Load().Check(denied) != server.Allow {
		t.Error("half of a refused reload is in use")
	}
	if !logged(t, path, "reload refused") || logged(t, path, "reloaded:") {
		t.Error("log")
	}

	pair("two")
	reload(t, d)
	if d.ke[0].cert.Load() == first || d.servers[0].access.Load().Check(denied) == server.Allow {
		t.Error("a good reload is not in use")
	}
}

// A reload opens the log file anew, also if the configuration is refused: it is how logs are rotated.
func TestReload_ReopensTheLog(t *testing.T) {
	for _, next := range []string{"[synchronization]\nclock = \"virtual\"\n", "no TOML"} {
		path := filepath.Join(t.TempDir(), "ntp.toml")
		d := reloadable(t, path, "[synchronization]\nclock = \"virtual\"\n")
		d.log.Info().Msg("before")
		name := filepath.Join(filepath.Dir(path), "log")
		if err := os.Rename(name, name+".1"); err != nil {
			t.Fatal(err)
		}
		put(t, path, []byte(next))
		reload(t, d)
		d.log.Info().Msg("after")
		if logged(t, path, "before") || !logged(t, path, "reload") || !logged(t, path, "after") {
			t.Errorf("%s: the new file is wrong", next)
		}
	}
}

// sourceTables are [[source]] tables for these addresses of one answering server.
func sourceTables(at ...string) (text string) {
	for _, a := range at {
		text += fmt.Sprintf("[[source]]\nmode = \"server\"\naddress = %q\n", a)
	}
	return text
}

// TestReload_Sources: at a reload a source that stays keeps what it knows, one that is new starts, one that is gone ends, and
// the log says which; without any the daemon goes on.
func TestReload_Sources(t *testing.T) {
	port := suite.FreePort(t)
	at := func(host string) string { return fmt.Sprintf("%s:%d", host, port) }
	run(t, fmt.Sprintf("[[server]]\nlisten = \"0.0.0.0:%d\"\n[synchronization]\nclock = \"virtual\"\nlocal-stratum = 2\n", port))
	const rest = "[synchronization]\nclock = \"virtual\"\nminimum-agreeing-sources = 1\n"
	hup := make(chan os.Signal)
	d, log, stop := runReloaded(t, sourceTables(at("127.0.0.1"), at("127.0.0.2"))+rest, hup)
	ids := func() map[string]uint64 {
		m := map[string]uint64{}
		for _, s := range (&observer{d}).snapshot().Sources {
			if s.Measured {
				m[s.Address] = s.ID
			}
		}
		return m
	}
	eventually(t, "both sources measured", func() bool { return len(ids()) == 2 })
	first := ids()
	hang := func(tables string) {
		put(t, d.cfg.Path, []byte(tables+rest))
		hup <- os.Interrupt
	}

	hang(sourceTables(at("127.0.0.3"), at("127.0.0.1")))
	eventually(t, "the new source measured and the old one gone", func() bool {
		m := ids()
		return len(m) == 2 && m[at("127.0.0.3")] != 0 && m[at("127.0.0.1")] != 0
	})
	if now := ids(); now[at("127.0.0.1")] != first[at("127.0.0.1")] || now[at("127.0.0.3")] <= first[at("127.0.0.2")] {
		t.Errorf("%v, before the reload %v", now, first)
	}
	for _, want := range []string{"sources added: " + at("127.0.0.3"), "sources removed: " + at("127.0.0.2")} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in %s", want, log.String())
		}
	}

	hang(sourceTables(at("127.0.0.3"), at("127.0.0.1")))
	eventually(t, "a reload without change", func() bool { return strings.Contains(log.String(), "reloaded: nothing has changed") })
	if len(ids()) != 2 || strings.Contains(log.String(), "restart") {
		t.Errorf("%v: %s", ids(), log.String())
	}

	hang("")
	eventually(t, "no sources", func() bool { return len((&observer{d}).snapshot().Sources) == 0 })
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestReload_SaysWhatNeedsARestart: every table is either taken over or named.
func TestReload_SaysWhatNeedsARestart(t *testing.T) {
	dir, ports := t.TempDir(), [2]int{suite.FreePort(t), suite.FreePort(t)}
	certificate(t, testca.New(t), dir, time.Now().Add(100*24*time.Hour))
	base := keyExchange(dir, ports[0], ports[1])
	path := filepath.Join(dir, "ntp.toml")
	d := reloadable(t, path, base)
	for _, tt := range []struct{ story, text, changed, restart string }{
		{"nothing", base, "nothing has changed", ""},
		{"keyset", base + "[keyset]\nstale-key-count = 3\n", "nothing has changed", "[keyset]"},
		{"synchronization", strings.Replace(base, "local-stratum = 3", "local-stratum = 4", 1), "nothing has changed", "[synchronization]"},
		{"a listen address", strings.Replace(base, fmt.Sprint(ports[0]), fmt.Sprint(suite.FreePort(t)), 1), "nothing has changed", "[[server]]"},
		{"access lists", base + "[[server]]\nlisten = \"127.0.0.1:1\"\n", "nothing has changed", "[[server]]"},
		{"tokens", strings.Replace(base, "ntp-port", "accepted-pool-authentication-tokens = [\"0123456789abcdef\"]\nntp-port", 1), "pools of nts-ke-server", ""},
		{"access list", strings.Replace(base, "[[nts-ke", "[server.denylist]\nfilter = [\"192.0.2.1/32\"]\naction = \"deny\"\n[[nts-ke", 1), "access lists of server", ""},
		{"level", base + "[observability]\nlog-level = \"warn\"\n", "", ""},
	} {
		_ = os.Truncate(filepath.Join(dir, "log"), 0)
		put(t, path, []byte(tt.text))
		reload(t, d)
		if tt.changed != "" && !logged(t, path, tt.changed) {
			b, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Errorf("%s: not named as taken over: %s", tt.story, b)
		}
		if logged(t, path, "before a restart") != (tt.restart != "") || !logged(t, path, tt.restart) {
			t.Errorf("%s: restart is wanted, or not named", tt.story)
		}
	}
}

// TestReload_PoolStaysKnown: a pool's certificate that cannot be read any more is a reason to refuse a reload, not to
// forget the pool.
func TestReload_PoolStaysKnown(t *testing.T) {
	dir := t.TempDir()
	ca := testca.New(t)
	chain, key := testca.Files(t, ca.Leaf("localhost"))
	poolCert, _ := testca.Files(t, ca.Leaf("pool.example"))
	first, _, _ := strings.Cut(string(poolCert), "-----END CERTIFICATE-----\n")
	leaf := []byte(first + "-----END CERTIFICATE-----\n")
	put(t, filepath.Join(dir, "c.pem"), chain)
	put(t, filepath.Join(dir, "k.pem"), key)
	put(t, filepath.Join(dir, "pool.pem"), leaf)
	path := filepath.Join(dir, "ntp.toml")
	d := reloadable(t, path, fmt.Sprintf("[[nts-ke-server]]\nlisten = \"127.0.0.1:%d\"\ncertificate-chain-path = \"%s/c.pem\"\nprivate-key-path = \"%s/k.pem\"\n"+
		"authorized-pool-server-certificates = [\"%s/pool.pem\"]\n", suite.FreePort(t), dir, dir, dir))
	known := func() int { return len(*d.ke[0].leaves.Load()) }
	if known() != 1 {
		t.Fatalf("%d pools are known at the start", known())
	}
	put(t, filepath.Join(dir, "pool.pem"), leaf[:len(leaf)/2])
	reload(t, d)
	if known() != 1 || !logged(t, path, "reload refused, everything stays as it was") || !logged(t, path, "has no END line") {
		t.Errorf("%d pools are known after a file was damaged", known())
	}
}
