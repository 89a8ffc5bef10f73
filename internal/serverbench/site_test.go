//go:build linux && !race

package serverbench_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"ntp-daemon/internal/suite"
	"ntp-daemon/internal/testca"
)

const (
	// sidEnv names the folder that scripts/sid.sh unpacked; not set: chronyd and ntpd-rs are left out.
	sidEnv = "NTPD_SID"
	// loadEnv is the load generator, tools/ntpload.
	loadEnv = "NTPD_LOAD"
)

// The two ends of the wire.
const serverAddress, clientAddress = "10.99.0.1", "10.99.0.2"

// Clients that interleave have these addresses, one for each port: a server remembers only so much for one.
const (
	manyAddresses = "10.99.0.128/28"
	manyPorts     = "16"
)

// server is one program that answers. All run the whole time, each on ports of its own; those that are not asked wait.
type server struct {
	name    string
	ntp, ke int // ports; ke is 0 for who has no NTS
	procs   []*suite.Proc
	threads []int // of the kernel, that do its work alone
}

// site is the two namespaces with their wire, and the servers.
type site struct {
	t              *testing.T
	dir, load      string
	inside, beyond *suite.Namespace // the servers' network and the generator's
	servers        []*server
	missing        []string // what is not measured, and why
	cpus           cpuPair
}

// The servers by index; those from Debian come after ours.
const (
	limit = iota // C, recvmmsg and sendmmsg
	own
	chrony
	ntpdRS
)

// bareSite is the two namespaces, without wire and servers.
func bareSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), load: os.Getenv(loadEnv), inside: suite.NewNamespace(t), beyond: suite.NewNamespace(t)}
	if s.load == "" {
		t.Fatalf("%s does not name the load generator", loadEnv)
	}
	s.cpus = allowedPair(t)
	return s
}

// newSite starts everything that can be measured here.
func newSite(t *testing.T) *site {
	t.Helper()
	s := bareSite(t)
	suite.Link(s.inside, serverAddress+"/24", s.beyond, clientAddress+"/24")
	s.beyond.IP("route", "add", "local", manyAddresses, "dev", "lo")
	suite.WriteCertificates(t, s.dir, testca.New(t))
	s.servers = []*server{limit: s.startLimit(), own: s.startOwn("ntp-daemon", 2123, s.cpus.server)}
	s.startPeers()
	return s
}

// start runs a program of the servers' network on the processors cpus.
func (s *site) start(name, cpus string, line ...string) *suite.Proc {
	s.t.Helper()
	p := s.inside.Start("taskset", append([]string{"-c", cpus}, line...)...)
	p.Name = name
	return p
}

// nts is what the configuration of v says, whichever program it is.
func (s *site) nts(v *server) suite.NTSServer {
	return suite.NTSServer{Dir: s.dir, Address: "0.0.0.0", NTP: v.ntp, KE: v.ke}
}

// file writes a configuration.
func (s *site) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	suite.WriteFile(s.t, path, text)
	return path
}

// compile makes the program that is the limit of what sockets can do.
func (s *site) compile() string {
	s.t.Helper()
	path := filepath.Join(s.dir, "csrv")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if out, err := exec.Command("gcc", "-O2", "-o", path, "testdata/csrv.c").CombinedOutput(); err != nil {
		s.t.Fatalf("compile the C server: %v\n%s", err, out)
	}
	return path
}

// startLimit starts the C server, which answers from one thread with nothing but the kernel in its way.
func (s *site) startLimit() *server {
	s.t.Helper()
	v := &server{name: "C, recvmmsg", ntp: 1123}
	v.procs = append(v.procs, s.start(v.name, s.cpus.server, s.compile(), strconv.Itoa(v.ntp), "64", "1"))
	s.await(v)
	return v
}

// startOwn starts our daemon, with a worker for each of its processors.
func (s *site) startOwn(name string, ntp int, cpus string) *server {
	s.t.Helper()
	v := &server{name: name, ntp: ntp, ke: ntp + 337}
	conf := s.file(strconv.Itoa(ntp)+".toml", s.nts(v).Own())
	v.procs = append(v.procs, s.start(name, cpus, suite.Program(s.t, "ntp-daemon"), "-c", conf))
	s.await(v)
	return v
}

// startPeers starts the two servers from Debian, or says why one is missing.
func (s *site) startPeers() {
	s.t.Helper()
	sid := os.Getenv(sidEnv)
	if sid == "" {
		s.missing = append(s.missing, "chronyd and ntpd-rs of Debian's sid were not at hand and are not measured.")
		return
	}
	for _, peer := range []struct {
		server
		conf    func(suite.NTSServer) string
		program string
		args    []string
	}{
		{server{name: "chronyd", ntp: 3123, ke: 3460}, suite.NTSServer.Chronyd, "usr/sbin/chronyd", []string{"-x", "-d", "-f"}},
		{server{name: "ntpd-rs", ntp: 4123, ke: 4460}, suite.NTSServer.NTPdRS, "usr/bin/ntp-daemon", []string{"-c"}},
	} {
		v := peer.server
		line := append(debian(sid, peer.program), peer.args...)
		v.procs = append(v.procs, s.start(v.name, s.cpus.server, append(line, s.file(v.name+".conf", peer.conf(s.nts(&v))))...))
		s.await(&v)
		s.servers = append(s.servers, &v)
	}
}

// debian is the command line of a program of sid that cannot set the clock.
func debian(sid, program string) []string {
	return append([]string{"env", "NOCLOCK=1"}, suite.WithoutClock(sid, program)...)
}

// await asks until there are answers of a server that says that it has the time, and keys if it gives any.
func (s *site) await(v *server) {
	s.t.Helper()
	v.procs[0].Until("first answer of "+v.name, func() bool {
		r, err := s.ask(v, "-target", v.address(v.ntp), "-rate", "100", "-warm-up", "0s", "-length", "50ms")
		return err == nil && r.Valid > 0 && r.Unsynced == 0
	})
	if v.ke != 0 {
		v.procs[0].Until("first keys of "+v.name, func() bool {
			r, err := s.ask(v, "-exchanges", "1", "-first", "1", "-ke", v.address(v.ke), "-name", "localhost", "-ca", s.dir+"/ca.pem")
			return err == nil && r.Valid == 1
		})
	}
}

func (v *server) address(port int) string { return fmt.Sprintf("%s:%d", serverAddress, port) }

// pids are the processes that serve: chronyd has one for key exchange alone.
func (v *server) pids() (list []int) {
	list = append(list, v.threads...)
	for _, p := range v.procs {
		list = append(list, suite.Family(p.Cmd.Process.Pid)...)
	}
	return list
}
