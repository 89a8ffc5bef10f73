package interop_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// poolPortOf is where the pools of a matrixNet listen.
const poolPortOf = "4461"

// timeServer is the address that the samples must come from, whoever gave the keys.
func (c *cell) timeServer() string { return c.s.names[serverName(c.server)] }

// keyServer is the name of the key exchange server, and its port if it is another than usual.
func (c *cell) keyServer() (name, port string) {
	if c.protocol == pooled {
		return poolOf(c.server), poolPortOf
	}
	return serverName(c.server), ""
}

// agreed checks the algorithm that the client names, and is what the matrix shows of it.
func (c *cell) agreed(algorithm string) string {
	c.t.Helper()
	if want := c.protocol.number(); want != 0 && algorithm != strconv.Itoa(want) {
		c.t.Errorf("%s agreed on AEAD %s, want %d", c.client, algorithm, want)
	}
	if c.protocol == pooled {
		return ", AEAD " + algorithm
	}
	return ""
}

// source is a [[source]] table of ntp-daemon and of ntpd-rs, which share their configuration.
func (c *cell) source() string {
	if !c.protocol.nts() {
		return fmt.Sprintf("[[source]]\nmode = \"server\"\naddress = %q\n", serverName(c.server))
	}
	name, port := c.keyServer()
	if port == "" {
		return fmt.Sprintf("[[source]]\nmode = \"nts\"\naddress = %q\ncertificate-authority = \"{ca}\"\n", name)
	}
	return fmt.Sprintf("[[source]]\nmode = \"nts-pool\"\naddress = %q\ncount = 1\ncertificate-authority = \"{ca}\"\n", name+":"+port)
}

const oursFollowing = `
[source-defaults]
poll-interval-limits = { min = 0, max = 0 }
initial-poll-interval = 0
[observability]
log-level = "debug"
log-format = "console"
observation-path = "{dir}/client.sock"
[synchronization]
minimum-agreeing-sources = 1
clock = "virtual"
virtual-offset = 0.1
`

var agreedByUs = regexp.MustCompile(`keys exchanged .*aead=(\d+)`)

// ours follows the server with ntp-daemon until it is synchronised.
func (c *cell) ours() string {
	config, version := c.source(), uint8(4)
	if c.protocol == v3 {
		config, version = config+"ntp-version = 3\n", 3
	}
	if n := c.protocol.number(); n != 0 {
		config += fmt.Sprintf("aead-algorithms = [%d]\n", n)
	}
	p := c.start("our client", []string{suite.Program(c.t, "ntp-daemon"), "-c", c.file("client.toml", config+oursFollowing)})
	s := p.WaitSnapshot(c.path("client.sock"), "synchronised client", func(s *observe.Snapshot) bool {
		return s.Suite.Synchronized && len(s.Sources) == 1 && s.Sources[0].Role == observe.RolePeer
	})
	src := s.Sources[0]
	if src.Version != version || src.Address != c.timeServer()+":123" {
		c.t.Errorf("the samples are of version %d from %s", src.Version, src.Address)
	}
	if nts := src.NTSCookies != nil; nts != c.protocol.nts() {
		c.t.Errorf("NTS: %t", nts)
	}
	if !c.protocol.nts() {
		return ""
	}
	m := agreedByUs.FindStringSubmatch(p.Log())
	if m == nil {
		c.t.Fatal("no word on the algorithm")
	}
	return c.agreed(m[1])
}

// chronyd follows the server with chronyd of sid or of bookworm.
func (c *cell) chronyd() string {
	daemon, ask := c.sid("usr/sbin/chronyd"), c.sid("usr/bin/chronyc", "-u", "root")
	if c.client == chrony43 {
		daemon, ask = []string{peerProgram(c.t, chronydPath)}, []string{peerProgram(c.t, chronycPath)}
	}
	version := "4"
	source := "server " + serverName(c.server) + " iburst minpoll 0 maxpoll 1"
	if c.protocol == v3 {
		version = "3"
		source += " version 3"
	}
	if c.protocol.nts() {
		name, port := c.keyServer()
		source = "server " + name + " iburst minpoll 0 maxpoll 1 nts"
		if port != "" {
			source += " ntsport " + port
		}
	}
	if n := c.protocol.number(); n != 0 && c.client == chronyd {
		source += fmt.Sprintf("\nntsaeads %d", n)
	}
	p := c.start(c.client+" as client", append(daemon, "-x", "-d", "-f", c.file("client.conf", chronyCommon+"port 0\n"+source+"\n")))
	report := func(what string) []string {
		line := append(ask[1:len(ask):len(ask)], "-c", "-n", "-h", c.path("cmd/chronyd.sock"), what)
		out, _ := c.ns.Command(ask[0], line...).Output() // fails while chronyd starts
		row, _ := csv.NewReader(strings.NewReader(string(out))).Read()
		return row
	}
	const valid, enough = dataAuthenticated + 5, 2
	var d []string
	p.Until("valid measurements", func() bool {
		d = report("ntpdata")
		if len(d) <= valid {
			return false
		}
		n, _ := strconv.Atoi(d[valid])
		return n >= enough && d[dataTests] == "111" && d[dataTests+1] == "111"
	})
	authenticated := map[bool]string{true: "Yes", false: "No"}[c.protocol.nts()]
	if d[0] != c.timeServer() || d[dataVersion] != version || d[dataLeap] != "Normal" || d[dataAuthenticated] != authenticated {
		c.t.Errorf("chronyc ntpdata: %q", d)
	}
	if !c.protocol.nts() {
		return ""
	}
	a := report("authdata")
	if len(a) <= authCookies || a[authMode] != "NTS" || a[authNAK] != "0" {
		c.t.Fatalf("chronyc authdata: %q", a)
	}
	return c.agreed(a[authAlgorithm])
}

var agreedByNTPsec = regexp.MustCompile(`NTSc: Got \d cookies, length \d+, aead=(\d+)\.`)

// ntpsec follows the server with sid's ntpd.
func (c *cell) ntpsec() string {
	source := "server " + serverName(c.server)
	if c.protocol.nts() {
		name, port := c.keyServer()
		if port != "" {
			name += ":" + port
		}
		source = "server " + name + " nts ca " + c.s.ca
	}
	if c.protocol == v3 {
		source += " version 3"
	}
	p := c.start("ntpd as client", c.sid("usr/sbin/ntpd", "-n", "-c", c.file("client.conf", ntpsecCommon+source+" iburst minpoll 0 maxpoll 1\n")))
	var log string
	c.t.Cleanup(func() {
		if b, _ := os.ReadFile(c.path("ntpd.log")); c.t.Failed() {
			c.t.Logf("--- ntpd.log\n%s", b)
		}
	})
	want := uint64(statusReachable | statusAuthentic) // set without authentication, too
	if c.protocol.nts() {
		want |= statusAuthEnabled
	}
	p.Until("a good measurement in peerstats", func() bool {
		b, _ := os.ReadFile(c.path("peerstats"))
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 8 || f[2] != c.timeServer() {
				continue
			}
			status, err := strconv.ParseUint(f[3], 16, 16)
			if err == nil && status&(statusReachable|statusAuthEnabled|statusAuthentic) == want {
				return true
			}
		}
		return false
	})
	if !c.protocol.nts() {
		return ""
	}
	b, _ := os.ReadFile(c.path("ntpd.log"))
	log = string(b)
	m := agreedByNTPsec.FindStringSubmatch(log)
	if m == nil {
		c.t.Fatalf("no word on the algorithm in\n%s", log)
	}
	return c.agreed(m[1])
}

const ntpdRSFollowing = `
[source-defaults]
poll-interval-limits = { min = 0, max = 0 }
initial-poll-interval = 0
[observability]
log-level = "debug"
observation-path = "{dir}/client.sock"
[synchronization]
minimum-agreeing-sources = 1
`

// ntpdRS follows the server with ntpd-rs, which believes that it sets the clock.
func (c *cell) ntpdRS() string {
	wire := c.sniff()
	line := c.sid("usr/bin/ntp-daemon", "-c", c.file("client.toml", c.source()+ntpdRSFollowing))
	p := c.start("ntpd-rs as client", append([]string{"env", "NOCLOCK=1"}, line...))
	s := p.WaitSnapshot(c.path("client.sock"), "measured source", func(s *observe.Snapshot) bool {
		return len(s.Sources) == 1 && s.Sources[0].UnansweredPolls == 0 && s.Sources[0].Delay < 1 && s.System.LeapIndicator == "NoWarning"
	})
	src := s.Sources[0]
	if nts := src.NTSCookies != nil; nts != c.protocol.nts() || src.Address != c.timeServer()+":123" {
		c.t.Errorf("source %+v", src)
	}
	p.WaitLog(`kalman: Offset: `)
	if !c.protocol.nts() {
		return ""
	}
	// It offers 17 and 15 in this order and has no setting for it, so the column AEAD 15 shows what came of that.
	switch algorithm := wire.algorithm(suite.Patience); {
	case algorithm != "15" && algorithm != "17":
		c.t.Errorf("ntpd-rs uses AEAD %q", algorithm)
		return ""
	case algorithm == "15" && c.protocol == aead15:
		return ""
	default:
		return ", AEAD " + algorithm
	}
}

// beevik asks once with beevik/ntp inside ntp-ctl query, which brings the NTS.
func (c *cell) beevik() string {
	args := []string{"query", "--json"}
	target, version := serverName(c.server), 4
	if c.protocol == v3 {
		args, version = append(args, "-V", "3"), 3
	}
	if c.protocol.nts() {
		name, port := c.keyServer()
		if target = name; port != "" {
			target += ":" + port
		}
		args = append(args, "--nts", "--ca", c.s.ca)
		if n := c.protocol.number(); n != 0 {
			args = append(args, "--aead", strconv.Itoa(n))
		}
	}
	out, err := c.ns.Command(suite.Program(c.t, "ntp-ctl"), append(args, target)...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("ntp-ctl: %v\n%s", err, out)
	}
	var answers []struct {
		Address string
		NTS     bool
		AEAD    int
		Version int
		Error   string
	}
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != 1 {
		c.t.Fatalf("%v in\n%s", err, out)
	}
	a := answers[0]
	if a.Error != "" || a.NTS != c.protocol.nts() || a.Version != version || a.Address != c.timeServer()+":123" {
		c.t.Errorf("%s", out)
	}
	if !a.NTS {
		return ""
	}
	return c.agreed(strconv.Itoa(a.AEAD))
}
