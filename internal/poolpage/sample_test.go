package poolpage

import (
	"math"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
)

// took is the time of day of the samples.
func took() time.Time { return time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC) }

func pointer(v float64) *float64 { return &v }

// durations are n events around a median in seconds.
func durations(n uint64, p50 float64) observe.Durations {
	return observe.Durations{Count: n, Sum: float64(n) * p50, P50: pointer(p50), P90: pointer(2.1 * p50), P99: pointer(5.3 * p50)}
}

// past is a history of 96 slots of a quarter of an hour in which bad tells how a slot was, from 0 (good) to 1; negative: no probe.
func past(bad func(i int) float64) observe.MonitorHistory {
	h := observe.MonitorHistory{SlotSeconds: 900, End: 300}
	for i := range 96 {
		b := bad(i)
		if b < 0 {
			h.Scores, h.Offsets, h.Probes, h.Failures = append(h.Scores, 0), append(h.Offsets, 0), append(h.Probes, 0), append(h.Failures, 0)
			continue
		}
		h.Scores = append(h.Scores, int(math.Round(20-120*b)))
		h.Offsets = append(h.Offsets, 0.0001*math.Sin(float64(i)/5)+0.03*b)
		h.Probes, h.Failures = append(h.Probes, 30), append(h.Failures, int(30*b))
	}
	return h
}

func good(i int) float64 { return 0.002 * float64(i%3) }

// view is what the monitor says of one family.
func monitorView(family string, usable bool, score float64, h observe.MonitorHistory) observe.MonitorView {
	v := observe.MonitorView{Family: family, Usable: usable, Verdict: observe.VerdictUsable, Score: score, Since: 86400 * 3, ProbeAge: 12,
		Outcome: "good", Answered: 12, Offset: 0.00009, Distance: 0.0102, Delay: 0.0119, History: h}
	if !usable {
		v.Verdict, v.Reason, v.Outcome, v.Failures = observe.VerdictOut, "3 probes failed: no answer over NTP", "timeout", 7
		v.Since, v.Answered = 5400, 5430
	}
	return v
}

// busy is a pool with a time source of every kind.
func busy() *observe.Snapshot {
	both := []string{"ipv4", "ipv6"}
	monitored := func(a, b observe.MonitorView, withheld ...uint16) *observe.MonitoredServer {
		m := &observe.MonitoredServer{Views: []observe.MonitorView{a, b}, Algorithms: []observe.MonitorAlgorithm{{Algorithm: 15, Usable: true}}}
		for _, id := range withheld {
			m.Algorithms = append(m.Algorithms, observe.MonitorAlgorithm{Algorithm: id, Failures: 3, Reason: "its cookies are not accepted"})
		}
		return m
	}
	fine := monitorView("ipv4", true, 19.8, past(good))
	fine6 := monitorView("ipv6", true, 20, past(good))
	dipped := monitorView("ipv4", true, 18.4, past(func(i int) float64 {
		return good(i) + 0.5*math.Exp(-math.Pow(float64(i-40)/5, 2))
	}))
	gap := monitorView("ipv6", true, 17, past(func(i int) float64 {
		if i < 20 || i > 50 && i < 60 {
			return -1
		}
		return good(i)
	}))
	gone := monitorView("ipv4", false, -40.2, past(func(i int) float64 { return 1 / (1 + math.Exp(float64(85-i)/3)) }))
	gone6 := monitorView("ipv6", false, -38, past(func(i int) float64 { return 1 / (1 + math.Exp(float64(85-i)/3)) }))
	servers := []observe.PoolServer{
		{ID: "nts1.example.net:4460", Server: "nts1.example.net:4460", Weight: 3, Families: both, Operator: "example.net", Regions: []string{"EUROPE", "NL"},
			Share: pointer(0.36), Expected: pointer(0.375), Breaker: observe.BreakerClosed, Known: true, Dialect: "iana", Protocols: []uint16{0},
			Algorithms: []uint16{15, 16, 30}, Exchanges: map[string]uint64{"served": 34120}, RTT: 0.0024, InFlight: 1, Idle: 2, Opened: 31, Reused: 34089, ListsAge: 140, Names: []string{"ntp1.example.net", "ntp2.example.net"}, CertificateNotAfter: took().Add(83 * 24 * time.Hour).Unix(), Monitored: monitored(fine, fine6)},
		{ID: "2f8c0c5e-2a5f-4c3d-9a34-5f9b6a1f0c11", Server: "time-a.example.org:4460", Weight: 2, Families: both, Regions: []string{"EUROPE", "DE"},
			Share: pointer(0.26), Expected: pointer(0.25), Breaker: observe.BreakerClosed, Known: true, Dialect: "iana", Protocols: []uint16{0},
			Algorithms: []uint16{15, 30}, Exchanges: map[string]uint64{"served": 23002, "no_algorithm": 4}, RTT: 0.0117, OneShot: true, Opened: 210, Resumed: 22794, ListsAge: 12, CertificateNotAfter: took().Add(9 * 24 * time.Hour).Unix(), Monitored: monitored(dipped, fine6, 30)},
		{ID: "nts.small.example:4460", Server: "nts.small.example:4460", Weight: 1, Families: both, Regions: []string{},
			Share: pointer(0.13), Expected: pointer(0.125), Breaker: observe.BreakerClosed, Known: true, Dialect: "token", Protocols: []uint16{0},
			Algorithms: []uint16{15}, Exchanges: map[string]uint64{"served": 11801, "server_failed": 2}, RTT: 0.0231, LastError: "timeout", ErrorAge: 7400,
			Monitored: monitored(monitorView("ipv4", false, -12, past(func(int) float64 { return -1 })), gap)},
		{ID: "ts7.example.org:4460", Server: "ts7.example.org:4460", Weight: 2, Families: both, Share: pointer(0), Expected: pointer(0),
			Breaker: observe.BreakerClosed, Known: true, Dialect: "cert", Protocols: []uint16{0}, Algorithms: []uint16{15, 16, 17},
			Exchanges: map[string]uint64{"served": 20871, "no_server": 3}, RTT: 0.0088, Monitored: monitored(gone, gone6)},
		{ID: "ts8.example.org:4460", Server: "ts8.example.org:4460", Weight: 2, Families: both, Share: pointer(0), Expected: pointer(0),
			Breaker: observe.BreakerOpen, OpenFor: 48, Failures: 4, Dialect: "cert", Algorithms: []uint16{15},
			Exchanges: map[string]uint64{"served": 20304, "no_server": 9}, LastError: "certificate", ErrorAge: 32, CertificateNotAfter: took().Add(-24 * time.Hour).Unix(), Monitored: monitored(fine, fine6)},
		{ID: "ts9.example.org:4460", Server: "ts9.example.org:4460", Weight: 2, Families: []string{"ipv4"}, Share: pointer(0.25), Expected: pointer(0.25),
			Breaker: observe.BreakerTrial, Failures: 3, Known: true, Dialect: "iana", Algorithms: []uint16{15},
			Exchanges: map[string]uint64{"served": 22004, "no_server": 3}, LastError: "connection", ErrorAge: 300, RTT: 0.031, Monitored: monitored(fine, gone6)},
		{ID: "spare", Server: "spare.example.org:4460", Weight: 0, Families: both, Share: pointer(0), Expected: pointer(0),
			Breaker: observe.BreakerClosed, Exchanges: map[string]uint64{}},
	}
	return &observe.Snapshot{
		Program: observe.Program{Version: "1.2.3", BuildCommit: "abc1234", BuildCommitDate: "2026-11-25", UptimeSeconds: 273725, Now: observe.At(ntp.FromTime(took()))},
		Pool: &observe.Pool{
			Address: "[::]:4460", Listener: "opened", Stage: "serving", Ready: true, NotReady: []string{}, Names: []string{"ntspool.example", "0.ntspool.example"}, Selection: "weighted",
			Connections: observe.Connections{Accepted: 134120, Full: 0, Prefix: 12, Evicted: 3, Open: 9, InUse: 6},
			Outcomes:    map[string]uint64{"served": 132102, "no_algorithm": 4, "tls_failed": 1804, "server_failed": 2, "bad_request": 31, "user_gone": 8},
			Recent: observe.PoolRecent{Seconds: 284, Outcomes: map[string]uint64{
				"served": 8801, "no_algorithm": 1, "tls_failed": 37, "user_gone": 1}},
			Algorithms: map[string]uint64{"15": 120001, "30": 12101}, Protocols: map[string]uint64{"0": 132102},
			Reload:         observe.PoolReload{Generation: 12, Age: 245},
			Limits:         observe.PoolLimits{Connections: 4096, PerPrefix: 16, Seconds: 5},
			SessionSeconds: durations(133947, 0.0042), UpstreamSeconds: durations(132104, 0.0024),
			StageSeconds: map[string]observe.Durations{
				"proxy": {}, "tls": durations(133900, 0.0011), "read": durations(132110, 0.0002), "select": durations(132110, 0.000003),
				"support": durations(132200, 0.000002), "cookies": durations(132104, 0.0025), "write": durations(132110, 0.00004),
			},
			CertificateNotAfter: took().Add(61*24*time.Hour + time.Hour).Unix(),
			Monitor: &observe.PoolMonitor{Rounds: 9100, VoidRounds: 1, RoundAge: 12, Reference: observe.ReferenceMembers, ReferenceVoices: 4, ClockOffset: 0.00003,
				Void: ""},
			Servers: servers,
		},
	}
}

// troubled is a pool that cannot serve, which says why.
func troubled() *observe.Snapshot {
	s := busy()
	p := s.Pool
	p.Ready, p.Stage, p.NotReady = false, "draining", []string{"the pool was told to stop"}
	p.Reload.Refused, p.Reload.Reason = 1, "servers.toml:14:1: unknown key \"wieght\""
	p.CertificateNotAfter = took().Add(5 * 24 * time.Hour).Unix()
	p.Connections.Panics, p.Connections.InUse = 1, 4000
	p.Recent.Outcomes["no_server"] = 400
	p.Monitor.Void, p.Monitor.ClockOutOfRange, p.Monitor.StoreErrors = "more than half of the time sources failed at once", true, 2
	return s
}

// young is a pool that has just been started, without monitor.
func young() *observe.Snapshot {
	return &observe.Snapshot{
		Program: observe.Program{Version: "1.2.3", UptimeSeconds: 2, Now: observe.At(ntp.FromTime(took()))},
		Pool: &observe.Pool{Address: "[::]:4460", Stage: "serving", NotReady: []string{"there are no time sources"}, Names: []string{"ntspool.example"},
			Selection: "round-robin", Limits: observe.PoolLimits{Connections: 4096, Seconds: 5}, CertificateNotAfter: took().Add(time.Hour * 24 * 80).Unix()},
	}
}
