// Package e2e_test runs the suite's own programs against faults that only a whole program meets: limits, signals, a
// full disk, a dead network, floods and forgeries. Every test has a network of its own and needs root; without it the
// test is skipped with that reason.
package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

func TestMain(m *testing.M) {
	suite.Helper()
	os.Exit(m.Run())
}

// testHost is a machine with a network of its own and a folder for configurations, sockets and state.
type testHost struct {
	*suite.Namespace
	t   *testing.T
	dir string
}

func newTestHost(t *testing.T) *testHost {
	t.Helper()
	n := suite.NewNamespace(t)
	return &testHost{Namespace: n, t: t, dir: tempDir(t)}
}

// tempDir is a folder with a name short enough for Unix sockets.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// file writes a configuration; "{dir}" becomes the host's folder and "{keys}" that of the test keys.
func (s *testHost) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	text = strings.ReplaceAll(text, "{dir}", s.dir)
	suite.WriteFile(s.t, path, strings.ReplaceAll(text, "{keys}", filepath.Join(suite.Root(), "test-keys")))
	return path
}

// program is ntp-daemon, except the pool.
func program(name string) string {
	if name == "pool" {
		return "nts-pool-ke"
	}
	return "ntp-daemon"
}

// start writes NAME.toml and runs the program for it on the host.
func (s *testHost) start(name, config string, args ...string) *suite.Proc {
	s.t.Helper()
	path := s.file(name+".toml", config)
	p := s.Start(suite.Program(s.t, program(name)), append([]string{"-c", path}, args...)...)
	p.Name = name
	return p
}

// limited is start under limits that prlimit sets, such as --nofile=64.
func (s *testHost) limited(limits []string, name, config string) *suite.Proc {
	s.t.Helper()
	path := s.file(name+".toml", config)
	args := append(append([]string{}, limits...), "--", suite.Program(s.t, program(name)), "-c", path)
	p := s.Start("prlimit", args...)
	p.Name = name
	return p
}

// socket is where the daemon of that name is observed.
func (s *testHost) socket(name string) string { return filepath.Join(s.dir, name+".sock") }

// up waits until the daemon answers on its observation socket and has a time to serve.
func (s *testHost) up(p *suite.Proc) *observe.Snapshot {
	s.t.Helper()
	return p.WaitSnapshot(s.socket(p.Name), "synchronised snapshot", func(o *observe.Snapshot) bool { return o.Suite.Synchronized })
}

const observing = "[observability]\nlog-format = \"console\"\nobservation-path = \"{dir}/NAME.sock\"\n"

// server is the configuration of an NTP and NTS server on the ports 123 and 8080 of all addresses, with its own clock.
func server(name string, more ...string) string {
	return strings.ReplaceAll(observing, "NAME", name) + `
[[server]]
listen = "0.0.0.0:123"
[[nts-ke-server]]
handshake-niceness = 0
listen = "0.0.0.0:8080"
certificate-chain-path = "{keys}/end.fullchain.pem"
private-key-path = "{keys}/end.key"
authorized-pool-server-certificates = ["{keys}/end.pem"]
accepted-pool-authentication-tokens = ["` + poolToken + `"]
key-exchange-timeout-ms = 2000
[synchronization]
clock-control = false
local-stratum = 2
` + strings.Join(more, "\n")
}

// poolToken is what the pool shows to the server.
const poolToken = "e2e-Token/4f1c9a+7b-secret"

// poolFront is the configuration of a pool on port 4460 in front of that server.
const poolFront = `
[observability]
log-format = "console"
[nts-pool-ke-server]
listen = "0.0.0.0:4460"
certificate-authority-path = "{keys}/testca.pem"
certificate-chain-path = "{keys}/end.fullchain.pem"
private-key-path = "{keys}/end.key"
key-exchange-servers = [{ domain = "localhost", port = 8080, tokens = ["` + poolToken + `"] }]
`

// client is the configuration of a daemon with one source that steers a clock of its own.
func client(name, mode, address string, more ...string) string {
	ca := ""
	if strings.HasPrefix(mode, "nts") {
		ca = "certificate-authority = \"{keys}/testca.pem\"\n"
	}
	if mode == "nts-pool" {
		ca += "count = 1\n"
	}
	return strings.ReplaceAll(observing, "NAME", name) + fmt.Sprintf(`
[[source]]
mode = %q
address = %q
%spoll-interval-limits = { min = 0, max = 4 }
initial-poll-interval = 0
[synchronization]
clock = "virtual"
minimum-agreeing-sources = 1
`, mode, address, ca) + strings.Join(more, "\n")
}

// usage is what a process takes from the machine.
type usage struct {
	rss          int // KiB
	threads, fds int
	cpu          time.Duration
}

func (u usage) String() string {
	return fmt.Sprintf("rss %d KiB, %d threads, %d descriptors, cpu %v", u.rss, u.threads, u.fds, u.cpu)
}

var statusLine = regexp.MustCompile(`(?m)^(VmRSS|Threads):\s+(\d+)`)

// use reads what the process takes now.
func use(t *testing.T, p *suite.Proc) (u usage) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", p.Cmd.Process.Pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range statusLine.FindAllSubmatch(status, -1) {
		n, _ := strconv.Atoi(string(m[2]))
		if string(m[1]) == "VmRSS" {
			u.rss = n
		} else {
			u.threads = n
		}
	}
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		t.Fatal(err)
	}
	u.fds = len(fds)
	stat, err := os.ReadFile(proc + "stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	const tick = 10 * time.Millisecond // USER_HZ
	u.cpu = time.Duration(user+system) * tick
	return u
}

// goroutines ends the process with the runtime's dump and counts them, those of the runtime itself left out.
func goroutines(t *testing.T, p *suite.Proc) (n int) {
	t.Helper()
	for block := range strings.SplitSeq(quit(t, p), "\n\n") {
		if strings.HasPrefix(block, "goroutine ") && !strings.HasPrefix(block, "goroutine 0 ") && !strings.Contains(block, "\ncreated by runtime.") {
			n++
		}
	}
	if n == 0 {
		t.Fatalf("%s: no goroutines in the dump", p.Name)
	}
	return n
}

// eventually polls an outside process for a condition; nothing else can be waited on.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !ok() {
		if time.Since(begin) > limit {
			t.Fatalf("no %s within %v", what, limit)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(begin)
}

// calm fails on signs of a bug in a program's log.
func calm(t *testing.T, p *suite.Proc) {
	t.Helper()
	for _, sign := range []string{"panic", "goroutine ", "DATA RACE", "fatal error", "runtime:"} {
		if strings.Contains(p.Log(), sign) {
			t.Errorf("%s: %q in the log", p.Name, sign)
		}
	}
}

// quit ends a process with SIGQUIT and returns the runtime's dump.
func quit(t *testing.T, p *suite.Proc) string {
	t.Helper()
	before := len(p.Log())
	_ = p.Cmd.Process.Signal(syscall.SIGQUIT)
	p.Exit()
	dump := p.Log()[before:]
	p.Forget(before)
	if !strings.Contains(dump, "SIGQUIT") {
		t.Fatalf("%s: no dump: %q", p.Name, dump)
	}
	return dump
}
