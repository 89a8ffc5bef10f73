package metrics

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// busy is a snapshot with something in every family.
func busy() *observe.Snapshot {
	cookies, threshold := 7, 1800.0
	base := ntp.FromUnix(1795600000, 0)
	return &observe.Snapshot{
		Program: observe.Program{Version: "1.2.3", BuildCommit: "abc1234", BuildCommitDate: "2026-11-25",
			UptimeSeconds: 3725.25, Now: observe.At(base.Add(4e9))},
		System: observe.System{Stratum: 3, ReferenceID: 0x7f000001, AccumulatedStepsThreshold: &threshold, RootDelay: 0.0125,
			RootVarianceBaseTime: observe.At(base), RootVarianceBase: 9e-6, RootVarianceLinear: 4e-6,
			LeapIndicator: "Leap61", AccumulatedSteps: 0.25},
		Sources: []observe.Source{
			{Name: "ntp.example.org:4460", Address: "192.0.2.1:123", ID: 1, Offset: -0.0000012, Uncertainty: 1e-7, Delay: 0.0103,
				RemoteDelay: 0.001, RemoteUncertainty: 0.0005, UnansweredPolls: 0, PollInterval: 6, NTSCookies: &cookies,
				Measured: true, Role: observe.RolePeer, Stratum: 2, Reach: 255},
			{Name: "odd \"name\"\\\n:123", Address: "[2001:db8::1]:123", ID: 12, UnansweredPolls: 8, PollInterval: 4,
				Role: observe.RoleExcluded, Reason: "no answer yet"},
			{Name: "b:123", Address: "192.0.2.3:123", ID: 13, Measured: true, Offset: 1.5, Uncertainty: 0.5, PollInterval: -1,
				Role: observe.RoleFalseticker, Stratum: 1, Reach: 0o17},
		},
		Servers: []observe.Server{
			{Address: "[::]:123", Stats: observe.ServerStats{Received: 1 << 40, Accepted: 10, Denied: 2, Ignored: 3, RateLimited: 4,
				SendErrors: 5, NTSReceived: 6, NTSAccepted: 7, NTSDenied: 8, NTSRateLimited: 9, NTSNAK: 11}, Dropped: 12,
				AnswersPerSecond: 13, TransmitStamps: 14, TransmitError: &observe.TransmitError{Half: 1.5e-6, Most: 9e-6},
				FastPath: &observe.FastPath{Interface: "eth0", Mode: "driver", Answered: 9, Resting: 1, Listed: 2, Other: 3}},
			{Address: "127.0.0.1:1123"},
		},
		Suite: observe.Suite{Synchronized: true, State: "synchronised", Clock: "virtual", Frequency: -12.5e-6,
			EstimateKnown: true, Offset: 2.5e-6, Uncertainty: 1e-6, FrequencyError: 1e-8, FrequencyUncertainty: 2e-8, Steps: 1,
			RefusedSteps: map[string]uint64{"single-step-panic-threshold": 2}, UnauthenticatedSteps: 3.5, ClockUnset: true, KeySetStored: true,
			KeyExchange: map[string]uint64{"granted": 5, "bad record": 1}, Verdicts: map[string]uint64{"answered": 17, "bad length": 3},
			KeyExchangeServers: []observe.KeyExchangeServer{{Address: "[::]:4460", Kept: 8, KeyExports: 9, CPU: 1.5, OverBudget: 3, CertificateNotAfter: 1803816000,
				Connections: observe.Connections{Accepted: 40, Full: 1, Prefix: 2, Evicted: 3, Errors: 4, Panics: 5, Open: 6, InUse: 7}}},
			Missing: []observe.MissingSource{{Name: "gone.example:123", Count: 2, Reason: "no such host"}},
			Pools: []observe.NTSPool{
				{Name: "ke.pool.example:4460", FoundBy: observe.FoundByKeyExchange, Want: 2, Wait: -1, Members: []observe.NTSPoolMember{{Server: "a.example"}, {Server: "b.example"}}},
				{Name: "_ntske._tcp.srv.example", FoundBy: observe.FoundBySRV, Want: 4, Wait: 870.5, Members: []observe.NTSPoolMember{{Server: "a.example"}}, Failed: []observe.FailedServer{{Server: "c.example", Seconds: 2000}}},
			},
			Parts: []observe.Part{{Name: "the NTP server on [::]:123", Up: true},
				{Name: "the NTS key exchange on [::]:4460", Reason: "certificate expired", Down: 17}},
			ConsensusLost: 13, LoopsDetected: 14, WrongEpoch: 15, InLeap: 16,
			KeySetAge: 3600, VirtualTruth: &observe.VirtualTruth{Offset: 3e-6, Frequency: -2e-8}},
	}
}

// pooling is a snapshot of a pool.
func pooling() *observe.Snapshot {
	return &observe.Snapshot{
		Program: observe.Program{Version: "1.2.3", BuildCommit: "abc1234", BuildCommitDate: "2026-11-25", UptimeSeconds: 60},
		Pool: &observe.Pool{
			Address: "[::]:4460", Connections: observe.Connections{Accepted: 40, Full: 1, Prefix: 2, Evicted: 3, Errors: 4, Panics: 5, Open: 6, InUse: 7},
			CertificateNotAfter: 1803816000, Reload: observe.PoolReload{Generation: 4, Age: 30, Refused: 2, Reason: "servers.json:3:22: ends in the middle"},
			Outcomes: map[string]uint64{"served": 20, "no_server": 0, "tls_failed": 3},
			Monitors: map[string]uint64{"served": 2, "no_server": 1},
			Ready:    true, Stage: "serving", Limits: observe.PoolLimits{Connections: 4096, PerPrefix: 16, Seconds: 5},
			Denied: map[string]uint64{"honoured": 7, "ignored": 1, "unknown": 2}, Lookups: map[string]uint64{"found": 17, "unknown": 3, "error": 0},
			CountriesBuilt: 1790000000,
			Algorithms:     map[string]uint64{"15": 19, "30": 1}, Protocols: map[string]uint64{"0": 20},
			SessionSeconds:  took(23, 0.0012),
			StageSeconds:    map[string]observe.Durations{"tls": took(23, 0.0008), "cookies": took(20, 0.0003)},
			UpstreamSeconds: took(20, 0.00025),
			Monitor: &observe.PoolMonitor{Rounds: 100, VoidRounds: 2, RoundAge: 12.5, Reference: observe.ReferenceMembers, ReferenceVoices: 3,
				ClockOffset: -0.0005, AllOut: 4, StoreErrors: 5},
			Servers: []observe.PoolServer{
				{ID: "a.example:4460", Server: "a.example:4460", Weight: 1, Families: []string{"ipv4", "ipv6"}, Breaker: observe.BreakerClosed, Known: true, Dialect: "iana", Protocols: []uint16{0}, Algorithms: []uint16{15, 30},
					Exchanges: map[string]uint64{"served": 20, "no_server": 0}, Selected: map[string]uint64{"@": 15, "NL": 6}, RTT: 0.0125, InFlight: 2, Idle: 1, Opened: 3, Resumed: 4, Reused: 17, ListsAge: 33, OddCookies: 1, CertificateNotAfter: 1803816001,
					Monitored: &observe.MonitoredServer{
						Views: []observe.MonitorView{
							{Family: "ipv4", Verdict: observe.VerdictUsable, Usable: true, Score: 19.5, Offset: 0.0001, Distance: 0.01, Delay: 0.002},
							{Family: "ipv6", Verdict: observe.VerdictProbation, Score: 3, Failures: 2, Answered: -1},
						},
						Algorithms: []observe.MonitorAlgorithm{{Algorithm: 15, Usable: true}, {Algorithm: 30}},
					}},
				{ID: "b.example:8080", Server: "b.example:8080", Weight: 1, Families: []string{"ipv4", "ipv6"}, Breaker: observe.BreakerOpen, OpenFor: 8, Failures: 3, Exchanges: map[string]uint64{"no_server": 3},
					LastError: "timeout", ErrorAge: 2},
				{ID: "c.example:4460", Server: "c.example:4460", Weight: 1, Families: []string{"ipv4", "ipv6"}, Breaker: observe.BreakerTrial, Failures: 4, Dialect: "cert", Algorithms: []uint16{15},
					Exchanges: map[string]uint64{"server_failed": 4}, LastError: "answer", ErrorAge: 90},
			},
		},
	}
}

// TestPool_SameNameTwice: no series is there twice, even if the list names a time source twice, as the first program's may.
func TestPool_SameNameTwice(t *testing.T) {
	s := pooling()
	s.Pool.Servers = append(s.Pool.Servers, s.Pool.Servers[0], s.Pool.Servers[0])
	seen := map[string]bool{}
	text := string(Append(nil, s))
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, "} ")
		if seen[name] && !strings.HasPrefix(line, "#") {
			t.Errorf("twice: %s", line)
		}
		seen[name] = true
	}
	for _, want := range []string{`ntspool_server_up{server="a.example:4460"} 1`, `ntspool_server_up{server="a.example:4460#2"} 1`, `ntspool_server_up{server="a.example:4460#3"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

// took is n events of the same length in seconds.
func took(n uint64, each float64) observe.Durations {
	d := observe.Durations{Count: n, Sum: float64(n) * each}
	for _, bound := range observe.DurationBounds() {
		if each <= bound {
			d.Buckets = append(d.Buckets, n)
		} else {
			d.Buckets = append(d.Buckets, 0)
		}
	}
	return d
}

func TestAppend_Golden(t *testing.T) {
	suite.Golden(t, "testdata/busy.txt", string(Append(nil, busy())))
	suite.Golden(t, "testdata/pool.txt", string(Append(nil, pooling())))
	suite.Golden(t, "testdata/empty.txt", string(Append(nil, &observe.Snapshot{System: observe.System{LeapIndicator: "Unsynchronized", Stratum: 16}})))
}

// The text is what Prometheus itself can read, and keeps its naming rules where they are ours to keep.
func TestAppend_PrometheusReadsIt(t *testing.T) {
	problems, err := promlint.New(bytes.NewReader(Append(nil, busy()))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	more, err := promlint.New(bytes.NewReader(Append(nil, pooling()))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(problems, more...) {
		if strings.HasPrefix(p.Metric, "ntp_daemon_") || strings.HasPrefix(p.Metric, "ntspool_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// The names of ntpd-rs 1.9 in its order (docs/rules/control.md#metrics), written out once more.
func TestAppend_NamesAndOrderOfNtpdRs(t *testing.T) {
	want := strings.Fields(`
		ntp_uptime_seconds ntp_system_poll_interval_seconds ntp_system_accumulated_steps_seconds
		ntp_system_accumulated_steps_threshold_seconds ntp_system_leap_indicator ntp_system_root_delay_seconds
		ntp_system_root_dispersion_seconds ntp_system_stratum ntp_source_poll_interval_seconds ntp_source_unanswered_polls
		ntp_source_nts_cookies_available ntp_source_offset_seconds ntp_source_delay_seconds ntp_source_uncertainty_seconds
		ntp_source_root_delay_seconds ntp_source_root_dispersion_seconds ntp_server_received_packets_total
		ntp_server_accepted_packets_total ntp_server_denied_packets_total ntp_server_ignored_packets_total
		ntp_server_rate_limited_packets_total ntp_server_response_send_errors_total ntp_server_nts_received_packets_total
		ntp_server_nts_accepted_packets_total ntp_server_nts_denied_packets_total ntp_server_nts_rate_limited_packets_total
		ntp_server_nts_nak_packets_total`)
	var got []string
	for line := range strings.Lines(string(Append(nil, new(observe.Snapshot)))) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ = strings.Cut(name, " ")
			got = append(got, name)
		}
	}
	if len(got) < len(want) {
		t.Fatalf("%d families", len(got))
	}
	for _, name := range got[len(want):] {
		if !strings.HasPrefix(name, "ntp_daemon_") {
			t.Errorf("own family %s lacks the prefix", name)
		}
	}
	if d := cmp.Diff(want, got[:len(want)]); d != "" {
		t.Error(d)
	}
}

func TestFamilies_Declarations(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range slices.Concat(compatible, own, pool, monitored) {
		if seen[f.name] {
			t.Errorf("%s twice", f.name)
		}
		seen[f.name] = true
		if f.unit != none && !strings.HasSuffix(f.name, "_"+string(f.unit)) {
			t.Errorf("%s does not end in its unit %s", f.name, f.unit)
		}
		if (f.kind == counter) != strings.HasSuffix(f.name, "_total") {
			t.Errorf("%s: %s", f.name, f.kind)
		}
		if !strings.HasSuffix(f.help, ".") || strings.ContainsAny(f.help, "\n\\") {
			t.Errorf("%s: help %q", f.name, f.help)
		}
	}
}

func TestAppendValue(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		want string
	}{
		{0, "0"}, {math.Copysign(0, -1), "0"}, {-1, "-1"}, {16, "16"}, {0.1, "0.1"}, {1e-9, "0.000000001"},
		{1e21, "1000000000000000000000"}, {-2.5e-7, "-0.00000025"}, {1.0 / 3, "0.3333333333333333"},
		{math.Inf(1), "+Inf"}, {math.Inf(-1), "-Inf"}, {math.NaN(), "NaN"},
	} {
		if got := string(appendValue(nil, tt.v)); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.v, got, tt.want)
		}
	}
}

func TestRootDispersion(t *testing.T) {
	s := busy()
	if got := RootDispersion(s); math.Abs(got-0.005) > 1e-12 { // sqrt(9e-6 + 4·4e-6)
		t.Errorf("extrapolated: %v", got)
	}
	s.Program.Now = observe.At(ntp.Timestamp(s.System.RootVarianceBaseTime.Timestamp).Add(-5e9))
	if got := RootDispersion(s); got != 0.003 {
		t.Errorf("clock behind the base time: %v", got)
	}
	s.System.RootVarianceBase = -1
	if got := RootDispersion(s); got != 0 {
		t.Errorf("negative variance: %v", got)
	}
	if got := RootDispersion(&observe.Snapshot{Suite: observe.Suite{RootDispersion: 0.5}}); got != 0.5 {
		t.Errorf("no base time: %v", got)
	}
}

func FuzzAppendLabels(f *testing.F) {
	f.Add("a\"b\\c\nd")
	f.Add("\xff\xfe")
	f.Fuzz(func(t *testing.T, value string) {
		line := appendLabels([]byte("m"), []label{{"l", value}})
		line = append(appendValue(append(line, ' '), 1), '\n')
		if _, err := promlint.New(bytes.NewReader(append([]byte("# TYPE m gauge\n"), line...))).Lint(); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	})
}
