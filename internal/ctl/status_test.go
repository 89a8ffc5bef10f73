package ctl

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"ntp-daemon/internal/metrics"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
)

// busy is a snapshot with every role and every block.
func busy() *observe.Snapshot {
	cookies := 7
	now := ntp.FromUnix(1795600000, 0)
	ago := func(s int64) observe.Time { return observe.At(ntp.FromUnix(1795600000-s, 0)) }
	return &observe.Snapshot{
		Program: observe.Program{Version: "1.2.3", UptimeSeconds: 3725.25, Now: observe.At(now)},
		System:  observe.System{Stratum: 3, RootDelay: 0.0125, LeapIndicator: "NoWarning"},
		Sources: []observe.Source{
			{Name: "ntp.example.org:4460", Address: "192.0.2.1:123", ID: 1, Offset: -0.0000012, Uncertainty: 1e-7, Delay: 0.0103,
				PollInterval: 6, NTSCookies: &cookies, Interleaved: true, Measured: true, Role: observe.RolePeer, Stratum: 2, Reach: 255, LastUpdate: ago(12)},
			{Name: "pool.example.org:123", Address: "192.0.2.3:123", ID: 13, Measured: true, Offset: 1.5, Uncertainty: 0.5, PollInterval: 10,
				Delay: 0.3, Role: observe.RoleFalseticker, Reason: "outside the consensus", Stratum: 1, Reach: 0o17, LastUpdate: ago(4000)},
			{Name: "pool.example.org:123", Address: "[2001:db8::1]:123", ID: 12, PollInterval: 4, Role: observe.RoleExcluded, Reason: "no answer yet"},
			{Name: "evil\x1b[2J:123", Address: "192.0.2.4:123", ID: 14, Measured: true, Offset: 0.002, Uncertainty: 0.001, PollInterval: -1,
				Role: observe.RoleSelected, Stratum: 2, Reach: 0o377, LastUpdate: ago(0)},
			{Name: "last.example.org:123", Address: "192.0.2.5:123", ID: 15, Measured: true, Offset: 0.004, Uncertainty: 0.001, PollInterval: 4,
				Role: observe.RoleCandidate, Reason: "too few agree", Stratum: 2, Reach: 1, LastUpdate: ago(1)},
		},
		Servers: []observe.Server{{Address: "[::]:123", Stats: observe.ServerStats{Received: 1234567, Accepted: 1234000, Denied: 2,
			Ignored: 3, RateLimited: 562, NTSReceived: 6, NTSAccepted: 5, NTSNAK: 1}, Dropped: 17, Interleaved: 1003,
			AnswersPerSecond: 4321, TransmitStamps: 99, TransmitError: &observe.TransmitError{Half: 1.2e-6, Most: 8.5e-6},
			FastPath: &observe.FastPath{Interface: "eth0", Mode: "driver", Reason: "a leap second is announced", Answered: 1200000, Listed: 2, Other: 1}}},
		Suite: observe.Suite{Synchronized: true, State: "synchronised", Clock: "virtual", Frequency: -12.5e-6, Reference: "192.0.2.1",
			RootDispersion: 0.0021, EstimateKnown: true, Offset: 2.5e-6, Uncertainty: 1e-6, FrequencyError: 1e-8, FrequencyUncertainty: 2e-8, Steps: 2,
			KeyExchange: map[string]uint64{"granted": 5, "bad record": 0}, KeySetAge: 3600,
			KeyExchangeServers: []observe.KeyExchangeServer{{Address: "[::]:4460", Kept: 2, CertificateNotAfter: 1795600000 + 5*86400, Connections: observe.Connections{Accepted: 5, Full: 1, Open: 3}}},
			Missing: []observe.MissingSource{
				{Name: "gone.example.org:4460", NTS: true, Count: 1, Reason: "key exchange failed: certificate has\x1b expired", Seconds: 17},
				{Name: "pool.example.org:123", Count: 2, Reason: "pool has no further servers", Seconds: 7200},
			},
			Pools: []observe.NTSPool{
				{Name: "ke.pool.example:4460", FoundBy: observe.FoundByKeyExchange, Want: 2, Wait: -1, Members: []observe.NTSPoolMember{
					{Server: "ts1.example", Address: "192.0.2.21:123"}, {Server: "ts2.example\x1b[2J", Address: "[2001:db8::22]:123"},
				}},
				{Name: "_ntske._tcp.srv.pool.example", FoundBy: observe.FoundBySRV, Want: 4, Wait: 871.5, Reason: "every server of the SRV records is in use",
					Members: []observe.NTSPoolMember{{Server: "a.example", Address: "192.0.2.31:123"}},
					Failed:  []observe.FailedServer{{Server: "b.example", Seconds: 2000}, {Server: "c.example", Seconds: 3500}}},
				{Name: "_ntske._tcp.unsigned.example", FoundBy: observe.FoundBySRV, Want: 1, Reason: "SRV look-up failed: not validated by DNSSEC"},
			},
			Parts: []observe.Part{{Name: "the NTP server on [::]:123", Up: true},
				{Name: "the NTS key exchange on 192.0.2.9:4460", Reason: "certificate expired on 2026-01-01; renew\x1b it", Down: 17},
				{Name: "the NTP server on 192.0.2.9:123", Reason: "no interface has the listen address"}},
			ConsensusLost: 1, LoopsDetected: 2,
			VirtualTruth: &observe.VirtualTruth{Offset: 3e-6, Frequency: -2e-8}},
	}
}

// pooling is a snapshot of nts-pool-ke.
func pooling() *observe.Snapshot {
	return &observe.Snapshot{
		Program: observe.Program{Version: "1.2.3", UptimeSeconds: 3725.25, Now: observe.At(ntp.FromUnix(1795600000, 0))},
		Pool: &observe.Pool{
			CertificateNotAfter: 1795600000 - 86400,
			Address:             "[::]:4460", Connections: observe.Connections{Accepted: 40, Full: 1, Prefix: 2, Evicted: 3, Errors: 4, Panics: 5, Open: 6, InUse: 7},
			Outcomes: map[string]uint64{"served": 20, "no_server": 0, "tls_failed": 3},
			Ready:    true, Stage: "serving", Names: []string{"ntspool.example"}, Selection: "weighted", Reload: observe.PoolReload{Generation: 12, Age: 245},
			Recent:         observe.PoolRecent{Seconds: 284, Outcomes: map[string]uint64{"served": 18, "tls_failed": 3}},
			SessionSeconds: observe.Durations{Count: 23, P50: some(0.0042), P90: some(0.009), P99: some(0.0223)},
			Limits:         observe.PoolLimits{Connections: 4096, PerPrefix: 16, Seconds: 5}, Monitor: &observe.PoolMonitor{Reference: observe.ReferenceMembers},
			Servers: []observe.PoolServer{
				{ID: "a.example:4460", Server: "a.example:4460", Weight: 3, Families: []string{"ipv4", "ipv6"}, Breaker: observe.BreakerClosed, Known: true,
					Dialect: "iana", Protocols: []uint16{0}, Algorithms: []uint16{15, 30}, Exchanges: map[string]uint64{"served": 20, "no_server": 0},
					RTT: 0.0117, Share: some(0.97), Expected: some(0.75), Regions: []string{"EUROPE", "NL"}, Operator: "example.net",
					Monitored: &observe.MonitoredServer{Views: []observe.MonitorView{
						{Family: "ipv4", Verdict: observe.VerdictUsable, Usable: true, Score: 19.8, Since: 7300, ProbeAge: 12, Outcome: "good", Answered: 12,
							Offset: 0.00009, Distance: 0.0102, Delay: 0.0119},
						{Family: "ipv6", Verdict: observe.VerdictOut, Score: -40.2, Since: 300, ProbeAge: 12, Outcome: "timeout", Failures: 7, Answered: 330,
							Offset: -0.001, Distance: 0.0102, Delay: 0.0119, Reason: "3 probes failed: no answer over NTP"},
					}, Algorithms: []observe.MonitorAlgorithm{{Algorithm: 15, Usable: true}, {Algorithm: 30, Failures: 3, Reason: "its cookies are not accepted"}}}},
				{ID: "b", Server: "b.example:8080", Weight: 1, Families: []string{"ipv4", "ipv6"}, Breaker: observe.BreakerOpen, OpenFor: 8, Failures: 3,
					Exchanges: map[string]uint64{"no_server": 3}, LastError: "timeout", ErrorAge: 2, Share: some(0), Expected: some(0)},
				{ID: "2f8c0c5e-2a5f-4c3d-9a34-5f9b6a1f0c11", Server: "a-time-source.of-a-long-name.in-a-department.example:4460", Weight: 1, Families: []string{"ipv4"},
					Breaker: observe.BreakerTrial, Failures: 4, Dialect: "cert", Algorithms: []uint16{15}, Share: some(0.03), Expected: some(0.25),
					Exchanges: map[string]uint64{"server_failed": 4}, LastError: "answer", ErrorAge: 90},
			},
		},
	}
}

func some(v float64) *float64 { return &v }

func starting() *observe.Snapshot {
	return &observe.Snapshot{
		Program: observe.Program{Version: "1.2.3", UptimeSeconds: 2},
		System:  observe.System{Stratum: 16, LeapIndicator: "Unsynchronized"},
		Suite:   observe.Suite{State: "unsynchronised", Clock: "observed"},
	}
}

func TestPlainStatus_Golden(t *testing.T) {
	golden(t, "status.txt", plainStatus(busy(), false))
	golden(t, "status-colour.txt", plainStatus(busy(), true))
	golden(t, "status-pool.txt", poolStatus(pooling(), false))
	empty := pooling()
	empty.Pool = &observe.Pool{Address: "[::]:4460", Stage: "draining"}
	golden(t, "status-pool-empty.txt", poolStatus(empty, false))
	golden(t, "status-starting.txt", plainStatus(starting(), false))
	refused := starting()
	refused.Suite.State, refused.Suite.Refusal, refused.Suite.Clock = "refused", "a step of 2000 s exceeds the limit", "system"
	golden(t, "status-refused.txt", plainStatus(refused, false))
	unserved := starting()
	unserved.Suite.Unserved = "the clock may be off by 2s; maximum-root-distance is 1.5s"
	if text := plainStatus(unserved, false); !strings.Contains(text, "Synchronised:  no: the clock may be off by 2s; maximum-root-distance is 1.5s\n") {
		t.Errorf("%s", text)
	}
	unset := starting()
	unset.Suite.ClockUnset, unset.Suite.KeySetProblem = true, "unusable cookie key file: dated in the future"
	golden(t, "status-unset.txt", plainStatus(unset, false))
}

func TestStatus_Formats(t *testing.T) {
	c := newConsole(t)
	path := observed(t, busy)
	config := writeFile(t, t.TempDir(), "ntp.toml", "[observability]\nobservation-path = \""+path+"\"\n")

	c.expect(t, c.run("status", "-c", config), 0, "Synchronised:  yes", "")
	c.expect(t, c.run("-c", config, "status"), 0, "Synchronised:  yes", "")
	c.expect(t, c.run("status", "-c"+config, "-fplain"), 0, "Synchronised:  yes", "")
	c.expect(t, c.run("status", "--socket", path), 0, "Synchronised:  yes", "")

	for _, args := range [][]string{{"--json"}, {"-f", "json"}} {
		if code := c.run(append([]string{"status", "-c", config}, args...)...); code != 0 {
			t.Fatalf("%v: exit %d", args, code)
		}
		var s observe.Snapshot
		if err := json.Unmarshal(c.out.Bytes(), &s); err != nil || len(s.Sources) != 5 || *s.Sources[0].NTSCookies != 7 {
			t.Errorf("%v: %v, %d sources", args, err, len(s.Sources))
		}
	}
	if code := c.run("status", "-f", "prometheus", "-c", config); code != 0 || c.out.String() != string(metrics.Append(nil, busy())) {
		t.Errorf("prometheus: exit %d, %d bytes", code, c.out.Len())
	}
	c.expect(t, c.run("status", "-f", "xml", "-c", config), 64, "", `format "xml"`)
	c.expect(t, c.run("status", "-f", "xml", "-s", filepath.Join(t.TempDir(), "nobody")), 64, "", `format "xml"`) // whoever runs
}

// The socket of a pool is told from that of a daemon, whether the file names it or the option.
func TestStatus_Pool(t *testing.T) {
	c := newConsole(t)
	path := observed(t, pooling)
	config := writeFile(t, t.TempDir(), "pool.toml", "[nts-pool-ke-server]\nlisten = \"[::]:4460\"\ncertificate-chain-path = \"../../test-keys/end.fullchain.pem\"\n"+
		"private-key-path = \"../../test-keys/end.key\"\nkey-exchange-servers = []\n[observability]\nobservation-path = \""+path+"\"\n")
	c.expect(t, c.run("status", "-c", config), 0, "TIME SOURCE", "")
	c.expect(t, c.run("status", "--socket", path), 0, "TIME SOURCE", "")
	if code := c.run("status", "--json", "--socket", path); code != 0 {
		t.Fatalf("exit %d", code)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(c.out.Bytes(), &members); err != nil || len(members) != 2 || members["nts_pool_ke"] == nil || members["program"] == nil {
		t.Errorf("%v: members %v", err, members)
	}
	if code := c.run("status", "-f", "prometheus", "-s", path); code != 0 || c.out.String() != string(metrics.Append(nil, pooling())) {
		t.Errorf("prometheus: exit %d, %d bytes", code, c.out.Len())
	}
	c.expect(t, c.run("wait-sync", "-s", path, "-t", "200ms"), 1, "", "steers no clock")
}

func TestStatus_Failures(t *testing.T) {
	c := newConsole(t)
	dir := t.TempDir()
	none := writeFile(t, dir, "none.toml", "")
	gone := writeFile(t, dir, "gone.toml", "[observability]\nobservation-path = \""+filepath.Join(dir, "gone")+"\"\n")
	bad := writeFile(t, dir, "bad.toml", "[observability]\nobservation-pfad = \"x\"\n")
	file := writeFile(t, dir, "file", "not a socket")

	c.expect(t, c.run("status", "-c", none), 78, "", "observation-path: is not set")
	c.expect(t, c.run("status", "-c", gone), 69, "", "is its program running")
	c.expect(t, c.run("status", "-c", bad), 78, "", "observation-pfad")
	c.expect(t, c.run("status", "-c", dir+"/missing.toml"), 78, "", "missing.toml")
	c.expect(t, c.run("status", "--socket", file), 69, "", file)
	c.expect(t, c.run("status", "more"), 64, "", `no argument "more"`)
	for _, line := range []string{c.err.String()} {
		if strings.Count(line, "\n") != 1 {
			t.Errorf("not one line: %q", line)
		}
	}
}

// A daemon that sends nonsense, or nothing, must not hang or crash the tool.
func TestX01_StatusOfABrokenDaemon(t *testing.T) {
	c := newConsole(t)
	for name, answer := range map[string][]byte{
		"nothing": {}, "short length": {0, 0}, "huge": {0x80, 0, 0, 0, 0, 0, 0, 0}, "garbage": {0, 0, 0, 0, 0, 0, 0, 3, 'a', 'b', 'c'},
	} {
		t.Run(name, func(t *testing.T) {
			path := unixServer(t, answer)
			c.expect(t, c.run("status", "--socket", path), 69, "", path)
		})
	}
}
