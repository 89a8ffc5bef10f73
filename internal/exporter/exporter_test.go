package exporter

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/metrics"
	"ntp-daemon/internal/observe"
)

func snapshot() *observe.Snapshot {
	return &observe.Snapshot{System: observe.System{Stratum: 3, LeapIndicator: "NoWarning"}, Suite: observe.Suite{Synchronized: true, State: "synchronised", Clock: "system"}}
}

// start runs an exporter whose daemon serves what next returns; nil means that there is no daemon.
func start(t *testing.T, next func() *observe.Snapshot) (addr string, stop func() error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "observe")
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	if next != nil {
		uds, err := observe.Listen("observation-path", path, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { _ = observe.Serve(ctx, uds, next, zerolog.Nop()) })
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ln, path, zerolog.Nop()) }()
	stop = sync.OnceValue(func() error {
		cancel()
		wg.Wait()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String(), stop
}

func get(t *testing.T, method, url string) (code int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
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
	if !resp.Close {
		t.Errorf("%s: the connection stays open", url)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestMetrics(t *testing.T) {
	addr, _ := start(t, snapshot)
	want := string(metrics.Append(nil, snapshot()))
	for _, path := range []string{"/metrics", "/", "/metrics?name[]=x"} {
		code, h, body := get(t, "GET", addr+path)
		if code != 200 || body != want || h.Get("Content-Type") != metrics.ContentType || !strings.HasPrefix(h.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %d, %v, %d bytes", path, code, h, len(body))
		}
	}
	if code, _, body := get(t, "HEAD", addr+"/metrics"); code != 200 || body != "" {
		t.Errorf("HEAD: %d", code)
	}
}

func TestX05_UnknownPathsAndMethods(t *testing.T) {
	addr, _ := start(t, snapshot)
	for _, path := range []string{"/debug/pprof", "/debug/pprof/", "/debug/pprof/profile?seconds=30", "/debug/vars", "/favicon.ico", "/metrics/x", "/livez/x"} {
		if code, _, _ := get(t, "GET", addr+path); code != 404 {
			t.Errorf("%s: %d, want 404", path, code)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE"} {
		if code, _, _ := get(t, method, addr+"/metrics"); code != 405 {
			t.Errorf("%s: %d, want 405", method, code)
		}
	}
	if code, _, _ := get(t, "GET", addr+"//metrics/../debug/pprof"); code == 200 {
		t.Error("path tricks reach something")
	}
}

func TestNoDaemon(t *testing.T) {
	addr, _ := start(t, nil)
	if code, _, body := get(t, "GET", addr+"/metrics"); code != 500 || body != "" {
		t.Errorf("%d %q, want 500 and no body", code, body)
	}
	if code, _, body := get(t, "GET", addr+"/livez"); code != 200 || body != "ok\n" {
		t.Errorf("livez: %d %q", code, body)
	}
	code, _, body := get(t, "GET", addr+"/readyz")
	var r readiness
	if err := json.Unmarshal([]byte(body), &r); code != 503 || err != nil || r.Ready || !strings.Contains(r.Reason, "observe") {
		t.Errorf("readyz: %d %q", code, body)
	}
}

func TestReady(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*observe.Suite)
		code int
		want readiness
	}{
		{"synchronised", func(*observe.Suite) {}, 200, readiness{Ready: true, State: "synchronised"}},
		{"not yet", func(s *observe.Suite) { s.Synchronized, s.State = false, "unsynchronised" }, 503,
			readiness{State: "unsynchronised", Reason: "the clock is not synchronised"}},
		{"refused", func(s *observe.Suite) {
			s.Synchronized, s.State, s.Refusal = false, "refused", "a step of 2000 s exceeds the limit"
		}, 503,
			readiness{State: "refused", Reason: "a step of 2000 s exceeds the limit"}},
		{"unset", func(s *observe.Suite) { s.Synchronized, s.State, s.ClockUnset = false, "unsynchronised", true }, 503,
			readiness{State: "unsynchronised", Reason: "the clock is unset"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, _ := start(t, func() *observe.Snapshot { s := snapshot(); tt.edit(&s.Suite); return s })
			code, h, body := get(t, "GET", addr+"/readyz")
			var r readiness
			if err := json.Unmarshal([]byte(body), &r); err != nil || code != tt.code || r != tt.want || h.Get("Content-Type") != "application/json" {
				t.Errorf("%d %q %v", code, body, h)
			}
		})
	}
}

// closedWithin reports how long it took until the server closed the connection.
func closedWithin(t *testing.T, c net.Conn, limit time.Duration) {
	t.Helper()
	begin := time.Now()
	_ = c.SetReadDeadline(begin.Add(limit))
	if _, err := io.Copy(io.Discard, c); err != nil {
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("still open after %v", limit)
		}
	}
}

func TestX05_SlowClientsAreClosed(t *testing.T) {
	addr, _ := start(t, snapshot)
	dial := func(send string) net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, send); err != nil {
			t.Fatal(err)
		}
		return c
	}
	var wg sync.WaitGroup
	for name, send := range map[string]string{
		"silent": "", "header without end": "GET /metrics HTTP/1.1\r\nHost: x\r\nX-A: ", "body that never comes": "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
	} {
		c := dial(send)
		wg.Go(func() {
			defer c.Close()
			t.Log(name)
			closedWithin(t, c, 10*time.Second)
		})
	}
	wg.Go(func() { // a byte now and then does not buy time
		c := dial("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		defer c.Close()
		begin := time.Now()
		for time.Since(begin) < 10*time.Second {
			if _, err := io.WriteString(c, "a"); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond) // is the attack
		}
		t.Error("slow loris still connected after 10 s")
	})
	wg.Wait()
}

// counted is a listener that knows how many of its connections are open, and how many were at most.
type counted struct {
	net.Listener
	open, most atomic.Int32
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error { c.closed(); return c.Conn.Close() }

func (l *counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.most.Store(max(l.most.Load(), l.open.Add(1))) // only one accepts
	return &countedConn{c, sync.OnceFunc(func() { l.open.Add(-1) })}, nil
}

// Idle connections take 100 places and no more; the next scrape waits for their timeout and is then answered.
func TestX05_ConnectionsAreCapped(t *testing.T) {
	uds := filepath.Join(t.TempDir(), "observe")
	daemon, err := observe.Listen("observation-path", uds, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &counted{Listener: tcp}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = observe.Serve(ctx, daemon, snapshot, zerolog.Nop()) })
	wg.Go(func() { _ = serve(ctx, l, uds, zerolog.Nop()) })
	for range 150 {
		c, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if code, _, _ := get(t, "GET", tcp.Addr().String()+"/metrics"); code != 200 {
		t.Errorf("code %d", code)
	}
	if n := l.most.Load(); n != 100 {
		t.Errorf("%d of 150 idle connections at once, want 100", n)
	}
}

func TestX05_EndOfInputAndGarbage(t *testing.T) {
	addr, _ := start(t, snapshot)
	for name, send := range map[string]string{
		"nothing": "", "half a line": "GET /me", "garbage": "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "large header": "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 1<<16) + "\r\n\r\n",
		"no host": "GET /metrics HTTP/1.1\r\n\r\n",
	} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, send)
		_ = c.(*net.TCPConn).CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		line, _ := bufio.NewReader(c).ReadString('\n')
		if strings.Contains(line, " 200 ") {
			t.Errorf("%s: answered %q", name, line)
		}
		_ = c.Close()
	}
	if code, _, _ := get(t, "GET", addr+"/metrics"); code != 200 {
		t.Errorf("code %d afterwards", code)
	}
}

func TestServe_StopsInOrder(t *testing.T) {
	addr, stop := start(t, snapshot)
	idle, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	begin := time.Now()
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if d := time.Since(begin); d > 4*time.Second {
		t.Errorf("took %v", d)
	}
	if _, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		t.Error("still listening")
	}
}

// TestPool: a pool is ready if it says so, and its families are the pool's.
func TestPool(t *testing.T) {
	p := observe.Pool{Outcomes: map[string]uint64{"served": 3}, Ready: true, Stage: "serving"}
	addr, _ := start(t, func() *observe.Snapshot { s := p; return &observe.Snapshot{Pool: &s} })
	if code, _, body := get(t, "GET", addr+"/readyz"); code != 200 || !strings.Contains(body, `"ready":true,"state":"serving"`) {
		t.Errorf("readyz: %d %q", code, body)
	}
	if code, _, body := get(t, "GET", addr+"/metrics"); code != 200 || !strings.Contains(body, "\nntspool_sessions_total{monitor=\"false\",outcome=\"served\"} 3\n") ||
		strings.Contains(body, "ntp_system_") {
		t.Errorf("metrics: %d %q", code, body)
	}
	draining, _ := start(t, func() *observe.Snapshot {
		return &observe.Snapshot{Pool: &observe.Pool{Stage: "draining", NotReady: []string{"the pool was told to stop"}}}
	})
	if code, _, body := get(t, "GET", draining+"/readyz"); code != 503 || !strings.Contains(body, `"state":"draining","reason":"the pool was told to stop"`) {
		t.Errorf("readyz: %d %q", code, body)
	}
}
