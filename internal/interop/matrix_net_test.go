package interop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ntp-daemon/internal/suite"
	"ntp-daemon/internal/testca"
)

// Addresses of a matrixNet. Hosts get 198.18.1.N.
const (
	hubAddr  = "198.18.0.1"
	tokenOne = "a token of the site"
)

// matrixNet is a switch with a name server, the four servers of the matrix and a pool in front of each that can be a
// member.
type matrixNet struct {
	t     *testing.T
	hub   *suite.Namespace
	sid   string // folder of scripts/sid.sh, "" without
	dir   string
	ca    string // PEM file of the authority
	hosts atomic.Uint32
	names map[string]string // of the servers and pools: name → address
}

// host is one machine at the switch, with a folder of its own.
type host struct {
	t    *testing.T
	s    *matrixNet
	ns   *suite.Namespace
	dir  string
	addr string
}

func serverName(server string) string { return strings.ReplaceAll(server, ".", "-") + ".test" }
func poolOf(server string) string     { return "pool-" + serverName(server) }

// newMatrixNet starts everything that does not depend on a client and waits until it all works.
func newMatrixNet(t *testing.T, sid string) *matrixNet {
	t.Helper()
	s := &matrixNet{t: t, hub: suite.NewNamespace(t), sid: sid, dir: shortDir(t), names: map[string]string{}}
	// Left alone a bridge takes another address with every port that comes or goes, and its neighbours lose it.
	s.hub.IP("link", "add", "br0", "address", "02:00:00:00:00:01", "type", "bridge")
	s.hub.IP("addr", "add", hubAddr+"/16", "dev", "br0")
	s.hub.IP("link", "set", "br0", "up")

	ca := testca.New(t)
	s.ca = filepath.Join(s.dir, "ca.pem")
	suite.WriteFile(t, s.ca, string(ca.PEM()))
	running := map[string]*host{}
	records := map[string][]string{}
	for _, server := range matrixServers {
		if fromSid[server] && sid == "" {
			continue
		}
		h := s.host(t)
		running[server] = h
		for _, name := range []string{serverName(server), poolOf(server)} {
			s.names[name] = h.addr
			records[name] = []string{h.addr}
			chain, key := testca.Files(t, ca.Leaf(name))
			suite.WriteFile(t, h.path(name+".pem"), string(chain))
			suite.WriteFile(t, h.path(name+".key"), string(key))
		}
	}
	s.hub.Resolve(hubAddr)
	s.hub.NameServer(hubAddr, records)
	for server, h := range running {
		h.serve(server)
		if impossible(ours, server, pooled) == "" {
			h.pool(server)
		}
	}
	for server, h := range running {
		h.awaitServer(server)
	}
	return s
}

// host adds a machine to the switch.
func (s *matrixNet) host(t *testing.T) *host {
	t.Helper()
	n := s.hosts.Add(1)
	h := &host{t: t, s: s, ns: suite.NewNamespace(t), dir: shortDir(t), addr: fmt.Sprintf("198.18.1.%d", n)}
	port := fmt.Sprintf("port%d", n)
	h.ns.IP("link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", s.hub.Name)
	h.ns.IP("addr", "add", h.addr+"/16", "dev", "eth0")
	h.ns.IP("link", "set", "eth0", "up")
	if err := s.hub.Command("ip", "link", "set", port, "master", "br0", "up").Run(); err != nil {
		t.Fatalf("plug in %s: %v", port, err)
	}
	h.ns.Resolve(hubAddr)
	// The kernel may take up to a second to see that the port is up, and loses what is sent before.
	suite.WriteFile(t, filepath.Join("/etc/netns", h.ns.Name, "resolv.conf"), "nameserver "+hubAddr+"\noptions timeout:1 attempts:4\n")
	for _, d := range []string{"cmd", "dump"} {
		if err := os.Mkdir(h.path(d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// client is a host for one cell.
func (s *matrixNet) client(t *testing.T) *host { return s.host(t) }

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// file writes a configuration of this host. The pairs are further words to fill in.
func (h *host) file(name, text string, words ...string) string {
	h.t.Helper()
	r := strings.NewReplacer(append([]string{"{dir}", h.dir, "{ca}", h.s.ca, "{addr}", h.addr, "{token}", tokenOne}, words...)...)
	suite.WriteFile(h.t, h.path(name), r.Replace(text))
	return h.path(name)
}

// sid is the command line that runs one of sid's programs without power over the clock.
func (h *host) sid(program string, args ...string) []string {
	return suite.WithoutClock(h.s.sid, program, args...)
}

// start runs a command line on this host until the test ends.
func (h *host) start(name string, line []string) *suite.Proc {
	h.t.Helper()
	p := h.ns.Start(line[0], line[1:]...)
	p.Name = name
	return p
}

const (
	oursServing = `
[observability]
log-format = "console"
observation-path = "{dir}/server.sock"
[[server]]
listen = "{addr}:123"
[[nts-ke-server]]
listen = "{addr}:4460"
certificate-chain-path = "{dir}/{name}.pem"
private-key-path = "{dir}/{name}.key"
accepted-pool-authentication-tokens = ["{token}"]
[synchronization]
clock-control = false
local-stratum = 2
`
	chronydServing = `
local stratum 2
allow
ntsservercert {dir}/{name}.pem
ntsserverkey {dir}/{name}.key
`
	ntpsecServing = `
tos orphan 2 orphanwait 1
nts enable
nts cert {dir}/{name}.pem
nts key {dir}/{name}.key
nts cookie {dir}/cookies
`
	// With local stratum 1 ntpd-rs serves the machine's clock and needs no source.
	ntpdRSServing = `
[observability]
observation-path = "{dir}/server.sock"
[[server]]
listen = "{addr}:123"
[[nts-ke-server]]
listen = "{addr}:4460"
certificate-chain-path = "{dir}/{name}.pem"
private-key-path = "{dir}/{name}.key"
accepted-pool-authentication-tokens = ["{token}"]
[synchronization]
local-stratum = 1
`
	poolServing = `
[nts-pool-ke-server]
listen = "{addr}:4461"
certificate-authority-path = "{ca}"
certificate-chain-path = "{dir}/{pool}.pem"
private-key-path = "{dir}/{pool}.key"
[[nts-pool-ke-server.key-exchange-servers]]
domain = "{name}"
port = 4460
tokens = ["{token}"]
[observability]
log-format = "console"
log-level = "debug"
`
)

// serve starts the server of this host.
func (h *host) serve(server string) {
	h.t.Helper()
	var line []string
	file := func(name, text string) string { return h.file(name, text, "{name}", serverName(server)) }
	switch server {
	case ours:
		line = []string{suite.Program(h.t, "ntp-daemon"), "-c", file("server.toml", oursServing)}
	case chronyd:
		line = h.sid("usr/sbin/chronyd", "-x", "-d", "-f", file("server.conf", chronyCommon+chronydServing))
	case ntpSec:
		line = h.sid("usr/sbin/ntpd", "-n", "-c", file("server.conf", ntpsecCommon+ntpsecServing))
	case ntpdRS:
		line = h.sid("usr/bin/ntp-daemon", "-c", file("server.toml", ntpdRSServing))
	}
	h.start(server+" serving", line)
}

// pool starts our pool in front of the server, on the server's host.
func (h *host) pool(server string) {
	h.t.Helper()
	config := h.file("pool.toml", poolServing, "{name}", serverName(server), "{pool}", poolOf(server))
	h.start("our pool of "+server, []string{suite.Program(h.t, "nts-pool-ke"), "-c", config}).WaitLog(`listening on`)
}

// awaitServer asks the server until it answers with a time that is good, under NTS.
func (h *host) awaitServer(server string) {
	h.t.Helper()
	ctl := suite.Program(h.t, "ntp-ctl")
	var out []byte
	var err error
	for end := time.Now().Add(suite.Patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if out, err = h.s.hub.Command(ctl, "query", "--nts", "--ca", h.s.ca, serverName(server)).CombinedOutput(); err == nil {
			return
		}
	}
	h.t.Fatalf("%s does not serve: %v\n%s", server, err, out)
}
