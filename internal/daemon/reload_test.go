package daemon

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	cfg.Observability.LogPath = filepath.Join(filepath.Dir(path), "log")
	before := zerolog.GlobalLevel()
	log, file, err := openLog(cfg.Observability, cfg.Observability.LogLevel)
	if err != nil {
		t.Fatal(err)
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

// A reload may make the log more talkative than it was at the start; a level from the command line stays.
func TestReload_LogLevel(t *testing.T) {
	for _, fixed := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "ntp.toml")
		const rest = "[synchronization]\nclock = \"virtual\"\n"
		d := reloadable(t, path, "[observability]\nlog-level = \"info\"\n"+rest)
		d.levelFixed = fixed
		d.log.Debug().Msg("before")
		put(t, path, []byte("[observability]\nlog-level = \"trace\"\n"+rest))
		d.reload()
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
	d.reload()
	if d.ke[0].cert.Load() != first || d.servers[0].access.Load().Check(denied) != server.Allow {
		t.Error("half of a refused reload is in use")
	}
	if !logged(t, path, "reload refused") || logged(t, path, "reloaded:") {
		t.Error("log")
	}

	pair("two")
	d.reload()
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
		d.reload()
		d.log.Info().Msg("after")
		if logged(t, path, "before") || !logged(t, path, "reload") || !logged(t, path, "after") {
			t.Errorf("%s: the new file is wrong", next)
		}
	}
}
