package main_test

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	none := filepath.Join(dir, "none.toml")
	suite.WriteFile(t, none, "")
	bad := filepath.Join(dir, "bad.toml")
	suite.WriteFile(t, bad, "[observability]\nmetrics-exporter-listen = \"x\"\n")
	for _, tt := range []struct {
		name string
		args []string
		code int
		out  string
	}{
		{"help", []string{"--help"}, 0, "Usage: ntp-metrics-exporter"},
		{"version", []string{"-v"}, 0, "ntp-metrics-exporter 0."},
		{"unknown option", []string{"--konfig"}, 64, "unknown option --konfig"},
		{"missing value", []string{"-c"}, 64, "needs a value"},
		{"missing file", []string{"-c", "/nonexistent/ntp.toml"}, 78, "/nonexistent/ntp.toml"},
		{"a pipe for the file", []string{"-c", suite.Pipe(t)}, 78, "is a pipe, not a regular file; name a configuration with -c FILE"},
		{"no socket configured", []string{"-c", none}, 78, "observation-path"},
		{"bad address", []string{"-c", bad}, 78, "metrics-exporter-listen"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := suite.Start(t, suite.Program(t, "ntp-metrics-exporter"), tt.args...)
			if code := p.Exit(); code != tt.code || !strings.Contains(p.Log(), tt.out) {
				t.Fatalf("exit %d, output %q; want %d and %q", code, p.Log(), tt.code, tt.out)
			}
		})
	}
}

func TestExportsARunningDaemon(t *testing.T) {
	port := suite.FreePort(t)
	p, dir := suite.Daemon(t, fmt.Sprintf("[observability]\nlog-format = \"console\"\nobservation-path = \"{dir}/s\"\n"+
		"metrics-exporter-listen = \"127.0.0.1:%d\"\n[[server]]\nlisten = \"127.0.0.1:%d\"\n[synchronization]\nlocal-stratum = 10\n", port, suite.FreePort(t)))
	p.WaitSnapshot(dir+"/s", "snapshot", func(*observe.Snapshot) bool { return true })
	config := filepath.Join(dir, "ntp.toml")
	x := suite.Start(t, suite.Program(t, "ntp-metrics-exporter"), "-c", config)
	x.WaitLog("starting ntp-metrics-exporter on 127.0.0.1:")

	get := func() (int, string) {
		c := http.Client{Timeout: 10 * time.Second}
		defer c.CloseIdleConnections()
		resp, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	code, body := get()
	for _, want := range []string{"ntp_uptime_seconds{version=", "ntp_server_received_packets_total{listen_address=\"127.0.0.1:", "\n# EOF\n"} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("%d, no %q in\n%s", code, want, body)
		}
	}

	second := suite.Start(t, suite.Program(t, "ntp-metrics-exporter"), "-c", config)
	if code := second.Exit(); code != 69 || !strings.Contains(second.Log(), "in use") {
		t.Errorf("second exporter: exit %d, %q", code, second.Log())
	}

	p.Stop()
	if code, body := get(); code != 500 || body != "" {
		t.Errorf("without the daemon: %d %q", code, body)
	}
	_ = x.Cmd.Process.Signal(syscall.SIGHUP)
	x.WaitLog("SIGHUP has nothing to do")
	_ = x.Cmd.Process.Signal(syscall.SIGTERM)
	if code := x.Exit(); code != 0 {
		t.Errorf("exit %d after SIGTERM", code)
	}
}
