package poolke

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/program"
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
