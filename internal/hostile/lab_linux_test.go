// Package hostile_test runs the suite's real programs on hostile networks and against hostile peers
// (docs/rules/lifecycle.md#fault-plan), and asserts by their observation sockets and logs. Everything happens in
// namespaces of its own; the clock that is steered is a virtual one.
package hostile_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/faultnet"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
	"ntp-daemon/internal/testca"
)

// atOnce is how many of these tests run together; they wait most of the time.
const atOnce = "12"

func TestMain(m *testing.M) {
	suite.Helper()
	flag.Parse()
	_ = flag.Set("test.parallel", atOnce)
	os.Exit(m.Run())
}

// near is the client's address; far(n) are the servers'.
const near = "198.18.1.1"

func far(n int) string { return fmt.Sprintf("198.18.2.%d", n) }

// near6 and far6 are the same for IPv6.
const near6 = "2001:db8:1::1"

func far6(n int) string { return fmt.Sprintf("2001:db8:2::%d", n) }

// routedNet is a client's and its servers' namespace with the router between them.
type routedNet struct {
	t         *testing.T
	near, far *suite.Namespace
	r         *faultnet.Router
	began     time.Time
}

// newRoutedNet joins two namespaces; the far one has n addresses.
func newRoutedNet(t *testing.T, n int, c faultnet.Config) *routedNet {
	t.Helper()
	t.Parallel()
	w := &routedNet{t: t, near: suite.NewNamespace(t), far: suite.NewNamespace(t), began: time.Now()}
	c.Near = []string{near, near6}
	for i := range n {
		c.Far = append(c.Far, far(i+1), far6(i+1))
	}
	w.r = faultnet.New(t, w.near, w.far, c)
	return w
}

// daemon is one running ntp-daemon.
type daemon struct {
	*suite.Proc
	t      *testing.T
	socket string
	began  time.Time
	trace  bool // log lines are not counted
}

// start runs ntp-daemon in a namespace; when the test ends it must still be in order.
func (w *routedNet) start(ns *suite.Namespace, config string) *daemon {
	w.t.Helper()
	dir := w.t.TempDir()
	d := &daemon{t: w.t, socket: filepath.Join(dir, "observe"), began: time.Now(), trace: strings.Contains(config, `"trace"`)}
	if !strings.Contains(config, "[observability]") {
		config = "[observability]\n" + config
	}
	config = strings.Replace(config, "[observability]\n", fmt.Sprintf("[observability]\nlog-format = \"console\"\nobservation-path = %q\n", d.socket), 1)
	config += fmt.Sprintf("\n[state]\ndirectory = %q\n", dir)
	path := filepath.Join(dir, "ntp.toml")
	suite.WriteFile(w.t, path, strings.ReplaceAll(config, "{dir}", dir))
	d.Proc = ns.Start(suite.Program(w.t, "ntp-daemon"), "-c", path)
	w.t.Cleanup(d.inOrder)
	return d
}

// client runs a daemon with a virtual clock near the sources. offset is seconds, poll the interval as exponent.
func (w *routedNet) client(config string) *daemon { return w.start(w.near, config) }

// virtual is the [synchronization] table of a client whose clock starts off by so many seconds and ppm.
func virtual(agree int, offset, ppm float64) string {
	return fmt.Sprintf("\n[synchronization]\nminimum-agreeing-sources = %d\nclock = \"virtual\"\nvirtual-offset = %v\nvirtual-frequency = %v\n", agree, offset, ppm)
}

// polls keeps every source at 2^exp seconds.
func polls(exp int) string {
	return fmt.Sprintf("\n[source-defaults]\npoll-interval-limits = { min = %d, max = %d }\ninitial-poll-interval = %d\n", exp, exp, exp)
}

// sources are [[source]] tables of one mode.
func sources(mode string, more string, addresses ...string) string {
	var b strings.Builder
	for _, a := range addresses {
		fmt.Fprintf(&b, "\n[[source]]\nmode = %q\naddress = %q\n%s", mode, a, more)
	}
	return b.String()
}

// honest runs one honest scripted server on each address.
func (w *routedNet) honest(addresses ...string) {
	for _, a := range addresses {
		faultnet.FakeNTP(w.t, w.far, a, faultnet.Honest)
	}
}

// ntsServer runs our own daemon as NTS server at a far address; tail is more configuration for [[nts-ke-server]].
func (w *routedNet) ntsServer(ca *testca.CA, addr, tail string) *daemon {
	chain, key := testca.Files(w.t, ca.Leaf(addr))
	dir := w.t.TempDir()
	suite.WriteFile(w.t, filepath.Join(dir, "chain.pem"), string(chain))
	suite.WriteFile(w.t, filepath.Join(dir, "key.pem"), string(key))
	d := w.start(w.far, fmt.Sprintf(`
[[server]]
listen = "%s:123"
[[nts-ke-server]]
listen = "%s:4460"
certificate-chain-path = "%s/chain.pem"
private-key-path = "%s/key.pem"
key-exchange-timeout-ms = 5000
%s
[synchronization]
local-stratum = 1
clock-control = false
`, addr, addr, dir, dir, tail))
	d.WaitLog(`key exchange listening`)
	return d
}

// trust writes the authority to a file and returns the configuration line that names it.
func (w *routedNet) trust(ca *testca.CA) string {
	path := filepath.Join(w.t.TempDir(), "ca.pem")
	suite.WriteFile(w.t, path, string(ca.PEM()))
	return fmt.Sprintf("certificate-authority = %q\n", path)
}

const (
	// quiet is how many log lines a start may take, chatter how many more each minute.
	quiet, chatter = 60, 30
	// maxFiles is what a program may have open. A daemon with forty sources needs about half of it.
	maxFiles = 128
)

// maxMemory is the peak of a program in KiB; the same daemon needs about half of it.
var maxMemory = 96 << 10

var peak = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

var scream = regexp.MustCompile(`panic:|DATA RACE|runtime error|goroutine \d+ \[|fatal error`)

// inOrder checks the universal invariants: the program lives, has not panicked, and has not filled the log.
func (d *daemon) inOrder() {
	if !d.Running() {
		d.t.Errorf("%s is no longer running", d.Name)
	}
	checkProcess(d.t, d.Proc)
	checkLog(d.t, d.Proc, d.began, d.trace)
}

// checkProcess checks that a program has not grown: peak memory and open files.
func checkProcess(t *testing.T, p *suite.Proc) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", p.Cmd.Process.Pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return // ended, which is another error
	}
	if m := peak.FindSubmatch(status); m != nil {
		if kib, _ := strconv.Atoi(string(m[1])); kib > maxMemory {
			t.Errorf("%s: %d KiB of memory", p.Name, kib)
		}
	}
	if files, err := os.ReadDir(proc + "fd"); err == nil && len(files) > maxFiles {
		t.Errorf("%s: %d open files", p.Name, len(files))
	}
}

func checkLog(t *testing.T, p *suite.Proc, began time.Time, trace bool) {
	t.Helper()
	log := p.Log()
	if m := scream.FindString(log); m != "" {
		t.Errorf("%s: %q in the log", p.Name, m)
	}
	limit := quiet + int(math.Ceil(time.Since(began).Minutes()*chatter))
	if n := strings.Count(log, "\n"); n > limit && !trace {
		t.Errorf("%s: %d log lines in %v", p.Name, n, time.Since(began).Round(time.Second))
	}
}

// wait waits for a snapshot.
func (d *daemon) wait(what string, ok func(*observe.Snapshot) bool) *observe.Snapshot {
	d.t.Helper()
	return d.WaitSnapshot(d.socket, what, ok)
}

// synchronised waits until the daemon follows its sources and its clock is right within limit.
func (d *daemon) synchronised(limit time.Duration) *observe.Snapshot {
	d.t.Helper()
	return d.wait(fmt.Sprintf("synchronisation within %v", limit), func(s *observe.Snapshot) bool {
		return s.Suite.Synchronized && s.Suite.VirtualTruth != nil && math.Abs(s.Suite.VirtualTruth.Offset) < limit.Seconds()
	})
}

// watch looks at the daemon ten times a second for a while.
func (d *daemon) watch(during time.Duration, look func(*observe.Snapshot)) {
	d.t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if s := suite.Snapshot(d.socket); s != nil {
			look(s)
		}
		if d.t.Failed() {
			return
		}
	}
}

// holds watches that the clock stays right within limit, and returns the largest and the median error.
func (d *daemon) holds(during, limit time.Duration) (worst, median time.Duration) {
	d.t.Helper()
	var all []float64
	d.watch(during, func(s *observe.Snapshot) {
		e := math.Abs(s.Suite.VirtualTruth.Offset)
		all = append(all, e)
		if e > limit.Seconds() {
			d.t.Errorf("clock is %v off, limit %v", seconds(e), limit)
		}
	})
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return seconds(all[len(all)-1]), seconds(all[len(all)/2])
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// snapshot looks once.
func snapshot(d *daemon) *observe.Snapshot { return suite.Snapshot(d.socket) }

// source finds the row of an address, nil if there is none.
func source(s *observe.Snapshot, address string) *observe.Source {
	for i := range s.Sources {
		if strings.HasPrefix(s.Sources[i].Address, address+":") {
			return &s.Sources[i]
		}
	}
	return nil
}

// used reports whether a source takes part in the time.
func used(s *observe.Snapshot, address string) bool {
	row := source(s, address)
	return row != nil && (row.Role == observe.RolePeer || row.Role == observe.RoleSelected)
}
