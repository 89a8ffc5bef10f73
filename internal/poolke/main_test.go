package poolke

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/suite"
	"ntp-daemon/internal/testca"
)

// files writes a certificate and a configuration; edit may change its text.
func files(t *testing.T, edit func(string) string) (config string) {
	t.Helper()
	dir := t.TempDir()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close() // a port that is free, most likely for a while
	ca := testca.New(t)
	chain, key := testca.Files(t, ca.Leaf("localhost"))
	for name, b := range map[string][]byte{"ca.pem": ca.PEM(), "end.fullchain.pem": chain, "end.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.NewReplacer("DIR", dir, "LISTEN", ln.Addr().String()).Replace(`
[nts-pool-ke-server]
listen = "LISTEN"
certificate-authority-path = "DIR/ca.pem"
certificate-chain-path = "DIR/end.fullchain.pem"
private-key-path = "DIR/end.key"
key-exchange-timeout-ms = 1000
key-exchange-servers = [
    { domain = "localhost", port = 8081 },
    { domain = "localhost", port = 8080 },
]
`)
	if edit != nil {
		text = edit(text)
	}
	config = filepath.Join(dir, "pool.toml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

func TestMain_ExitCodes(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		story string
		opts  func(t *testing.T) Options
		code  int
		text  string
	}{
		{"no configuration", func(*testing.T) Options { return Options{} }, program.ExitConfig, "no configuration path specified"},
		{"bad log level", func(t *testing.T) Options { return Options{ConfigPath: files(t, nil), LogLevel: "loud"} }, program.ExitUsage, "loud"},
		{"missing file", func(t *testing.T) Options { return Options{ConfigPath: "/nonexistent/pool.toml"} }, program.ExitConfig, "/nonexistent/pool.toml"},
		{"a pipe for the file", func(t *testing.T) Options { return Options{ConfigPath: suite.Pipe(t)} }, program.ExitConfig, "is a pipe, not a regular file"},
		{"unknown key", func(t *testing.T) Options {
			return Options{ConfigPath: files(t, func(s string) string { return s + "colour = 1\n" })}
		}, program.ExitConfig, "colour"},
		{"no certificate", func(t *testing.T) Options {
			return Options{ConfigPath: files(t, func(s string) string { return strings.Replace(s, "end.fullchain", "gone", 1) })}
		}, program.ExitConfig, "gone.pem"},
		{"key and chain swapped", func(t *testing.T) Options {
			return Options{ConfigPath: files(t, func(s string) string { return strings.Replace(s, "end.key", "end.fullchain.pem", 1) })}
		}, program.ExitConfig, "end.fullchain.pem"},
		{"bad name in the list", func(t *testing.T) Options {
			return Options{ConfigPath: files(t, func(s string) string {
				return strings.Replace(s, `"localhost", port = 8081`, `"127.1", port = 8081`, 1)
			})}
		}, program.ExitConfig, "127.1"},
		{"address taken", func(t *testing.T) Options {
			return Options{ConfigPath: files(t, func(s string) string {
				return regexp.MustCompile(`127.0.0.1:\d+`).ReplaceAllString(s, taken.Addr().String())
			})}
		}, program.ExitSoftware, "Abnormal termination of NTS KE server"},
		{"address taken: what helps", func(t *testing.T) Options {
			return Options{ConfigPath: files(t, func(s string) string {
				return regexp.MustCompile(`127.0.0.1:\d+`).ReplaceAllString(s, taken.Addr().String())
			})}
		}, program.ExitSoftware, "address already in use; end who has it (ss -tulpn shows that), or change listen"},
		{"address that nobody has", func(t *testing.T) Options {
			return Options{ConfigPath: files(t, func(s string) string { return strings.Replace(s, "127.0.0.1:", "192.0.2.77:", 1) })}
		}, program.ExitSoftware, "; write an address that this machine has in listen, or [::] for all"},
		{"no folder of the log", func(t *testing.T) Options {
			return Options{ConfigPath: files(t, func(s string) string { return s + "[observability]\nlog-path = \"/nonexistent/pool.log\"\n" })}
		}, program.ExitConfig, "log-path: open /nonexistent/pool.log: no such file or directory; make the folder"},
	} {
		t.Run(tt.story, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			var out bytes.Buffer
			err := Main(ctx, tt.opts(t), nil, &out)
			if code := program.ExitCode(err, ExitCode); code != tt.code || err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("exit code %d, %v; want %d with %q", code, err, tt.code, tt.text)
			}
		})
	}
}

// TestAtStart: roots that cannot be read are said before the first user fails by them, and of a key that this user may not read
// the pool does not say that it was not checked: it ends for it, with what helps.
func TestAtStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	conf := files(t, func(s string) string { return strings.Replace(s, "ca.pem", "absent.pem", 1) })
	var out bytes.Buffer
	if err := Main(ctx, Options{ConfigPath: conf}, nil, &out); err != nil || strings.Count(out.String(), "absent.pem: no such file") != 1 {
		t.Errorf("%v: %s", err, out.String())
	}
	unread := config.Warning{Problem: config.Problem{Key: "private-key-path", What: "k is not readable by this user, it was not checked"}, Check: config.CheckCertificate, Info: true}
	if list := atStart([]config.Warning{unread}); len(list) != 0 {
		t.Errorf("said %v", list)
	}
	err := unusable([]config.Warning{unread})
	if got := fmt.Sprint(err); !strings.Contains(got, "k is not readable by this user; make it readable") || strings.Contains(got, "not checked") {
		t.Errorf("%s", got)
	}
}

// TestNeedRestart: looks that wait for the first user go on waiting when connect-at-start is switched on; nothing waits when it is switched off.
func TestNeedRestart(t *testing.T) {
	var was, next config.Pool
	if list := needRestart(&was, &next); len(list) != 0 {
		t.Errorf("nothing changed, and %q", list)
	}
	next.Upstream.ConnectAtStart = true
	if list := needRestart(&was, &next); !slices.Equal(list, []string{"connect-at-start"}) {
		t.Errorf("%q", list)
	}
	if list := needRestart(&next, &was); len(list) != 0 {
		t.Errorf("%q", list)
	}
	next = config.Pool{}
	for _, edit := range []func(*config.Source){
		func(s *config.Source) { s.Host = "b.example" }, func(s *config.Source) { s.Version = 3 }, func(s *config.Source) { s.PollMax = 4 },
		func(s *config.Source) { s.Algorithms = []aead.Algorithm{30} },
	} {
		was.Monitor.Sources, next.Monitor.Sources = make([]config.Source, 1), make([]config.Source, 1)
		edit(&next.Monitor.Sources[0])
		if list := needRestart(&was, &next); !slices.Equal(list, []string{"[monitor], [[source]]"}) {
			t.Errorf("%+v: %q", next.Monitor.Sources, list)
		}
	}
}

// Everything that keeps a pool from starting is named at once, before anything is opened; --check tells the same, and more.
func TestMain_NamesEveryFault(t *testing.T) {
	conf := files(t, func(s string) string {
		s = strings.Replace(s, "end.key", "other.key", 1)
		return strings.Replace(s, "key-exchange-timeout-ms", "client-certificate-chain-path = \"/nonexistent/chain.pem\"\nclient-private-key-path = \"/nonexistent/key.pem\"\nkey-exchange-timeout-ms", 1)
	})
	_, other := testca.Files(t, testca.New(t).Leaf("localhost"))
	if err := os.WriteFile(filepath.Join(filepath.Dir(conf), "other.key"), other, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := Main(t.Context(), Options{ConfigPath: conf}, nil, &out)
	if program.ExitCode(err, ExitCode) != program.ExitConfig {
		t.Fatalf("%v", err)
	}
	var checked bytes.Buffer
	checkErr := check(conf, &checked)
	if program.ExitCode(checkErr, ExitCode) != program.ExitConfig || !strings.Contains(checkErr.Error(), "faults: 3") {
		t.Errorf("--check: %v", checkErr)
	}
	for _, want := range []string{
		"pool.toml:6:20: nts-pool-ke-server.private-key-path: ", "other.key", "/nonexistent/chain.pem: no such file or directory", "/nonexistent/key.pem: no such file or directory",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the start does not name %q:\n%v", want, err)
		}
		if !strings.Contains(checked.String(), want) {
			t.Errorf("--check does not name %q:\n%s", want, &checked)
		}
	}
}

// TestCheck: faults of the text do not hide those of the files, warnings are told and no fault, and nothing is started.
func TestCheck(t *testing.T) {
	for _, row := range []struct {
		story string
		edit  func(string) string
		code  int
		says  []string
	}{
		{"good", nil, 0, []string{"Config looks good"}},
		{"a short token is a warning", func(s string) string { return strings.Replace(s, "port = 8081", `port = 8081, tokens = ["geheim"]`, 1) }, 0,
			[]string{"warning: ", "can be guessed", "Config looks good"}},
		{"text and files", func(s string) string {
			return strings.NewReplacer("port = 8081", "port = 0", "end.fullchain", "gone", "ca.pem", "gone-ca.pem").Replace(s)
		}, program.ExitConfig, []string{"port: 0 is out of range", "gone.pem: no such file or directory", "gone-ca.pem: no such file or directory"}},
		{"a list of its own", func(s string) string {
			return regexp.MustCompile(`(?s)key-exchange-servers = \[.*\]`).ReplaceAllString(s, `key-exchange-servers-file = "/nonexistent/list.json"`)
		}, program.ExitConfig, []string{"/nonexistent/list.json: no such file or directory"}},
	} {
		var out bytes.Buffer
		err := check(files(t, row.edit), &out)
		if code := program.ExitCode(err, ExitCode); code != row.code {
			t.Errorf("%s: exit code %d, %v", row.story, code, err)
		}
		for _, want := range row.says {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is missing:\n%s", row.story, want, &out)
			}
		}
		if row.code != 0 && strings.Contains(out.String(), "looks good") || strings.Contains(out.String(), "geheim") {
			t.Errorf("%s:\n%s", row.story, &out)
		}
	}
}

// The seed's configuration runs, reloads, says what that changed and what needs a restart, and ends with exit code 0.
func TestMain_Runs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out syncBuffer
	hup := make(chan os.Signal)
	done := make(chan error)
	conf := files(t, nil)
	go func() { done <- Main(ctx, Options{ConfigPath: conf, LogLevel: "debug"}, hup, &out) }()
	said := func(words ...string) {
		t.Helper()
		for _, w := range words {
			eventually(t, func() bool { return strings.Contains(out.String(), w) })
		}
	}
	said("listening on 'Ok(127.0.0.1:")
	hup <- os.Interrupt
	said("configuration reloaded", `"changed":"nothing"`)
	if strings.Contains(out.String(), "before a restart") {
		t.Error(out.String())
	}
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	changed := "[observability]\nlog-format = \"json\"\n" + strings.Replace(string(text), "port = 8081", "port = 8091", 1)
	if err := os.WriteFile(conf, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	hup <- os.Interrupt
	said("before a restart: [observability]", `"changed":"new localhost:8091; without localhost:8081"`)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The seed's list of time sources starts, whatever its names look like.
func TestMain_NamesOfTheSeed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out syncBuffer
	conf := files(t, func(s string) string {
		return strings.Replace(s, `"localhost", port = 8081`, `"nts.server.1", port = 8081`, 1)
	})
	done := make(chan error, 1)
	go func() { done <- Main(ctx, Options{ConfigPath: conf}, nil, &out) }()
	eventually(t, func() bool { return strings.Contains(out.String(), "listening on 'Ok(127.0.0.1:") })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A reload opens the log file anew, so that it can be rotated by renaming, even if the configuration is refused.
func TestMain_ReopensItsLog(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := filepath.Join(t.TempDir(), "log")
	conf := files(t, func(s string) string { return fmt.Sprintf("[observability]\nlog-path = %q\n%s", log, s) })
	hup, done := make(chan os.Signal), make(chan error, 1)
	go func() { done <- Main(ctx, Options{ConfigPath: conf}, hup, nil) }()
	holds := func(text string) bool {
		b, _ := os.ReadFile(log)
		return strings.Contains(string(b), text)
	}
	eventually(t, func() bool { return holds("listening on") })
	for _, row := range []struct{ config, says string }{{"", "configuration reloaded"}, {"broken", "reload refused"}} {
		if err := os.Rename(log, log+".old"); err != nil {
			t.Fatal(err)
		}
		if row.config != "" {
			if err := os.WriteFile(conf, []byte(row.config), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		hup <- os.Interrupt
		eventually(t, func() bool { return holds(row.says) })
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
