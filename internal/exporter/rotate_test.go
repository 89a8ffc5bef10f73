package exporter

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/suite"
)

// holds waits until the file has a line with the text.
func holds(t *testing.T, path, text string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(b), text) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no %q in %s: %q, %v", text, path, b, err)
		}
	}
}

// SIGHUP opens the log anew, so that it can be rotated by renaming; where that fails, the old file hears of it and
// stays in use. The exporter goes on in any case.
func TestMain_ReopensItsLog(t *testing.T) {
	dir := t.TempDir()
	log, conf := filepath.Join(dir, "log"), filepath.Join(dir, "ntp.toml")
	text := fmt.Sprintf("[observability]\nobservation-path = %q\nmetrics-exporter-listen = \"127.0.0.1:%d\"\n"+
		"log-path-metrics-exporter = %q\n[[server]]\nlisten = \"127.0.0.1:1123\"\n", filepath.Join(dir, "observe"), suite.FreePort(t), log)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	hup, done := make(chan os.Signal), make(chan error, 1)
	go func() { done <- Main(ctx, conf, hup) }()
	holds(t, log, "starting ntp-metrics-exporter")

	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	hup <- syscall.SIGHUP
	holds(t, log, "opens the log file anew")
	if b, _ := os.ReadFile(log); strings.Contains(string(b), "starting") {
		t.Errorf("the new file has the old lines: %s", b)
	}

	if err := os.Rename(log, log+".2"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(log, 0o700); err != nil {
		t.Fatal(err)
	}
	hup <- syscall.SIGHUP
	holds(t, log+".2", "was not opened anew")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Without a log file SIGHUP has nothing to open, and does not say that it did.
func TestRotate_WithoutFile(t *testing.T) {
	var log strings.Builder
	ctx, cancel := context.WithCancel(t.Context())
	hup, done := make(chan os.Signal), make(chan struct{})
	go func() { defer close(done); rotate(ctx, hup, nil, zerolog.New(&log)) }()
	hup <- syscall.SIGHUP
	cancel()
	<-done
	if !strings.Contains(log.String(), "nothing to do") || strings.Contains(log.String(), "opens the log file anew") {
		t.Error(log.String())
	}
}
