package daemon

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/observe"
)

// logLines is a log that a test reads while the daemon writes.
type logLines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// run starts a daemon with that configuration; stop ends it and reports its error.
func run(t *testing.T, text string) (d *Daemon, log *logLines, stop func() error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ntp.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	log = new(logLines)
	d, err = New(cfg, Deps{Log: zerolog.New(log), Rand: rand.Reader, OpenClock: openClock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, nil) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return d, log, stop
}

// eventually waits for what the daemon's other goroutines do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// TestObserver_NeverEndsADaemon: a socket without folder, one that another daemon has, and what is no socket cost the
// daemon its socket only, with a line that names path and remedy; the other daemon keeps its own.
func TestObserver_NeverEndsADaemon(t *testing.T) {
	dir := t.TempDir()
	conf := func(path string) string {
		return "[observability]\nobservation-path = \"" + path + "\"\n[synchronization]\nclock = \"virtual\"\n"
	}
	shared := filepath.Join(dir, "observe")
	_, _, stopFirst := run(t, conf(shared))
	owner := func() float64 {
		s, err := observe.Read(t.Context(), shared)
		if err != nil {
			return -1
		}
		return s.Program.UptimeSeconds
	}
	eventually(t, "the first daemon's socket", func() bool { return owner() >= 0 })
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "no", "such", "observe")
	for path, remedy := range map[string]string{
		shared: "change observation-path, or stop that process", file: "change observation-path, or remove it",
		missing: "create the folder or change observation-path",
	} {
		d, log, stop := run(t, conf(path))
		if down := d.observe.Down(); down == nil || !strings.Contains(down.Reason, path) || !strings.Contains(down.Reason, remedy) {
			t.Errorf("%s: %+v", path, down)
		}
		if path == missing { // it comes by itself once that is mended
			if err := os.MkdirAll(filepath.Dir(missing), 0o755); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the socket in the new folder", func() bool { _, err := observe.Read(t.Context(), missing); return err == nil })
		}
		if err := stop(); err != nil || strings.Count(log.String(), "is down") != 1 {
			t.Errorf("%s: %v, %s", path, err, log.String())
		}
	}
	if owner() < 0 {
		t.Error("the first daemon lost its socket")
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	if err := stopFirst(); err != nil {
		t.Error(err)
	}
}
