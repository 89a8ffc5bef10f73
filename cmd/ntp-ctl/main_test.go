package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// ctl runs ntp-ctl in the module's folder without a terminal.
func ctl(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(suite.Program(t, "ntp-ctl"), args...)
	cmd.Dir = suite.Root()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var ee *exec.ExitError
	if err != nil && !errors.As(err, &ee) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args     []string
		code     int
		out, err string
	}{
		{nil, 0, "USAGE", ""},
		{[]string{"--help"}, 0, "force-sync", ""},
		{[]string{"-v"}, 0, "", "ntp-ctl 0."},
		{[]string{"valdiate"}, 64, "", "did you mean validate?"},
		{[]string{"status", "--socket", "/nonexistent"}, 69, "", "/nonexistent"},
		{[]string{"validate", "-c", "internal/config/testdata/bad/F01-unknown-key.toml"}, 78, "", "F01-unknown-key.toml:"},
		{[]string{"validate", "--offline", "-c", "configs/demo/client.toml"}, 0, "", "Config looks good"},
		{[]string{"-c", "configs/demo/client.toml", "--offline", "validate"}, 0, "", "Config looks good"},
		{[]string{"validate", "-c", "configs/demo/pool.toml"}, 0, "", "Config looks good"},
		{[]string{"force-sync", "-c", "configs/demo/client.toml"}, 1, "", "no terminal"},
		{[]string{"force-sync", "--yes", "-c", "configs/demo/client.toml"}, 78, "", "is virtual"},
		{[]string{"validate", "-c", suite.Pipe(t)}, 78, "", "is a pipe, not a regular file; name a configuration with -c FILE"},
		{[]string{"query"}, 64, "", "HOST[:PORT]"},
	} {
		code, out, errs := ctl(t, tt.args...)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.err) || strings.Contains(out+errs, "\x1b[") {
			t.Errorf("%v: exit %d, %q, %q; want %d, %q, %q", tt.args, code, out, errs, tt.code, tt.out, tt.err)
		}
	}
}

// A configuration may come by standard input, from a pipe too: what is there needs nobody to wait for.
func TestStandardInput(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux, where /dev/stdin is a file by its own name")
	}
	for text, want := range map[string]int{"": 0, "colour = 1\n": 78} {
		cmd := exec.Command(suite.Program(t, "ntp-ctl"), "validate", "--offline", "-c", "/dev/stdin")
		cmd.Stdin = strings.NewReader("[[source]]\nmode = \"server\"\naddress = \"localhost\"\n[synchronization]\nminimum-agreeing-sources = 1\n" + text)
		said, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("exit %d, %s", code, said)
		}
	}
}

// A client that steers a virtual clock follows a server; every command sees it.
func TestAgainstRunningDaemons(t *testing.T) {
	port := suite.FreePort(t)
	server, dir := suite.Daemon(t, fmt.Sprintf("[observability]\nlog-format = \"console\"\nobservation-path = \"{dir}/s\"\n"+
		"[[server]]\nlisten = \"127.0.0.1:%d\"\n[synchronization]\nclock-control = false\nlocal-stratum = 10\n", port))
	server.WaitSnapshot(dir+"/s", "local clock", func(s *observe.Snapshot) bool { return s.System.Stratum == 10 })
	_, dir = suite.Daemon(t, fmt.Sprintf("[observability]\nlog-format = \"console\"\nobservation-path = \"{dir}/s\"\n"+
		"[[source]]\nmode = \"server\"\naddress = \"127.0.0.1:%d\"\npoll-interval-limits = { min = 0, max = 2 }\ninitial-poll-interval = 0\n"+
		"[synchronization]\nminimum-agreeing-sources = 1\nclock = \"virtual\"\nvirtual-offset = 0.25\nvirtual-frequency = 50\n", port))
	config := filepath.Join(dir, "ntp.toml")

	code, out, errs := ctl(t, "wait-sync", "-c", config, "--timeout", "30s", "--max-offset", "5ms", "--max-frequency", "50ppm")
	if code != 0 || !strings.HasPrefix(out, "synchronised to 127.0.0.1 at stratum 11: offset ") || strings.Count(out, "\n") != 1 {
		t.Fatalf("wait-sync: exit %d, %q, %q", code, out, errs)
	}
	code, out, errs = ctl(t, "status", "-c", config)
	for _, want := range []string{"Synchronised:  yes", "True offset:", "system peer", fmt.Sprintf("127.0.0.1:%d", port)} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("status: exit %d, no %q in %q %q", code, want, out, errs)
		}
	}
	code, out, _ = ctl(t, "status", "--json", "-c", config)
	var s observe.Snapshot
	if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil || !s.Suite.Synchronized || !s.Suite.EstimateKnown {
		t.Errorf("status --json: exit %d, %v, %+v", code, err, s.Suite)
	}
	code, out, errs = ctl(t, "query", fmt.Sprintf("127.0.0.1:%d", port))
	if code != 0 || !strings.Contains(out, "Stratum:    10") {
		t.Errorf("query: exit %d, %q, %q", code, out, errs)
	}
	code, out, errs = ctl(t, "force-sync", "--dry-run", "-c", config)
	if code != 0 || !strings.Contains(out, "nothing to do") {
		t.Errorf("force-sync: exit %d, %q, %q", code, out, errs)
	}
	code, _, errs = ctl(t, "wait-sync", "-c", config, "--timeout", "2s", "--max-offset", "1ns")
	if code != 1 || !strings.Contains(errs, "above the limit of 1.00 ns") {
		t.Errorf("impossible limit: exit %d, %q", code, errs)
	}
}
