package interop_test

import (
	"context"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
	"ntp-daemon/internal/testca"
)

// Addresses and names of a lab.
const (
	oursAddr = "198.18.1.1"
	peerAddr = "198.18.1.2"
	oursName = "ours.test" // ntp-daemon
	poolName = "pool.test" // nts-pool-ke, on the same host at poolPort
	peerName = "peer.test" // chronyd or ntpd
	poolPort = "4461"      // 4460 is ntp-daemon's own
)

// lab is a wire with our host at one end and the peer's host at the other, a name server that knows both, and
// certificates of one authority.
type lab struct {
	t          *testing.T
	ours, peer *suite.Namespace
	dir        string // short, because sockets live in it
	ca         string // PEM file of the authority
}

// newLab skips the test where there are no peers or no namespaces.
func newLab(t *testing.T) *lab {
	t.Helper()
	peersDir(t)
	l := &lab{t: t, ours: suite.NewNamespace(t), peer: suite.NewNamespace(t), dir: shortDir(t)}
	suite.Link(l.ours, oursAddr+"/24", l.peer, peerAddr+"/24")
	l.ours.NameServer(oursAddr, map[string][]string{oursName: {oursAddr}, poolName: {oursAddr}, peerName: {peerAddr}})
	l.ours.Resolve(oursAddr)
	l.peer.Resolve(oursAddr)

	ca := testca.New(t)
	l.ca = filepath.Join(l.dir, "ca.pem")
	suite.WriteFile(t, l.ca, string(ca.PEM()))
	for _, name := range []string{oursName, poolName, peerName} {
		chain, key := testca.Files(t, ca.Leaf(name))
		suite.WriteFile(t, l.path(name+".pem"), string(chain))
		suite.WriteFile(t, l.path(name+".key"), string(key))
	}
	l.waitNameServer()
	return l
}

// shortDir is a temporary folder whose path leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "iop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// text fills in the words of a configuration that differ from lab to lab.
func (l *lab) text(s string) string {
	return strings.NewReplacer("{dir}", l.dir, "{ca}", l.ca, "{ours}", oursAddr, "{peer}", peerAddr,
		"{oursName}", oursName, "{poolName}", poolName, "{peerName}", peerName, "{poolPort}", poolPort).Replace(s)
}

// file writes a configuration of the lab and returns its path.
func (l *lab) file(name, text string) string {
	suite.WriteFile(l.t, l.path(name), l.text(text))
	return l.path(name)
}

// dial opens a UDP socket that lives in the namespace: a socket stays where it was made.
func dial(ns *suite.Namespace, address string) (net.Conn, error) {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer home.Close()
	there, err := os.Open(filepath.Join("/run/netns", ns.Name))
	if err != nil {
		return nil, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	c, err := net.Dial("udp4", address)
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return nil, back // the thread stays locked and ends with this goroutine
	}
	runtime.UnlockOSThread()
	return c, err
}

// waitNameServer asks until there is an answer: peers that fail to find a name wait long before they ask again.
func (l *lab) waitNameServer() {
	l.t.Helper()
	r := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return dial(l.peer, oursAddr+":53")
	}}
	var err error
	for end := time.Now().Add(suite.Patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err = r.LookupNetIP(ctx, "ip4", oursName+".")
		cancel()
		if err == nil {
			return
		}
	}
	l.t.Fatalf("test name server: %v", err)
}

// Configurations of our programs.
const (
	// The machine's clock is served at stratum 2 and never touched.
	serverConfig = `
[observability]
log-level = "debug"
log-format = "console"
observation-path = "{dir}/server.sock"
[[server]]
listen = "{ours}:123"
[[nts-ke-server]]
listen = "{ours}:4460"
certificate-chain-path = "{dir}/ours.test.pem"
private-key-path = "{dir}/ours.test.key"
accepted-pool-authentication-tokens = ["a token of the lab"]
[keyset]
key-storage-path = "{dir}/keys"
[synchronization]
clock-control = false
local-stratum = 2
`
	poolConfig = `
[nts-pool-ke-server]
listen = "{ours}:{poolPort}"
certificate-authority-path = "{ca}"
certificate-chain-path = "{dir}/pool.test.pem"
private-key-path = "{dir}/pool.test.key"
[[nts-pool-ke-server.key-exchange-servers]]
domain = "{oursName}"
port = 4460
tokens = ["a token of the lab"]
[observability]
log-format = "console"
log-level = "debug"
`
	// A virtual clock that starts wrong follows the source that is put in front.
	clientConfig = `
poll-interval-limits = { min = 0, max = 0 }
initial-poll-interval = 0
[observability]
log-level = "debug"
log-format = "console"
observation-path = "{dir}/client.sock"
[synchronization]
minimum-agreeing-sources = 1
startup-step-panic-threshold = 10
clock = "virtual"
virtual-offset = 0.25
virtual-frequency = 20
`
)

// startServer runs ntp-daemon with serverConfig until it answers its observers. The arguments are pairs of a text in
// serverConfig and what it becomes.
func (l *lab) startServer(changes ...string) *suite.Proc {
	l.t.Helper()
	config := strings.NewReplacer(changes...).Replace(serverConfig)
	p := l.ours.Start(suite.Program(l.t, "ntp-daemon"), "-c", l.file("server.toml", config))
	p.Name = "our server"
	p.WaitLog(`key exchange listening`)
	p.WaitSnapshot(l.path("server.sock"), "local stratum", func(s *observe.Snapshot) bool { return s.System.Stratum == 2 })
	return p
}

// startServerElsewhere runs ntp-daemon with key exchange under the name of the pool, and time under its own name on a
// port of its own, so that clients need the records Server and Port.
func (l *lab) startServerElsewhere() {
	l.t.Helper()
	l.startServer(`"{ours}:123"`, `"{ours}:1123"`, "ours.test.pem", "pool.test.pem", "ours.test.key", "pool.test.key",
		"[nts-ke-server]]\n", "[nts-ke-server]]\nntp-port = 1123\nntp-server = \"{oursName}\"\n")
}

// startPool runs nts-pool-ke in front of the server.
func (l *lab) startPool() *suite.Proc {
	l.t.Helper()
	p := l.ours.Start(suite.Program(l.t, "nts-pool-ke"), "-c", l.file("pool.toml", poolConfig))
	p.Name = "our pool"
	p.WaitLog(`listening on`)
	return p
}

// server reads the counters of our server.
func (l *lab) server() (s observe.ServerStats, ke, verdicts map[string]uint64) {
	l.t.Helper()
	snap := suite.Snapshot(l.path("server.sock"))
	if snap == nil || len(snap.Servers) == 0 {
		l.t.Fatal("our server does not answer its observers")
	}
	return snap.Servers[0].Stats, snap.Suite.KeyExchange, snap.Suite.Verdicts
}

// smallOffset is what a peer may measure between two readers of one clock, in seconds. Measurements are some µs; the
// rest is room for a busy machine.
const smallOffset = 1e-3

// wire is the name of the namespace's end of the wire.
func (l *lab) wire(ns *suite.Namespace) string {
	l.t.Helper()
	out, err := exec.Command("ip", "-n", ns.Name, "-br", "link", "show", "type", "veth").Output()
	if err != nil {
		l.t.Fatal(err)
	}
	name, _, _ := strings.Cut(string(out), "@")
	return name
}

// modeName says how packets are protected.
func modeName(nts bool) string {
	if nts {
		return "NTS, AEAD 15"
	}
	return "NTP version 4"
}

// clientChecks is what ourClient shows.
const clientChecks = "synchronised from 0.25 s and 20 ppm off to less than 1 ms, eight polls in a row answered"

// ourClient runs ntp-daemon as client of the peer until its virtual clock is right, and returns it with its source.
func (l *lab) ourClient(nts bool, stratum uint8) (*suite.Proc, observe.Source) {
	l.t.Helper()
	source := "[[source]]\nmode = \"server\"\naddress = \"{peerName}\"\n"
	if nts {
		source = "[[source]]\nmode = \"nts\"\naddress = \"{peerName}\"\ncertificate-authority = \"{ca}\"\n"
	}
	p := l.ours.Start(suite.Program(l.t, "ntp-daemon"), "-c", l.file("client.toml", source+clientConfig))
	p.Name = "our client"
	s := p.WaitSnapshot(l.path("client.sock"), "synchronised client", func(s *observe.Snapshot) bool {
		return s.Suite.Synchronized && len(s.Sources) == 1 && s.Sources[0].Reach == 0xff &&
			(!nts || s.Sources[0].NTSCookies != nil && *s.Sources[0].NTSCookies == 8) && s.Suite.VirtualTruth != nil && math.Abs(s.Suite.VirtualTruth.Offset) < 1e-3
	})
	src := s.Sources[0]
	if src.Stratum != stratum || src.Version != 4 || src.Role != observe.RolePeer || s.System.Stratum != stratum+1 {
		l.t.Errorf("source %+v, our stratum %d", src, s.System.Stratum)
	}
	if !nts && src.NTSCookies != nil {
		l.t.Errorf("a plain source with %d cookies", *src.NTSCookies)
	}
	if s.System.LeapIndicator != "NoWarning" {
		l.t.Errorf("leap indicator %s", s.System.LeapIndicator)
	}
	l.t.Logf("virtual clock %+.1f µs off", 1e6*s.Suite.VirtualTruth.Offset)
	return p, src
}
