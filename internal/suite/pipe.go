package suite

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Pipe makes a named pipe that nobody writes to, and fails the test as soon as somebody has opened it for reading, which it lets
// go on.
func Pipe(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for told := false; ; {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
			if errors.Is(err, syscall.ENXIO) { // there is no reader
				continue
			}
			if err != nil {
				t.Error(err)
				return
			}
			_ = f.Close()
			if !told {
				t.Error("somebody waits for a writer of the pipe")
			}
			told = true
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
	return path
}
