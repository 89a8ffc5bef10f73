package poolke

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/metrics"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/poolpage"
	"ntp-daemon/internal/poolview"
)

// adminURL is where the log says that the admin listener is.
func (w *testPool) adminURL() string {
	w.t.Helper()
	var m []string
	eventually(w.t, func() bool {
		m = regexp.MustCompile(`admin listener on (http://[^/]+)/`).FindStringSubmatch(w.log.String())
		return m != nil
	})
	return m[1]
}

// page fetches one page and judges what all of them have in common.
func page(t *testing.T, method, url, host string) (code int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	client := http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// TestAdmin: what the pool knows can be read over HTTP, by those who are at this machine, and nothing secret is in there (P16).
func TestP16_AdminListener(t *testing.T) {
	w := newTestPool(t)
	w.cfg.Admin = netip.MustParseAddrPort("127.0.0.1:0")
	const token = "a token that nobody may see"
	w.dead("dead.example")
	w.real("good.example", token, nil)
	w.start()
	for range 2 * breakerFailures {
		if _, err := w.keyExchange([]aead.Algorithm{aead.SIVCMAC256}); err != nil {
			t.Fatal(err)
		}
	}
	w.requireCount(Served, 2*breakerFailures)
	base := w.adminURL()

	code, h, body := page(t, "GET", base+"/metrics", "")
	for _, want := range []string{
		"\nntspool_sessions_total{monitor=\"false\",outcome=\"served\"} 6\n", "\nntspool_session_seconds_count 6\n", "\nntspool_stage_seconds_count{stage=\"cookies\"} 6\n",
		"\nntspool_upstream_seconds_bucket{le=\"+Inf\"} 6\n", "\nntspool_aead_total{id=\"15\"} 6\n", "\nntspool_protocol_total{id=\"0\"} 6\n", "\nntspool_ready 1\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
	if code != 200 || h.Get("Content-Type") != metrics.ContentType {
		t.Errorf("/metrics: %d, %v", code, h)
	}
	shown := body

	code, h, body = page(t, "GET", base+"/status", "localhost:9976")
	var s observe.Snapshot
	if err := json.Unmarshal([]byte(body), &s); err != nil || code != 200 || h.Get("Content-Type") != "application/json" {
		t.Fatalf("/status: %d, %v, %v", code, h, err)
	}
	if s.Pool == nil || !s.Pool.Ready || s.Pool.Outcomes["served"] != 6 || s.Pool.Recent.Outcomes["served"] != 6 || len(s.Pool.Servers) != 2 ||
		s.Pool.SessionSeconds.P50 == nil || s.Pool.StageSeconds["proxy"].P50 != nil {
		t.Errorf("/status: %+v", s.Pool)
	}
	shown += body

	code, h, body = page(t, "GET", base+"/?refresh=30", "")
	if code != 200 || h.Get("Content-Type") != "text/html; charset=utf-8" || h.Get("Content-Security-Policy") != poolpage.Policy() ||
		h.Get("X-Frame-Options") != "DENY" || !strings.Contains(body, "good.example") || !strings.Contains(body, `content="30"`) {
		t.Errorf("/: %d, %v\n%s", code, h, body)
	}
	shown += body

	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		if code, _, body := page(t, "GET", base+path, ""); code != 200 || body != want {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	for _, secret := range []string{token, hex.EncodeToString([]byte(token)), base64.StdEncoding.EncodeToString([]byte(token)), "cookie\""} {
		if strings.Contains(shown, secret) {
			t.Errorf("%q is shown", secret)
		}
	}
}

// TestAdmin_OnlyReads: two methods, the pages of the list, the names of loopback.
func TestAdmin_OnlyReads(t *testing.T) {
	w := newTestPool(t)
	w.cfg.Admin = netip.MustParseAddrPort("127.0.0.1:0")
	w.start()
	base := w.adminURL()
	for _, path := range []string{"/", "/metrics", "/status", "/healthz", "/readyz"} {
		if code, _, body := page(t, "HEAD", base+path, ""); code != 200 && path != "/readyz" || body != "" {
			t.Errorf("HEAD %s: %d %q", path, code, body)
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
			if code, _, _ := page(t, method, base+path, ""); code != 405 {
				t.Errorf("%s %s: %d, want 405", method, path, code)
			}
		}
		if code, _, _ := page(t, "GET", base+path, "rebound.example"); code != http.StatusMisdirectedRequest {
			t.Errorf("%s for another host: %d", path, code)
		}
		if _, h, _ := page(t, "GET", base+path, ""); h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, h)
		}
	}
	for _, path := range []string{"/x", "/debug/pprof/", "/metrics/", "/status/..%2f..%2fetc/passwd", "/favicon.ico"} {
		if code, _, _ := page(t, "GET", base+path, ""); code != 404 {
			t.Errorf("%s: %d, want 404", path, code)
		}
	}
	if code, _, body := page(t, "GET", base+"/readyz", ""); code != 503 || body != "not ready: there are no time sources\n" {
		t.Errorf("/readyz without time sources: %d %q", code, body)
	}
}

// TestReadyz: what balancers ask every second is answered without a snapshot, and says what the snapshot says.
func TestReadyz(t *testing.T) {
	mux := adminHandler(func() *observe.Snapshot { t.Error("a snapshot was made"); return nil }, func() []string { return []string{"this", "that"} })
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, httptest.NewRequest("GET", "/readyz", nil))
	if rec.Code != 503 || rec.Body.String() != "not ready: this; that\n" {
		t.Errorf("%d %q", rec.Code, rec.Body)
	}
	w := newTestPool(t)
	w.fake("ts.example", healthy, nil)
	w.dead("gone.example")
	w.start()
	o := &observer{p: w.pool, loop: accept.New(accept.Config{}), started: time.Now()}
	for range 3 {
		if got, want := o.notReady(), o.snapshot().Pool.NotReady; !slices.Equal(got, want) {
			t.Errorf("%q, the snapshot says %q", got, want)
		}
		for i := range 2 {
			u := w.look(i, 0)
			for range breakerFailures {
				u.fail(time.Now(), errors.New("bad"))
			}
		}
	}
}

// TestAdmin_AddressTaken: users are served without the listener, and it comes up when its address is free.
func TestAdmin_AddressTaken(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := newTestPool(t)
	w.cfg.Admin = taken.Addr().(*net.TCPAddr).AddrPort()
	w.real("good.example", "", nil)
	w.start()
	if _, err := w.keyExchange(nil); err != nil {
		t.Error(err)
	}
	if want := "the admin listener on " + w.cfg.Admin.String() + " is down"; !strings.Contains(w.log.String(), want) {
		t.Errorf("the log lacks %q", want)
	}
	_ = taken.Close()
	within(t, "the admin listener is up again", func() bool { return strings.Contains(w.log.String(), "is up again") })
	if code, _, _ := page(t, "GET", "http://"+w.cfg.Admin.String()+"/healthz", ""); code != 200 {
		t.Errorf("code %d", code)
	}
}

// TestNotReady: each reason alone, and that the monitor's word and the breaker's count.
func TestNotReady(t *testing.T) {
	up := observe.PoolServer{Weight: 1, Families: []string{"ipv4", "ipv6"}, Breaker: observe.BreakerClosed}
	left := observe.PoolServer{Weight: 1, Families: []string{"ipv4", "ipv6"}, Breaker: observe.BreakerOpen}
	out := observe.PoolServer{Weight: 1, Families: []string{"ipv4", "ipv6"}, Breaker: observe.BreakerClosed, Monitored: &observe.MonitoredServer{Views: []observe.MonitorView{{Family: "ipv4"}, {Family: "ipv6"}}}}
	half := observe.PoolServer{Weight: 1, Families: []string{"ipv4", "ipv6"}, Breaker: observe.BreakerTrial, Monitored: &observe.MonitoredServer{Views: []observe.MonitorView{{Family: "ipv4"}, {Family: "ipv6", Usable: true}}}}
	w := newTestPool(t)
	leaf := w.cfg.Certificate.Leaf
	for _, c := range []struct {
		name    string
		stage   stage
		now     time.Time
		servers []observe.PoolServer
		want    string
	}{
		{"all is well", serving, time.Now(), []observe.PoolServer{left, up}, ""},
		{"one family", serving, time.Now(), []observe.PoolServer{out, half}, ""},
		{"before the start", starting, time.Now(), []observe.PoolServer{up}, "the pool has not begun to serve"},
		{"stopping", draining, time.Now(), []observe.PoolServer{up}, "the pool was told to stop"},
		{"nobody", serving, time.Now(), nil, "there are no time sources"},
		{"nobody drawn", serving, time.Now(), []observe.PoolServer{{Families: []string{"ipv4"}, Breaker: observe.BreakerClosed}, {Weight: 1, Breaker: observe.BreakerClosed}}, "no time source can be handed out"},
		{"nobody usable", serving, time.Now(), []observe.PoolServer{left, out}, "no time source can be handed out"},
		{"expired", serving, leaf.NotAfter.Add(time.Second), []observe.PoolServer{up}, "the certificate expired on " + leaf.NotAfter.UTC().Format(time.DateOnly)},
		{"too early", serving, leaf.NotBefore.Add(-time.Second), []observe.PoolServer{up}, "the certificate is not valid before " + leaf.NotBefore.UTC().Format(time.DateOnly)},
	} {
		p, err := New(w.cfg, Deps{Now: func() time.Time { return c.now }})
		if err != nil {
			t.Fatal(err)
		}
		p.stage.Store(int32(c.stage))
		if got := strings.Join(p.notReady(c.servers), "; "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestOutcomesAreExplained: the page has a meaning for each outcome, and no other words.
func TestOutcomesAreExplained(t *testing.T) {
	var names []string
	for o := range outcomes {
		names = append(names, o.String())
		if poolview.OutcomeMeaning(o.String()) == "" {
			t.Errorf("%v is not explained", o)
		}
	}
	if known := poolview.OutcomeNames(); len(known) != len(names) {
		t.Errorf("%v, want %v", known, names)
	}
}
