package interop_test

import (
	"cmp"
	"encoding/csv"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// What every chronyd of these tests has in common: no clock control (option -x), no privileges to drop, commands
// over a Unix socket only.
const chronyCommon = `
user root
cmdport 0
bindcmdaddress {dir}/cmd/chronyd.sock
pidfile {dir}/cmd/chronyd.pid
ntsdumpdir {dir}/dump
ntstrustedcerts {ca}
`

// chrony is a running chronyd.
type chrony struct {
	*suite.Proc
	l   *lab
	ask []string // chronyc
}

// startChrony runs bookworm's chronyd at the peer's end of the wire.
func (l *lab) startChrony(config string) *chrony {
	l.t.Helper()
	return l.startChronyOf([]string{peerProgram(l.t, chronydPath)}, []string{peerProgram(l.t, chronycPath)}, config)
}

// startChronyOfSid runs sid's chronyd there; without it the test is skipped.
func (l *lab) startChronyOfSid(config string) *chrony {
	l.t.Helper()
	sid := os.Getenv(sidEnv)
	if sid == "" {
		l.t.Skip("NTPD_SID does not name sid's programs; make interop does")
	}
	return l.startChronyOf(suite.WithoutClock(sid, "usr/sbin/chronyd"), []string{filepath.Join(sid, "run"), "usr/bin/chronyc", "-u", "root"}, config)
}

func (l *lab) startChronyOf(daemon, ask []string, config string) *chrony {
	l.t.Helper()
	for _, d := range []string{"cmd", "dump"} {
		if err := os.MkdirAll(l.path(d), 0o700); err != nil {
			l.t.Fatal(err)
		}
	}
	p := l.peer.Start(daemon[0], append(daemon[1:len(daemon):len(daemon)], "-x", "-d", "-f", l.file("chrony.conf", chronyCommon+config))...)
	p.Name = "chronyd"
	c := &chrony{Proc: p, l: l, ask: ask}
	p.Until("chronyd's command socket", func() bool {
		_, err := os.Stat(filepath.Join(l.dir, "cmd", "chronyd.sock"))
		return err == nil
	})
	return c
}

// report asks chronyc for one of its reports, in CSV form. nil while there is none.
func (c *chrony) report(args ...string) [][]string {
	c.l.t.Helper()
	line := append(c.ask[1:len(c.ask):len(c.ask)], "-c", "-n", "-h", c.l.path("cmd/chronyd.sock"))
	cmd := c.l.peer.Command(c.ask[0], append(line, args...)...)
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	r := csv.NewReader(strings.NewReader(string(out)))
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil {
		c.l.t.Fatalf("chronyc %v: %v in\n%s", args, err, out)
	}
	return rows
}

// field returns one column of the first row of a report.
func (c *chrony) field(column int, args ...string) string {
	rows := c.report(args...)
	if len(rows) == 0 || column >= len(rows[0]) {
		return ""
	}
	return rows[0][column]
}

// Columns of chronyc's reports.
const (
	authMode, authAlgorithm, authAttempts, authNAK, authCookies = 1, 3, 6, 7, 8
	sourceState, sourceReach                                    = 1, 5
	dataLeap, dataVersion, dataStratum, dataRefID, dataOffset   = 5, 6, 8, 15, 18
	dataTests, dataAuthenticated                                = 23, 27
)

// wantSamples is how many good measurements in a row a peer must have made.
const wantSamples = 4

// follows waits until chronyd has selected its only source and reached it some times in a row, and checks what it
// says of the last measurement.
func (c *chrony) follows(nts bool, version string) {
	c.l.t.Helper()
	c.Until("a selected source that was reached often", func() bool {
		reach, err := strconv.ParseUint(c.field(sourceReach, "sources"), 8, 16)
		return err == nil && bits.TrailingZeros64(^reach) >= wantSamples && c.field(sourceState, "sources") == "*"
	})
	rows := c.report("ntpdata")
	if len(rows) != 1 || len(rows[0]) <= dataAuthenticated {
		c.l.t.Fatalf("chronyc ntpdata: %q", rows)
	}
	d := rows[0]
	authenticated := map[bool]string{true: "Yes", false: "No"}[nts]
	for _, w := range []struct {
		what   string
		column int
		want   string
	}{
		{"leap status", dataLeap, "Normal"}, {"version", dataVersion, version}, {"stratum", dataStratum, "2"},
		{"reference", dataRefID, "7F7F0101"}, {"authenticated", dataAuthenticated, authenticated},
		{"NTP tests 1 to 3", dataTests, "111"}, {"NTP tests 5 to 7", dataTests + 1, "111"},
	} {
		if d[w.column] != w.want {
			c.l.t.Errorf("chronyd's %s is %s, want %s", w.what, d[w.column], w.want)
		}
	}
	// Test A is about the packet, D about loops; B and C compare the delay with earlier ones, which is not ours to promise.
	if abcd := d[dataTests+2]; len(abcd) != 4 || abcd[0] != '1' || abcd[3] != '1' {
		c.l.t.Errorf("chronyd's NTP tests A to D are %s", abcd)
	}
	c.Until("a small offset between two readers of one clock", func() bool { // of any sample: the machine may be busy
		o, err := strconv.ParseFloat(c.field(dataOffset, "ntpdata"), 64)
		return err == nil && math.Abs(o) < smallOffset
	})
	if nts {
		c.protected("15")
	}
}

// protected checks the state of the only source's NTS association. One cookie is away while a request is under way.
func (c *chrony) protected(algorithm string) {
	c.l.t.Helper()
	var a []string
	c.Until("association with 8 cookies", func() bool {
		rows := c.report("authdata")
		if len(rows) != 1 || len(rows[0]) <= authCookies {
			return false
		}
		a = rows[0]
		return a[authCookies] == "8"
	})
	if a[authMode] != "NTS" || a[authAlgorithm] != algorithm || a[authAttempts] != "0" || a[authNAK] != "0" {
		c.l.t.Errorf("chronyc authdata: %q, want NTS, AEAD %s, no attempts, no NAK", a, algorithm)
	}
}

func TestInterop_ChronyNTSClientOfServer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.startServer()
	l.startChrony("server {oursName} nts iburst minpoll 0 maxpoll 1\n").follows(true, "4")
	s, ke, _ := l.server()
	if ke["served"] != 1 || s.NTSAccepted < wantSamples || s.NTSAccepted != s.Received || s.NTSNAK != 0 {
		t.Errorf("our counters: %+v, key exchange %v", s, ke)
	}
	done(t, row{1, "chronyd", "client of ntp-daemon", "NTS, AEAD 15", "authenticated, 8 cookies kept, one key exchange, no NAK"})
}

func TestInterop_ChronyNTSClientOfPool(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.startServer()
	pool := l.startPool()
	l.startChrony("server {poolName} nts ntsport {poolPort} iburst minpoll 0 maxpoll 1\n").follows(true, "4")
	l.throughPool(pool)
	done(t, row{1, "chronyd", "client of nts-pool-ke", "NTS, AEAD 15", "authenticated by the member that the pool chose, 8 cookies kept"})
}

// TestInterop_D3_48_ChronyThroughPool: a chronyd that knows record 1024, with each algorithm that it can be told to ask for
// and with what it asks for by itself: its keys of AEAD 30 are those that the pool exported, so no packet is refused.
func TestInterop_D3_48_ChronyThroughPool(t *testing.T) {
	for _, tc := range []struct{ option, algorithm string }{
		{"", "30"}, {"ntsaeads 30", "30"}, {"ntsaeads 15", "15"}, {"ntsaeads 15 30", "15"}, {"ntsaeads 30 15", "30"},
	} {
		t.Run(cmp.Or(tc.option, "by itself"), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.startServer()
			pool := l.startPool()
			c := l.startChronyOfSid("server {poolName} nts ntsport {poolPort} iburst minpoll 0 maxpoll 1\n" + tc.option + "\n")
			c.Until("a selected source that was reached often", func() bool {
				reach, err := strconv.ParseUint(c.field(sourceReach, "sources"), 8, 16)
				return err == nil && bits.TrailingZeros64(^reach) >= wantSamples && c.field(sourceState, "sources") == "*"
			})
			c.protected(tc.algorithm)
			l.throughPool(pool)
		})
	}
}

// throughPool checks that one client came to our server through our pool.
func (l *lab) throughPool(pool *suite.Proc) {
	l.t.Helper()
	suite.InOrder(l.t, "pool", pool.Log(), `received records from the client`, `checking supported algorithms for 'ours.test:4460'`,
		`established connection to the server`, `received supported algorithms from the NTS KE server`,
		`fetching cookies from the NTS KE server`, `received cookies from the NTS KE server`, `wrote records for client`)
	s, ke, _ := l.server()
	if ke["served"] != 0 || ke["fixed_key_served"] != 1 || ke["support_served"] == 0 || s.NTSAccepted < wantSamples || s.NTSNAK != 0 {
		l.t.Errorf("our counters: %+v, key exchange %v", s, ke)
	}
}

// Time on another host and port than the keys.
func TestInterop_ChronyOtherPort(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.startServerElsewhere()
	l.startChrony("server {poolName} nts iburst minpoll 0 maxpoll 1\n").follows(true, "4")
	done(t, row{1, "chronyd", "client of ntp-daemon", "NTS, AEAD 15", "follows the records Server and Port"})
}

func TestInterop_ChronyPlainClient(t *testing.T) {
	for _, tc := range []struct{ name, options, version string }{
		{"v4", "", "4"},
		{"v3", " version 3", "3"},
		{"interleaved mode asked for", " xleave", "4"},
		{"experimental field F323", " extfield F323", "4"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.startServer()
			l.startChrony("server {ours} iburst minpoll 0 maxpoll 1"+tc.options+"\n").follows(false, tc.version)
			s, _, _ := l.server()
			if s.Accepted < wantSamples || s.Accepted != s.Received || s.NTSReceived != 0 {
				t.Errorf("our counters: %+v", s)
			}
			what := "selected, all its tests passed"
			if tc.options != "" {
				what += ", chronyd's option" + tc.options
			}
			done(t, row{1, "chronyd", "client of ntp-daemon", "NTP version " + tc.version, what})
		})
	}
}

// One socket for both families: the answer comes from the address that was asked.
func TestInterop_ChronyPlainClientIPv6(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.ours.IP("addr", "add", "fd18::1/64", "dev", l.wire(l.ours), "nodad")
	l.ours.IP("addr", "add", "fd18::2/64", "dev", l.wire(l.ours), "nodad")
	l.peer.IP("addr", "add", "fd18::9/64", "dev", l.wire(l.peer), "nodad")
	l.startServer(`"{ours}:123"`, `"[::]:123"`)
	l.startChrony("server fd18::2 iburst minpoll 0 maxpoll 1\n").follows(false, "4")
	done(t, row{1, "chronyd", "client of ntp-daemon", "NTP version 4, IPv6", "selected, the server listens on [::] and has two addresses"})
}

// A router or w32tm that has us as a peer asks in symmetric active mode; chronyd can do the same.
func TestInterop_ChronySymmetricActive(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.startServer()
	l.startChrony("peer {ours} minpoll 0 maxpoll 1\n").follows(false, "4")
	done(t, row{1, "chronyd", "peer of ntp-daemon", "NTP version 4, symmetric active", "selected, all its tests passed"})
}

// A peer with a symmetric key gets an answer without a MAC, and must not believe it.
func TestInterop_ChronySymmetricKey(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.startServer()
	l.file("chrony.keys", "7 SHA1 HEX:31d2f70f2d3eb3e4d3a1b8f3c5a5f1d0c1b2a394\n")
	c := l.startChrony("keyfile {dir}/chrony.keys\nserver {ours} key 7 iburst minpoll 0 maxpoll 1\n")
	c.Until("answers to some requests with MAC", func() bool { s, _, _ := l.server(); return s.Accepted >= wantSamples })
	if reach := c.field(sourceReach, "sources"); reach != "0" {
		t.Errorf("chronyd believed an answer without MAC: reach %s", reach)
	}
	done(t, row{1, "chronyd", "client of ntp-daemon", "NTP version 4 with a symmetric key", "answered without MAC, chronyd refuses the answer"})
}

// One request, one look at the clock.
func TestInterop_ChronyOneShot(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.startServer()
	if err := os.MkdirAll(l.path("cmd"), 0o700); err != nil {
		t.Fatal(err)
	}
	p := l.peer.Start(peerProgram(t, chronydPath), "-x", "-Q", "-t", "20", "-f",
		l.file("chrony.conf", "user root\npidfile {dir}/cmd/pid\nntstrustedcerts {ca}\nserver {oursName} nts iburst\n"))
	if code := p.Exit(); code != 0 {
		t.Errorf("chronyd -Q ended with %d", code)
	}
	suite.InOrder(t, "chronyd", p.Log(), `System clock wrong by -?0\.00[0-9]* seconds \(ignored\)`)
	done(t, row{1, "chronyd -Q", "client of ntp-daemon", "NTS, AEAD 15", "prints the offset and ends with 0"})
}

// The keys outlive a restart; without them the client is told so, and exchanges keys again.
func TestInterop_ChronyKeyRotation(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	server := l.startServer()
	c := l.startChrony("server {oursName} nts iburst minpoll 0 maxpoll 1\n")
	c.follows(true, "4")

	server.Stop()
	server = l.startServer()
	server.Until("authenticated answers after the restart", func() bool { s, _, _ := l.server(); return s.NTSAccepted >= wantSamples })
	if s, ke, _ := l.server(); ke["served"] != 0 || s.NTSNAK != 0 {
		t.Errorf("chronyd needed new keys after a restart with a stored key set: %+v, %v", s, ke)
	}
	c.follows(true, "4")

	server.Stop()
	if err := os.Remove(l.path("keys")); err != nil {
		t.Fatal(err)
	}
	server = l.startServer()
	server.Until("NAK, key exchange and authenticated answers", func() bool {
		s, ke, v := l.server()
		return v["nak"] >= 1 && ke["served"] == 1 && s.NTSAccepted >= wantSamples
	})
	c.follows(true, "4")
	done(t, row{1, "chronyd", "client of ntp-daemon", "NTS, AEAD 15", "keeps its cookies over a restart; after loss of the keys NAK, then one new key exchange"})
}

// chronyd follows us, so we must not follow chronyd.
func TestInterop_ChronyLoop(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.startChrony("allow\nserver {ours} iburst minpoll 0 maxpoll 1\n")
	p := l.startServer("[synchronization]\n", `[[source]]
mode = "server"
address = "{peer}"
poll-interval-limits = { min = 0, max = 0 }
initial-poll-interval = 0
[synchronization]
minimum-agreeing-sources = 1
`)
	p.WaitSnapshot(l.path("server.sock"), "a source that follows us", func(s *observe.Snapshot) bool {
		return len(s.Sources) == 1 && s.Sources[0].Stratum == 3
	})
	c.follows(false, "4")
	s := p.WaitSnapshot(l.path("server.sock"), "local clock", func(s *observe.Snapshot) bool { return s.Suite.State == "local" })
	if src := s.Sources[0]; src.ReferenceID != oursAddr || src.Role == observe.RolePeer || s.System.Stratum != 2 {
		t.Errorf("source %+v, our stratum %d", src, s.System.Stratum)
	}
	t.Logf("the source is %s: %s", s.Sources[0].Role, s.Sources[0].Reason)
	done(t, row{2, "chronyd", "client and source of ntp-daemon at once", "NTP version 4", "the loop is seen, ntp-daemon does not follow its follower"})
}

// What chronyd needs to serve the machine's clock, plain and with NTS.
const chronyServer = `
allow
local stratum 5
ntsservercert {dir}/peer.test.pem
ntsserverkey {dir}/peer.test.key
`

func TestInterop_OurClientOfChrony(t *testing.T) {
	for _, nts := range []bool{false, true} {
		t.Run(modeName(nts), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.startChrony(chronyServer)
			l.ourClient(nts, 5)
			done(t, row{2, "chronyd", "server of ntp-daemon", modeName(nts), clientChecks})
		})
	}
	t.Run("other port", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		l.startChrony(chronyServer + "port 1123\nntsntpserver {peerName}\n")
		if _, src := l.ourClient(true, 5); src.Address != peerAddr+":1123" {
			t.Errorf("we ask %s", src.Address)
		}
		done(t, row{2, "chronyd", "server of ntp-daemon", modeName(true), "follows the records Server and Port; " + clientChecks})
	})
}

// chronyd comes back without its cookie keys: it answers with NAK, and we exchange keys again.
func TestInterop_OurClientOfForgetfulChrony(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.startChrony(chronyServer)
	p, before := l.ourClient(true, 5)
	c.Stop()
	if err := os.RemoveAll(l.path("dump")); err != nil {
		t.Fatal(err)
	}
	p.WaitSnapshot(l.path("client.sock"), "a lost reply", func(s *observe.Snapshot) bool { return s.Sources[0].Reach&1 == 0 })
	l.startChrony(chronyServer)
	s := p.WaitSnapshot(l.path("client.sock"), "replies with new cookies", func(s *observe.Snapshot) bool {
		return len(s.Sources) == 1 && s.Sources[0].Reach&0xf == 0xf && *s.Sources[0].NTSCookies == 8
	})
	if src := s.Sources[0]; src.Role != observe.RolePeer {
		t.Errorf("before %+v, after %+v", before, src)
	}
	done(t, row{2, "chronyd", "server of ntp-daemon that lost its keys", modeName(true), "after NAK new keys, followed again"})
}
