//go:build linux && !race

package poolbench_test

import (
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/suite"
	"ntp-daemon/internal/testca"
)

// sidEnv names the folder that scripts/sid.sh unpacked; not set: chronyd and ntpd-rs are left out.
const sidEnv = "NTPD_SID"

// logSetting is how the pool logs: a line a minute, none for each user.
const logSetting = `log-exchanges = "summary"`

// token is what pool and time sources agree on.
const token = "a token of the measurement"

// server is one program that answers key exchanges, under the name localhost.
type server struct {
	name   string
	port   int
	proc   *suite.Proc
	socket string // of a pool, for observers
}

// site is everything that one measurement starts: all on 127.0.0.1, with P-256 certificates of one authority.
type site struct {
	t      *testing.T
	dir    string
	roots  *x509.CertPool
	pinned bool // measured servers on the first processor, everything else on the second

	members    []server // time sources that keep connections of pools
	own        server   // our key exchange server alone
	warm, cold server   // pools: whose time sources keep connections, and whose time sources keep none
}

const (
	// A time source has two key exchange servers: {kept} keeps connections of pools, {bare} keeps none.
	memberConfig = `
[observability]
log-level = "warn"
[[server]]
listen = "127.0.0.1:{ntp}"
[[nts-ke-server]]
listen = "127.0.0.1:{kept}"
certificate-chain-path = "{dir}/chain.pem"
private-key-path = "{dir}/key.pem"
accepted-pool-authentication-tokens = ["{token}"]
ntp-port = {ntp}
concurrent-connections = 4096
[[nts-ke-server]]
listen = "127.0.0.1:{bare}"
certificate-chain-path = "{dir}/chain.pem"
private-key-path = "{dir}/key.pem"
accepted-pool-authentication-tokens = ["{token}"]
ntp-port = {ntp}
concurrent-connections = 4096
longlived-connections = 0
[synchronization]
clock-control = false
local-stratum = 2
`
	poolConfig = `
[observability]
observation-path = "{dir}/{socket}"
[nts-pool-ke-server]
{log}
listen = "127.0.0.1:{port}"
certificate-authority-path = "{dir}/ca.pem"
certificate-chain-path = "{dir}/chain.pem"
private-key-path = "{dir}/key.pem"
key-exchange-timeout-ms = 20000
connections-per-client = 0
`
	poolMember = `
[[nts-pool-ke-server.key-exchange-servers]]
domain = "localhost"
port = {port}
tokens = ["{token}"]
`
)

// The processors of a measurement that is pinned: the generator and the time sources run on the second, where the
// command line of `make bench-pool` has put this process.
const measuredCPU = "0"

// newSite starts three time sources, our own key exchange server and the two pools.
func newSite(t *testing.T, pinned bool) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), pinned: pinned}
	ca := testca.New(t)
	s.roots = ca.Pool()
	suite.WriteCertificates(t, s.dir, ca)
	var bare []server
	for i := range 3 {
		kept, other := s.member(fmt.Sprintf("time source %d", i+1), false)
		s.members, bare = append(s.members, kept), append(bare, other)
	}
	s.own, _ = s.member("ntp-daemon", true)
	s.warm = s.pool("nts-pool-ke, warm", s.members)
	s.cold = s.pool("nts-pool-ke, cold", bare)
	return s
}

// file writes a configuration.
func (s *site) file(name, text string, words ...string) string {
	s.t.Helper()
	words = append(words, "{dir}", s.dir, "{token}", token)
	path := filepath.Join(s.dir, strings.Map(func(r rune) rune {
		if r == ' ' || r == ',' {
			return '-'
		}
		return r
	}, name))
	suite.WriteFile(s.t, path, strings.NewReplacer(words...).Replace(text))
	return path
}

// start runs a program, one that is measured on a processor of its own.
func (s *site) start(name string, measured bool, line ...string) *suite.Proc {
	s.t.Helper()
	if measured && s.pinned {
		line = append([]string{"taskset", "-c", measuredCPU}, line...)
	}
	p := suite.StartCmd(s.t, exec.Command(line[0], line[1:]...))
	p.Name = name
	return p
}

// member starts a time source; bare is its key exchange server that keeps no connections.
func (s *site) member(name string, measured bool) (kept, bare server) {
	s.t.Helper()
	ntp, a, b := suite.FreePort(s.t), suite.FreePort(s.t), suite.FreePort(s.t)
	conf := s.file(name+".toml", memberConfig, "{ntp}", strconv.Itoa(ntp), "{kept}", strconv.Itoa(a), "{bare}", strconv.Itoa(b))
	p := s.start(name, measured, suite.Program(s.t, "ntp-daemon"), "-c", conf)
	kept, bare = server{name: name, port: a, proc: p}, server{name: name, port: b, proc: p}
	s.await(kept)
	s.await(bare)
	return kept, bare
}

// pool starts a pool in front of the members, with the log that an operator has.
func (s *site) pool(name string, members []server) server {
	s.t.Helper()
	port := suite.FreePort(s.t)
	socket := fmt.Sprintf("pool-%d.sock", port)
	text := strings.NewReplacer("{port}", strconv.Itoa(port), "{log}", logSetting, "{socket}", socket).Replace(poolConfig)
	for _, m := range members {
		text += strings.ReplaceAll(poolMember, "{port}", strconv.Itoa(m.port))
	}
	p := server{name, port, s.start(name, true, suite.Program(s.t, "nts-pool-ke"), "-c", s.file(name+".toml", text)), filepath.Join(s.dir, socket)}
	s.await(p)
	return p
}

// peers starts the two servers from Debian that are compared, and says why one is missing.
func (s *site) peers() (list []server, missing string) {
	s.t.Helper()
	sid := os.Getenv(sidEnv)
	switch {
	case sid == "":
		return nil, sidEnv + " is not set: chronyd and ntpd-rs are not measured"
	case os.Geteuid() != 0:
		return nil, "chronyd and ntpd-rs are not measured: they need root"
	}
	for _, peer := range []struct {
		name, program string
		conf          func(suite.NTSServer) string
		args          []string
	}{
		{"chronyd", "usr/sbin/chronyd", suite.NTSServer.Chronyd, []string{"-x", "-d", "-f"}},
		{"ntpd-rs", "usr/bin/ntp-daemon", suite.NTSServer.NTPdRS, []string{"-c"}},
	} {
		port := suite.FreePort(s.t)
		conf := s.file(peer.name+".conf", peer.conf(suite.NTSServer{Dir: s.dir, Address: "127.0.0.1", NTP: suite.FreePort(s.t), KE: port}))
		line := suite.WithoutClock(sid, peer.program, append(peer.args, conf)...)
		p := server{name: peer.name, port: port, proc: s.start(peer.name, true, append([]string{"env", "NOCLOCK=1"}, line...)...)}
		s.await(p)
		list = append(list, p)
	}
	return list, ""
}

// await asks until there is an answer.
func (s *site) await(v server) {
	s.t.Helper()
	u := s.users(v, nil)
	v.proc.Until("first exchange of "+v.name, func() bool { return u.exchange(s.t.Context()) == nil })
}

// pids are the processes of a server: chronyd has one for key exchange alone.
func (v server) pids() []int { return suite.Family(v.proc.Cmd.Process.Pid) }

// cpu is the processor time, user and system, that a server has used so far: the clock of each of its processes, which
// counts the threads that have ended, too (clock_getcpuclockid(3)).
func (v server) cpu() (sum time.Duration) {
	for _, pid := range v.pids() {
		var ts unix.Timespec
		if unix.ClockGettime(int32(^pid)<<3|2, &ts) == nil {
			sum += time.Duration(ts.Nano())
		}
	}
	return sum
}

// memory is the resident set in KiB.
func (v server) memory() (kib int) {
	for _, pid := range v.pids() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if _, rest, ok := strings.Cut(string(b), "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			kib += n
		}
	}
	return kib
}
