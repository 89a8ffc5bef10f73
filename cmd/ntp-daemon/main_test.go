package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
		{"a pipe for the file", []string{"-c", suite.Pipe(t)}, 78, "is a pipe, not a regular file; name a configuration with -c FILE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := suite.Start(t, suite.Program(t, "ntp-daemon"), tt.args...)
			if code := p.Exit(); code != tt.code || !strings.Contains(p.Log(), tt.out) {
				t.Fatalf("exit %d, output %q; want %d and %q", code, p.Log(), tt.code, tt.out)
			}
		})
	}
}

// TestF01_F02_F05_BadConfigurations: what validation refuses does not start either: both end with 78 and the lines that the
// samples of internal/config have beside them, each with its file and place.
func TestF01_F02_F05_BadConfigurations(t *testing.T) {
	for dir, program := range map[string]string{"bad": "ntp-daemon", "bad-pool": "nts-pool-ke"} {
		samples, err := filepath.Glob("../../internal/config/testdata/" + dir + "/F0[125]*.toml")
		if err != nil || len(samples) < 2 {
			t.Fatalf("%v, %v", samples, err)
		}
		for _, path := range samples {
			id, _, _ := strings.Cut(filepath.Base(path), "-")
			t.Run(id+" "+filepath.Base(path), func(t *testing.T) {
				want, err := os.ReadFile(strings.TrimSuffix(path, ".toml") + ".want")
				if err != nil {
					t.Fatal(err)
				}
				config, err := filepath.Abs(path)
				if err != nil {
					t.Fatal(err)
				}
				start := suite.Start(t, suite.Program(t, program), "-c", config)
				validate := suite.Start(t, suite.Program(t, "ntp-ctl"), "validate", "-c", config)
				for _, p := range []*suite.Proc{start, validate} {
					if code := p.Exit(); code != 78 {
						t.Errorf("%s: exit %d, want 78", p.Name, code)
					}
					for line := range strings.Lines(string(want)) {
						if _, told, _ := strings.Cut(strings.TrimSpace(line), ".toml:"); strings.HasPrefix(line, filepath.Base(path)) && !strings.Contains(p.Log(), ".toml:"+told) {
							t.Errorf("%s does not say %q:\n%s", p.Name, told, p.Log())
						}
					}
				}
			})
		}
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

// TestKS20_Certificates: a certificate or key that cannot be used costs its listener, which one line names with the file, and
// nobody else; a key that others can read is mentioned.
func TestKS20_Certificates(t *testing.T) {
	keys, dir := filepath.Join(suite.Root(), "test-keys"), t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		suite.WriteFile(t, path, text)
		return path
	}
	chain := keys + "/end.fullchain.pem"
	good, err := os.ReadFile(keys + "/end.key")
	if err != nil {
		t.Fatal(err)
	}
	private, public := file("private.key", string(good)), file("public.key", string(good))
	if err := errors.Join(os.Chmod(private, 0o600), os.Chmod(public, 0o644)); err != nil {
		t.Fatal(err)
	}
	garbage := file("garbage.pem", "no PEM")
	const block = "-----BEGIN %s-----\n%sMIIBvTBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQwwHAQI\n-----END %[1]s-----\n"
	pkcs8 := file("pkcs8.key", fmt.Sprintf(block, "ENCRYPTED PRIVATE KEY", ""))
	pkcs1 := file("pkcs1.key", fmt.Sprintf(block, "RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\n"))
	for _, tt := range []struct{ name, chain, key, want string }{
		{"missing chain", "/nonexistent/c.pem", private, "/nonexistent/c.pem"},
		{"missing key", chain, "/nonexistent/k.pem", "/nonexistent/k.pem"},
		{"unreadable key", chain, dir, dir},
		{"a pipe for the chain", suite.Pipe(t), private, "is a pipe, not a regular file"},
		{"garbage key", chain, garbage, garbage},
		{"encrypted key", chain, pkcs8, pkcs8 + ".*encrypted"},
		{"encrypted key of OpenSSL's old kind", chain, pkcs1, pkcs1 + ".*encrypted"},
		{"other's key", keys + "/testca.pem", private, "does not match"},
		{"key of mode 0644", chain, public, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			port, tcp := suite.FreePort(t), suite.FreePort(t)
			p, dir := suite.Daemon(t, fmt.Sprintf("[observability]\nlog-format = \"console\"\nobservation-path = \"{dir}/s\"\n[synchronization]\n"+
				"local-stratum = 7\n[[server]]\nlisten = \"127.0.0.1:%d\"\n[[nts-ke-server]]\nlisten = \"127.0.0.1:%d\"\n"+
				"certificate-chain-path = %q\nprivate-key-path = %q\n", port, tcp, tt.chain, tt.key))
			if tt.want == "" {
				p.WaitLog(public + " is readable by everybody; chmod 600 ")
				p.WaitLog(fmt.Sprintf("NTS key exchange listening.*:%d", tcp))
			} else {
				p.WaitLog(fmt.Sprintf("WARN.*key exchange on 127.0.0.1:%d is down, everything else runs; it is tried again.*%s", tcp, tt.want))
			}
			answered(t, port, 7)
			if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", tcp)); (err == nil) != (tt.want == "") {
				t.Errorf("connection to the key exchange: %v", err)
			} else if err == nil {
				c.Close()
			}
			down := ""
			for _, part := range p.WaitSnapshot(dir+"/s", "snapshot", started).Suite.Parts {
				if !part.Up {
					down += part.Reason
				}
			}
			cmd := exec.Command(suite.Program(t, "ntp-ctl"), "validate", "-c", dir+"/ntp.toml")
			said, _ := cmd.CombinedOutput()
			reason := regexp.MustCompile(tt.want)
			if code := cmd.ProcessState.ExitCode(); (code == 78) != (tt.want != "") || !reason.Match(said) || !reason.MatchString(down) || (down == "") != (tt.want == "") {
				t.Errorf("down: %q; validate: exit %d, %q", down, code, said)
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
