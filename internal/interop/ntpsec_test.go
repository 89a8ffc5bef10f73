package interop_test

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"ntp-daemon/internal/suite"
)

// ntpd runs without clock control: it is not asked for it (disable ntp) and could not (CAP_SYS_TIME is taken away).
const ntpsecCommon = `
disable ntp
logfile {dir}/ntpd.log
statsdir {dir}/
statistics peerstats
filegen peerstats file peerstats type none enable
`

// ntpsec is a running ntpd.
type ntpsec struct {
	*suite.Proc
	l *lab
}

// startNTPsec runs ntpd at the peer's end of the wire.
func (l *lab) startNTPsec(config string) *ntpsec {
	l.t.Helper()
	p := l.peer.Start("setpriv", "--bounding-set", "-sys_time", peerProgram(l.t, ntpdPath), "-n", "-c",
		l.file("ntp.conf", ntpsecCommon+config))
	p.Name = "ntpd"
	l.t.Cleanup(func() {
		if log, _ := os.ReadFile(l.path("ntpd.log")); l.t.Failed() {
			l.t.Logf("--- ntpd.log\n%s", log)
		}
	})
	return &ntpsec{Proc: p, l: l}
}

// Bits of the peer status word in peerstats (RFC 9327, section 3.2).
const (
	statusAuthEnabled = 0x4000
	statusAuthentic   = 0x2000
	statusReachable   = 0x1000
)

// follows waits until ntpd has noted some measurements of our server, and checks the last one.
func (n *ntpsec) follows(nts bool) {
	n.l.t.Helper()
	var lines []string
	n.Until("measurements in peerstats", func() bool {
		b, _ := os.ReadFile(n.l.path("peerstats"))
		lines = strings.Split(strings.TrimSpace(string(b)), "\n")
		return len(lines) >= wantSamples
	})
	n.l.t.Logf("peerstats:\n%s", strings.Join(lines, "\n"))
	last := strings.Fields(lines[len(lines)-1])
	if len(last) < 8 || last[2] != oursAddr {
		n.l.t.Fatalf("peerstats: %q", last)
	}
	status, err := strconv.ParseUint(last[3], 16, 16)
	want := uint64(statusReachable | statusAuthentic) // set without authentication, too
	if nts {
		want |= statusAuthEnabled
	}
	if err != nil || status&(statusReachable|statusAuthEnabled|statusAuthentic) != want {
		n.l.t.Errorf("ntpd's status of our server is %s", last[3])
	}
	best := math.Inf(1) // the machine may be busy during some of the samples
	for _, line := range lines {
		if f := strings.Fields(line); len(f) > 4 {
			if o, err := strconv.ParseFloat(f[4], 64); err == nil {
				best = min(best, math.Abs(o))
			}
		}
	}
	if best > smallOffset {
		n.l.t.Errorf("ntpd measured an offset of at least %g s on one and the same clock", best)
	}
}

// agreed waits for ntpd's report of its key exchange.
func (n *ntpsec) agreed(algorithm, cookieLength int) {
	n.l.t.Helper()
	want := fmt.Sprintf("NTSc: Got 8 cookies, length %d, aead=%d.", cookieLength, algorithm)
	n.Until(want, func() bool {
		b, _ := os.ReadFile(n.l.path("ntpd.log"))
		return strings.Contains(string(b), want)
	})
}

// The algorithms that ntpd can be told to ask for.
var ntpsecAlgorithms = []struct {
	number, cookieLength int
	option               string
}{{15, 104, ""}, {16, 136, " aead AES_SIV_CMAC_384"}, {17, 168, " aead AES_SIV_CMAC_512"}}

func TestInterop_NTPsecNTSClientOfServer(t *testing.T) {
	for _, a := range ntpsecAlgorithms {
		t.Run(fmt.Sprint("AEAD ", a.number), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.startServer()
			n := l.startNTPsec("server {oursName} nts ca {ca} iburst minpoll 0 maxpoll 1" + a.option + "\n")
			n.agreed(a.number, a.cookieLength)
			n.follows(true)
			s, ke, _ := l.server()
			if ke["served"] != 1 || s.NTSAccepted < wantSamples || s.NTSAccepted != s.Received || s.NTSNAK != 0 {
				t.Errorf("our counters: %+v, key exchange %v", s, ke)
			}
			done(t, row{1, "ntpd", "client of ntp-daemon", fmt.Sprint("NTS, AEAD ", a.number), "authenticated, one key exchange, no NAK"})
		})
	}
}

func TestInterop_NTPsecNTSClientOfPool(t *testing.T) {
	for _, a := range ntpsecAlgorithms {
		t.Run(fmt.Sprint("AEAD ", a.number), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.startServer()
			pool := l.startPool()
			n := l.startNTPsec("server {poolName}:{poolPort} nts ca {ca} iburst minpoll 0 maxpoll 1" + a.option + "\n")
			n.agreed(a.number, a.cookieLength)
			n.follows(true)
			l.throughPool(pool)
			done(t, row{1, "ntpd", "client of nts-pool-ke", fmt.Sprint("NTS, AEAD ", a.number), "authenticated by the member that the pool chose"})
		})
	}
}

// Time on another host and port than the keys.
func TestInterop_NTPsecOtherPort(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.startServerElsewhere()
	l.startNTPsec("server {poolName}:4460 nts ca {ca} iburst minpoll 0 maxpoll 1\n").follows(true)
	done(t, row{1, "ntpd", "client of ntp-daemon", "NTS, AEAD 15", "follows the records Server and Port"})
}

func TestInterop_NTPsecPlainClient(t *testing.T) {
	for _, tc := range []struct{ name, options string }{{"4", ""}, {"3", " version 3"}} {
		t.Run("v"+tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.startServer("[[server]]\n", "[[server]]\naccept-ntp-versions = ["+tc.name+"]\n") // shows what ntpd sends
			l.startNTPsec("server {ours} iburst minpoll 0 maxpoll 1" + tc.options + "\n").follows(false)
			s, _, _ := l.server()
			if s.Accepted < wantSamples || s.Accepted != s.Received || s.NTSReceived != 0 {
				t.Errorf("our counters: %+v", s)
			}
			done(t, row{1, "ntpd", "client of ntp-daemon", "NTP version " + tc.name, "reachable, small offset"})
		})
	}
}

// What ntpd needs to serve the machine's clock, plain and with NTS: the orphan mode needs no reference.
const ntpsecServer = `
tos orphan 5 orphanwait 1
nts enable
nts cert {dir}/peer.test.pem
nts key {dir}/peer.test.key
nts cookie {dir}/cookies
`

func TestInterop_OurClientOfNTPsec(t *testing.T) {
	for _, nts := range []bool{false, true} {
		t.Run(modeName(nts), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.startNTPsec(ntpsecServer)
			l.ourClient(nts, 5)
			done(t, row{2, "ntpd", "server of ntp-daemon", modeName(nts), clientChecks})
		})
	}
}
