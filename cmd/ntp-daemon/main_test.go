package main_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// island is a server without sources on a free port.
func island(t *testing.T) string {
	return fmt.Sprintf("[observability]\nlog-format = \"console\"\nobservation-path = \"{dir}/s\"\n"+
		"[[server]]\nlisten = \"127.0.0.1:%d\"\n[synchronization]\nlocal-stratum = 10\n", suite.FreePort(t))
}

func started(s *observe.Snapshot) bool { return true }

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		code int
		out  string
	}{
		{"help", []string{"--help"}, 0, "Usage: ntp-daemon"},
		{"version", []string{"-v"}, 0, "ntp-daemon 0."},
		{"unknown option", []string{"--konfig"}, 64, "unknown option --konfig"},
		{"a file without -c", []string{"base.toml"}, 64, `unexpected argument "base.toml"`},
		{"bad level", []string{"-l", "loud"}, 64, `log level "loud"`},
		{"missing file", []string{"-c", "/nonexistent/ntp.toml"}, 78, "/nonexistent/ntp.toml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := suite.Start(t, suite.Program(t, "ntp-daemon"), tt.args...)
			if code := p.Exit(); code != tt.code || !strings.Contains(p.Log(), tt.out) {
				t.Fatalf("exit %d, output %q; want %d and %q", code, p.Log(), tt.code, tt.out)
			}
		})
	}
}

func TestL03_SIGTERMEndsInOrder(t *testing.T) {
	p, dir := suite.Daemon(t, island(t))
	p.WaitSnapshot(dir+"/s", "snapshot", started)
	begin := time.Now()
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	if code := p.Exit(); code != 0 || time.Since(begin) > 2*time.Second {
		t.Fatalf("exit %d after %v", code, time.Since(begin))
	}
}

func TestL04_PortInUse(t *testing.T) {
	conf := island(t)
	p, dir := suite.Daemon(t, conf)
	p.WaitSnapshot(dir+"/s", "snapshot", started)
	second, _ := suite.Daemon(t, conf)
	if code := second.Exit(); code != 69 || !strings.Contains(second.Log(), "127.0.0.1:") || !strings.Contains(second.Log(), "in use") {
		t.Fatalf("exit %d, %q", code, second.Log())
	}
}

func TestL04_SecondUserOfTheStateFolder(t *testing.T) {
	state := t.TempDir()
	conf := func() string { return island(t) + fmt.Sprintf("[state]\ndirectory = %q\n", state) }
	p, dir := suite.Daemon(t, conf())
	p.WaitSnapshot(dir+"/s", "snapshot", started)
	before, err := os.ReadFile(filepath.Join(state, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	second, dir2 := suite.Daemon(t, conf())
	second.WaitSnapshot(dir2+"/s", "snapshot", started)
	if after, err := os.ReadFile(filepath.Join(state, "keys")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the second daemon touched the first one's keys: %v", err)
	}
	if !strings.Contains(second.Log(), "another daemon uses the state directory") {
		t.Fatalf("log %q", second.Log())
	}
}

// A log pipe that nobody reads any more must not end timekeeping.
func TestL08_ClosedStandardOutput(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ntp.toml")
	suite.WriteFile(t, path, strings.ReplaceAll(island(t), "{dir}", dir))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(suite.Program(t, "ntp-daemon"), "-c", path)
	cmd.Stdout, cmd.Stderr = w, w
	r.Close()
	p := suite.StartCmd(t, cmd)
	w.Close()
	p.WaitSnapshot(dir+"/s", "snapshot", started)
	_ = p.Cmd.Process.Signal(syscall.SIGHUP) // makes it log
	time.Sleep(300 * time.Millisecond)       // the log line is written by another goroutine of another process
	if !p.Running() || suite.Snapshot(dir+"/s") == nil {
		t.Fatal("the daemon ended")
	}
}

func TestK07_NoCapability(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to drop CAP_SYS_TIME")
	}
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("needs setpriv")
	}
	drop := []string{"--bounding-set", "-sys_time", "--inh-caps", "-sys_time"}
	run := func(config string) (*suite.Proc, string) {
		dir := t.TempDir()
		path := filepath.Join(dir, "ntp.toml")
		suite.WriteFile(t, path, strings.ReplaceAll(config, "{dir}", dir))
		args := append(append([]string{}, drop...), suite.Program(t, "ntp-daemon"), "-c", path)
		return suite.Start(t, "setpriv", args...), dir
	}
	t.Run("with sources", func(t *testing.T) {
		p, _ := run("[[source]]\nmode = \"server\"\naddress = \"127.0.0.1:9\"\n[synchronization]\nminimum-agreeing-sources = 1\n")
		if code := p.Exit(); code != 77 || !strings.Contains(p.Log(), "--no-clock-control") {
			t.Fatalf("exit %d, %q", code, p.Log())
		}
	})
	t.Run("server only", func(t *testing.T) {
		p, dir := run(island(t))
		p.WaitSnapshot(dir+"/s", "snapshot", started)
	})
}

func TestKS20_Certificates(t *testing.T) {
	keys := filepath.Join(suite.Root(), "test-keys")
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	suite.WriteFile(t, garbage, "no PEM")
	encrypted := filepath.Join(t.TempDir(), "encrypted.pem")
	suite.WriteFile(t, encrypted, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
	for _, tt := range []struct{ name, chain, key, want string }{
		{"encrypted key", keys + "/end.fullchain.pem", encrypted, "the private key is encrypted"},
		{"missing chain", "/nonexistent/c.pem", keys + "/end.key", "/nonexistent/c.pem"},
		{"missing key", keys + "/end.fullchain.pem", "/nonexistent/k.pem", "/nonexistent/k.pem"},
		{"garbage key", keys + "/end.fullchain.pem", garbage, garbage},
		{"other's key", keys + "/testca.pem", keys + "/end.key", "does not match"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, dir := suite.Daemon(t, island(t)+fmt.Sprintf("[[nts-ke-server]]\nlisten = \"127.0.0.1:%d\"\ncertificate-chain-path = %q\n"+
				"private-key-path = %q\n", suite.FreePort(t), tt.chain, tt.key))
			s := p.WaitSnapshot(dir+"/s", "snapshot", started)
			down := 0
			for _, part := range s.Suite.Parts {
				if !part.Up {
					down++
					if !strings.Contains(part.Reason, tt.want) {
						t.Errorf("%+v, want %q", part, tt.want)
					}
				}
			}
			if down != 1 || !strings.Contains(p.Log(), tt.want) {
				t.Errorf("%d parts are down, log %q", down, p.Log())
			}
			cmd := exec.Command(suite.Program(t, "ntp-ctl"), "validate", "-c", dir+"/ntp.toml")
			said, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != 78 || !strings.Contains(string(said), tt.want) {
				t.Errorf("validate: exit %d, %q", code, said)
			}
		})
	}
}

// TestL12_X03_ObservationFolderMissing: one missing folder, as after a boot, is made; where more is missing, one line names
// socket and remedy, and the daemon serves without.
func TestL12_X03_ObservationFolderMissing(t *testing.T) {
	p, dir := suite.Daemon(t, strings.Replace(island(t), "{dir}/s", "{dir}/run/s", 1))
	p.WaitSnapshot(dir+"/run/s", "snapshot", started)
	port := suite.FreePort(t)
	p, _ = suite.Daemon(t, fmt.Sprintf("[observability]\nlog-format = \"console\"\nobservation-path = \"{dir}/missing/run/s\"\n"+
		"[[server]]\nlisten = \"127.0.0.1:%d\"\n[synchronization]\nlocal-stratum = 10\n", port))
	p.WaitLog(`WARN.*missing/run/s.*create the folder`)
	answered(t, port, 10)
	if n := strings.Count(p.Log(), "missing/run/s is down"); n != 1 || !p.Running() || strings.Contains(p.Log(), "goroutine ") {
		t.Fatalf("%d lines, %q", n, p.Log())
	}
}

// answered asks for the time until an answer of 48 bytes has the stratum: the timekeeper publishes its first view a moment
// after the start.
func answered(t *testing.T, port int, stratum byte) {
	t.Helper()
	c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req := make([]byte, 48)
	req[0], req[40] = 0x23, 1
	reply := make([]byte, 100)
	for end := time.Now().Add(suite.Patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		_, _ = c.Write(req) // refused until the daemon listens
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := c.Read(reply); err == nil && n == 48 && reply[0] == 0x24 && reply[1] == stratum {
			return
		}
	}
	t.Errorf("no answer at stratum %d on port %d", stratum, port)
}

// The daemon answers NTP on the port it was given, at its local stratum.
func TestServesLocalStratum(t *testing.T) {
	port := suite.FreePort(t)
	suite.Daemon(t, fmt.Sprintf("[observability]\nobservation-path = \"{dir}/s\"\n[[server]]\nlisten = \"127.0.0.1:%d\"\n"+
		"[synchronization]\nlocal-stratum = 7\n", port))
	answered(t, port, 7)
}
