package interop_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/beevik/ntp"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// beevikTimeout is how long a query that must stay without answer is waited for.
const beevikTimeout = 300 * time.Millisecond

// query asks with beevik/ntp; a panic in there is an error of the peer.
func query(address string, opt ntp.QueryOptions) (r *ntp.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("beevik/ntp panicked: %v", p)
		}
	}()
	if opt.Timeout == 0 {
		opt.Timeout = 5 * time.Second
	}
	return ntp.QueryWithOptions(address, opt)
}

// loopbackServer runs ntp-daemon on a free port and returns its address and its observation socket.
func loopbackServer(t *testing.T, synchronization string) (p *suite.Proc, address, socket string) {
	t.Helper()
	address = fmt.Sprintf("127.0.0.1:%d", suite.FreePort(t))
	socket = shortDir(t) + "/sock"
	p, _ = suite.Daemon(t, fmt.Sprintf(`
[observability]
observation-path = %q
[[server]]
listen = %q
%s`, socket, address, synchronization))
	p.WaitSnapshot(socket, "snapshot", func(*observe.Snapshot) bool { return true })
	return p, address, socket
}

const island = `
[synchronization]
clock-control = false
local-stratum = 3
`

func TestInterop_Beevik(t *testing.T) {
	t.Parallel()
	_, address, socket := loopbackServer(t, island)
	const key = "HEX:6931564b4a5a5045766c55356b30656c"
	for _, tc := range []struct {
		name     string
		opt      ntp.QueryOptions
		validate error  // of an answer
		silence  string // verdict that is counted when there is no answer
	}{
		{name: "version 4"},
		{name: "version 3", opt: ntp.QueryOptions{Version: 3}},
		{name: "version 4, asks for version 5", opt: ntp.QueryOptions{RequestSupportedVersions: true}},
		{name: "version 5 (draft 09)", opt: ntp.QueryOptions{Version: 5}, silence: "wrong_version"},
		{name: "version 4, MD5", opt: ntp.QueryOptions{Auth: ntp.AuthOptions{Type: ntp.AuthMD5, Key: key, KeyID: 7}}, validate: ntp.ErrAuthFailed},
		{name: "version 3, MD5", opt: ntp.QueryOptions{Version: 3, Auth: ntp.AuthOptions{Type: ntp.AuthMD5, Key: key, KeyID: 7}}, validate: ntp.ErrAuthFailed},
		{name: "version 4, SHA-1", opt: ntp.QueryOptions{Auth: ntp.AuthOptions{Type: ntp.AuthSHA1, Key: key, KeyID: 7}}, validate: ntp.ErrAuthFailed},
		{name: "version 4, AES-CMAC", opt: ntp.QueryOptions{Auth: ntp.AuthOptions{Type: ntp.AuthAES128, Key: key, KeyID: 0xffffffff}}, validate: ntp.ErrAuthFailed},
		{name: "version 4, SHA-512 cut to 20 bytes", opt: ntp.QueryOptions{Auth: ntp.AuthOptions{Type: ntp.AuthSHA512, Key: key, KeyID: 7}}, validate: ntp.ErrAuthFailed},
		{name: "version 3, SHA-512", opt: ntp.QueryOptions{Version: 3, Auth: ntp.AuthOptions{Type: ntp.AuthSHA512, Key: key, KeyID: 7}}, silence: "bad_trailer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.silence != "" {
				tc.opt.Timeout = beevikTimeout
				before := suite.Snapshot(socket).Suite.Verdicts[tc.silence]
				if r, err := query(address, tc.opt); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("answered with %+v, %v, want silence", r, err)
				}
				if after := suite.Snapshot(socket).Suite.Verdicts[tc.silence]; after != before+1 {
					t.Errorf("counted as %s: %d", tc.silence, after-before)
				}
				done(t, row{3, "beevik/ntp", "client of ntp-daemon", tc.name, "no answer, counted as " + tc.silence})
				return
			}
			r, err := query(address, tc.opt)
			if err != nil && (tc.validate == nil || !errors.Is(err, tc.validate)) {
				t.Fatal(err)
			}
			if err := r.Validate(); !errors.Is(err, tc.validate) {
				t.Fatalf("Validate: %v, want %v", err, tc.validate)
			}
			plausible(t, r, tc.opt.Version, 3, "127.127.1.1")
			what := "valid answer; version, stratum, leap, reference, offset as expected"
			if tc.validate != nil {
				what = "answered without MAC, beevik/ntp says \"" + tc.validate.Error() + "\""
			}
			done(t, row{3, "beevik/ntp", "client of ntp-daemon", tc.name, what})
		})
	}
	if s := suite.Snapshot(socket); s.Suite.Verdicts["panicked"] != 0 {
		t.Errorf("our server panicked: %v", s.Suite.Verdicts)
	}
}

// plausible checks an answer of a server whose clock is this machine's; version 0 means 4, as in a query.
func plausible(t *testing.T, r *ntp.Response, version int, stratum uint8, reference string) {
	t.Helper()
	if version == 0 {
		version = 4
	}
	if r.Version != version || r.Stratum != stratum || r.Leap != ntp.LeapNoWarning || r.ReferenceString() != reference {
		t.Errorf("version %d, stratum %d, leap %d, reference %s; want %d, %d, 0, %s",
			r.Version, r.Stratum, r.Leap, r.ReferenceString(), version, stratum, reference)
	}
	if r.ClockOffset.Abs() > 10*time.Millisecond || r.RTT < 0 || r.RTT > time.Second || r.RootDispersion > time.Second {
		t.Errorf("offset %v, round trip %v, root dispersion %v", r.ClockOffset, r.RTT, r.RootDispersion)
	}
	if r.Precision <= 0 || r.Precision > time.Millisecond {
		t.Errorf("precision %v", r.Precision)
	}
	if age := time.Since(r.ReferenceTime); age < 0 || age > time.Minute*2 {
		t.Errorf("reference time is %v old", age)
	}
}

// Three daemons on one host, each following the one before.
func TestInterop_Cascade(t *testing.T) {
	t.Parallel()
	_, address, _ := loopbackServer(t, island)
	for level := range uint8(2) {
		p, next, socket := loopbackServer(t, fmt.Sprintf(`
[[source]]
mode = "server"
address = %q
poll-interval-limits = { min = 0, max = 0 }
initial-poll-interval = 0
[synchronization]
minimum-agreeing-sources = 1
clock = "virtual"
virtual-offset = 0.1
`, address))
		p.WaitSnapshot(socket, "synchronised daemon", func(s *observe.Snapshot) bool { return s.Suite.Synchronized })
		r, err := query(next, ntp.QueryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
		plausible(t, r, 4, 4+level, "127.0.0.1")
		address = next
	}
	done(t, row{3, "ntp-daemon", "client of ntp-daemon, three in a row", "NTP version 4", "the stratum grows by one with each, no false loop"})
}

// A server that does not know the time says so.
func TestInterop_BeevikUnsynchronised(t *testing.T) {
	t.Parallel()
	_, address, _ := loopbackServer(t, "[synchronization]\nclock-control = false\n")
	r, err := query(address, ntp.QueryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err == nil || r.Leap != ntp.LeapNotInSync {
		t.Errorf("an unsynchronised server passes for a good one: leap %d, stratum %d", r.Leap, r.Stratum)
	}
	done(t, row{3, "beevik/ntp", "client of ntp-daemon without sources", "NTP version 4", "leap 3, beevik/ntp refuses the answer"})
}
