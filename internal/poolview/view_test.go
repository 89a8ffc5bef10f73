package poolview

import (
	"strings"
	"testing"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
)

func seen(edit func(*observe.PoolServer)) *observe.PoolServer {
	m := &observe.PoolServer{ID: "a.example:4460", Server: "a.example:4460", Weight: 1, Families: []string{"ipv4", "ipv6"}, Breaker: observe.BreakerClosed,
		Known: true, Dialect: "iana", Algorithms: []uint16{15, 30}}
	edit(m)
	return m
}

// views are the monitor's words of both families.
func views(v4, v6 string) *observe.MonitoredServer {
	m := &observe.MonitoredServer{}
	for i, verdict := range []string{v4, v6} {
		v := observe.MonitorView{Family: []string{"ipv4", "ipv6"}[i], Verdict: verdict, Score: 20, Answered: 5, ProbeAge: 5, Since: 60, Outcome: "good"}
		v.Usable = verdict == observe.VerdictUsable || verdict == observe.VerdictUnknown
		if !v.Usable {
			v.Reason, v.Score = "3 probes failed", -40
		}
		m.Views = append(m.Views, v)
	}
	return m
}

// TestHealth: what counts first, in every state.
func TestHealth(t *testing.T) {
	for _, tt := range []struct {
		name      string
		edit      func(*observe.PoolServer)
		word      string
		tone      Tone
		handedOut bool
		why       string
	}{
		{"fine", func(*observe.PoolServer) {}, "up", Good, true, ""},
		{"failing", func(m *observe.PoolServer) { m.Failures = 2 }, "up", Notice, true, "failed twice in a row"},
		{"open", func(m *observe.PoolServer) { m.Breaker, m.Failures, m.OpenFor = observe.BreakerOpen, 3, 8 }, "left alone", Bad, false, "failed 3 times in a row, tried again in 8 s"},
		{"open, and out", func(m *observe.PoolServer) {
			m.Breaker, m.Failures, m.Monitored = observe.BreakerOpen, 3, views(observe.VerdictOut, observe.VerdictOut)
		}, "left alone", Bad, false, "failed 3 times in a row, tried again now"},
		{"trial", func(m *observe.PoolServer) { m.Breaker, m.Failures = observe.BreakerTrial, 3 }, "on trial", Notice, true, "was left alone, one more failure and it is again"},
		{"weight 0", func(m *observe.PoolServer) { m.Weight = 0 }, "not drawn", Neutral, false, "weight 0: only monitors that name it get it"},
		{"no family", func(m *observe.PoolServer) { m.Families = nil }, "not drawn", Neutral, false, "ipv4 and ipv6 are both false"},
		{"nobody yet", func(m *observe.PoolServer) { m.Dialect, m.Known = "", false }, "unproven", Notice, true, "nobody has been sent there yet"},
		{"out", func(m *observe.PoolServer) { m.Monitored = views(observe.VerdictOut, observe.VerdictProbation) }, "out", Bad, false, "3 probes failed"},
		{"probation", func(m *observe.PoolServer) { m.Monitored = views(observe.VerdictProbation, observe.VerdictProbation) }, "on probation", Bad, false, "3 probes failed"},
		{"one family out", func(m *observe.PoolServer) { m.Monitored = views(observe.VerdictUsable, observe.VerdictOut) }, "IPv4 only", Notice, true, "IPv6: 3 probes failed"},
		{"one family never there", func(m *observe.PoolServer) { m.Monitored = views(observe.VerdictProbation, observe.VerdictUsable) }, "IPv6 only", Good, true, "IPv4: 3 probes failed"},
		{"the family that is out is not wanted", func(m *observe.PoolServer) {
			m.Families, m.Monitored = []string{"ipv4"}, views(observe.VerdictUsable, observe.VerdictOut)
		}, "up", Good, true, ""},
		{"judged later", func(m *observe.PoolServer) { m.Monitored = views(observe.VerdictUnknown, observe.VerdictUnknown) }, "unproven", Notice, true, "not probed often enough yet"},
	} {
		got := HealthOf(seen(tt.edit))
		if want := (Health{tt.word, tt.tone, tt.handedOut, tt.why}); got != want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
	}
}

// TestExplain: the sentences that matter, and a remedy for each class of failures.
func TestExplain(t *testing.T) {
	p := &observe.Pool{Selection: "weighted", Monitor: &observe.PoolMonitor{Reference: observe.ReferenceSources}}
	explain := func(edit func(*observe.PoolServer)) string {
		e := Explain(&observe.Snapshot{Pool: p}, seen(edit))
		return strings.Join(append(append([]string{e.Verdict}, e.Facts...), e.Try...), "\n")
	}
	want := func(text string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("%q is not in\n%s", part, text)
			}
		}
	}
	share, aim := 0.24, 0.25
	want(explain(func(m *observe.PoolServer) {
		m.ID, m.Share, m.Expected, m.Regions, m.Operator, m.RTT, m.InFlight = "first", &share, &aim, []string{"EUROPE", "NL"}, "example.net", 0.012, 2
		m.Exchanges, m.Monitored = map[string]uint64{"served": 7, "no_server": 0}, views(observe.VerdictUsable, observe.VerdictUsable)
		m.Monitored.Views[0].Offset, m.Monitored.Views[1].Offset = 0.00009, -0.002
		m.Monitored.Algorithms = []observe.MonitorAlgorithm{{Algorithm: 15, Usable: true}, {Algorithm: 30, Reason: "its cookies are refused"}}
	}), "a.example:4460 is handed out: up.", "Name: first in the configuration.", "Breaker: closed.", "Monitor, IPv4: usable for 1 min. Score 20.0 of 20",
		"Its clock is 90.0 µs ahead of the reference", "Its clock is 2.00 ms behind the reference", "AES-128-GCM-SIV is withheld from users, its cookies are refused",
		"weighted, weight 1, which aims at 25.0 % of the users; it served 24.0 %", "Regions: EUROPE, NL.", "Operator: example.net", "dialect iana, AES-SIV-CMAC-256 (15), AES-128-GCM-SIV (30).",
		"within 12.0 ms, smoothed; 2 under way", "Exchanges: served 7.")
	want(explain(func(m *observe.PoolServer) {
		m.Monitored = views(observe.VerdictOut, observe.VerdictOut)
		m.Monitored.Views[0].Answered, m.Monitored.Views[0].Failures, m.Monitored.Views[1].Wrong = 600, 4, 3
	}), "is NOT handed out: out, 3 probes failed.", "When it last answered, 10 min ago, its clock was equal to the reference", "Failed 4 times in a row.", "Wrong in 3 rounds in a row.")
	want(explain(func(m *observe.PoolServer) { m.Monitored, m.Known = nil, false }), "has not probed it yet", "; it is asked anew.")
	want(explain(func(m *observe.PoolServer) {
		m.ListsAge, m.Names, m.OddCookies, m.Idle, m.Reused, m.Opened, m.Resumed, m.CertificateNotAfter = 40, []string{"ntp1.example", "ntp2.example"}, 2, 1, 30, 2, 1, 1
	}), "told 40 s ago", "it hands out ntp1.example, ntp2.example", "Cookies: 2 of its answers", "1 kept for the next request; 30 requests on kept ones, 2 handshakes in full and 1 resumed.", "Certificate: ended on 1970-01-01")
	want(explain(func(m *observe.PoolServer) { m.Dialect, m.OneShot, m.Opened = "cert", true, 1 }), "it keeps none, so TLS sessions are resumed", "Ours: it knows this pool by its certificate, which ended")
	for _, class := range []string{"timeout", "name", "connection", "certificate", "tls", "dialect", "refused", "answer"} {
		text := Explain(&observe.Snapshot{Pool: p}, seen(func(m *observe.PoolServer) {
			m.Breaker, m.Failures, m.LastError, m.ErrorAge = observe.BreakerOpen, 3, class, 12
		}))
		if len(text.Try) == 0 || FaultMeaning(class) == class {
			t.Errorf("%s: no remedy or no meaning: %+v", class, text)
		}
	}
	for server, command := range map[string]string{"a.example:4460": "ntp-ctl query --nts a.example", "a.example:4461": "ntp-ctl query --nts a.example:4461"} {
		text := Explain(&observe.Snapshot{Pool: p}, seen(func(m *observe.PoolServer) { m.Server, m.Failures, m.LastError = server, 1, "connection" }))
		if len(text.Try) == 0 || !strings.HasSuffix(text.Try[0], command) {
			t.Errorf("%s: try %q", server, text.Try)
		}
	}
	p.Monitor = nil
	want(explain(func(m *observe.PoolServer) { m.Dialect, m.Families = "", []string{"ipv6"} }), "Monitor: none.", "Abilities: not known yet", "only users of IPv6")
}

func TestPercent(t *testing.T) {
	for v, want := range map[float64]string{0: "0 %", 1: "100 %", 0.00001: "< 0.1 %", 0.125: "12.5 %", 0.9956: "99.56 %", 0.999999: "99.99 %"} {
		if got := Percent(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

// TestHints: each thing that is wrong has a line, and a healthy pool none.
func TestHints(t *testing.T) {
	healthy := func() *observe.Snapshot {
		return &observe.Snapshot{Program: observe.Program{Now: observe.At(ntp.FromUnix(1795600000, 0))}, Pool: &observe.Pool{Ready: true, Servers: []observe.PoolServer{*seen(func(*observe.PoolServer) {})},
			Limits: observe.PoolLimits{Connections: 100}, Monitor: &observe.PoolMonitor{}, Recent: observe.PoolRecent{Outcomes: map[string]uint64{"served": 1000, "tls_failed": 500, "no_server": 3}}}}
	}
	if h := Hints(healthy()); len(h) != 0 {
		t.Errorf("a healthy pool: %v", h)
	}
	for want, edit := range map[string]func(*observe.Pool){
		"not ready: stopping":      func(p *observe.Pool) { p.NotReady = []string{"stopping"} },
		"in use: pool.toml:3: bad": func(p *observe.Pool) { p.Reload.Reason = "pool.toml:3: bad" },
		"the certificate of a.example:4460 ends on 2026-11-27, in 2 days": func(p *observe.Pool) { p.Servers[0].CertificateNotAfter = 1795600000 + 2*86400 + 7200 },
		"no database of countries":                                        func(p *observe.Pool) { p.Selection = "geographic" },
		"bugs met: 2":                                                     func(p *observe.Pool) { p.Connections.Panics = 2 },
		"failed by our fault":                                             func(p *observe.Pool) { p.Recent.Outcomes["server_failed"] = 100 },
		"90 of 100 places":                                                func(p *observe.Pool) { p.Connections.InUse = 90 },
		"certificate expired on 1970-01-01":                               func(p *observe.Pool) { p.CertificateNotAfter = 1 },
		"clock, which is probably wrong":                                  func(p *observe.Pool) { p.Monitor.ClockOutOfRange = true },
		"was not held against anybody: too many":                          func(p *observe.Pool) { p.Monitor.Void = "too many" },
		"could not be written to state-path 3 times":                      func(p *observe.Pool) { p.Monitor.StoreErrors = 3 },
		"a.example:4460 is left alone: failed once, tried":                func(p *observe.Pool) { p.Servers[0].Breaker, p.Servers[0].Failures = observe.BreakerOpen, 1 },
		"and 2 more are not handed out": func(p *observe.Pool) {
			m := *seen(func(m *observe.PoolServer) { m.Breaker = observe.BreakerOpen })
			p.Servers = []observe.PoolServer{m, m, m, m, m, m, m}
		},
	} {
		s := healthy()
		edit(s.Pool)
		var text strings.Builder
		for _, h := range Hints(s) {
			text.WriteString(h.Text + "\n")
		}
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}
