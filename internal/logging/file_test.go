package logging

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// Rotating by renaming loses no line, however many goroutines log meanwhile.
func TestFile_Reopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("from the run before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	log := New(Options{Level: zerolog.InfoLevel, Out: f})
	log.Info().Msg("first")

	const writers, each = 4, 200
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				log.Info().Msg("line")
			}
		})
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	log.Info().Msg("last")
	old, now := lines(t, path+".1"), lines(t, path)
	if old[0] != "from the run before" || !strings.Contains(old[1], `"first"`) || !strings.Contains(now[len(now)-1], `"last"`) {
		t.Errorf("old %q, new %q", old, now)
	}
	if n := len(old) + len(now); n != writers*each+3 {
		t.Errorf("%d lines in all", n)
	}
	if old[1][0] != '{' {
		t.Errorf("the format of a file is JSON, not %s", old[1])
	}
}

// A file that cannot be opened again costs nothing, and a pipe that nobody reads is not waited for.
func TestFile_ReopenFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, block := range []func() error{
		func() error { return os.Mkdir(path, 0o700) },
		func() error { return syscall.Mkfifo(path, 0o600) },
	} {
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		if err := block(); err != nil {
			t.Fatal(err)
		}
		if err := f.Reopen(); err == nil {
			t.Error("no error")
		}
		if _, err := f.Write([]byte("kept\n")); err != nil {
			t.Error(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".1", path); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, []byte("kept\nkept\n")) {
		t.Errorf("%q, %v", b, err)
	}
}

// TestOpenFile_Pipe: the start of a program does not wait for somebody who reads its log.
func TestOpenFile_Pipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() { _, err := OpenFile(path); opened <- err }()
	select {
	case err := <-opened:
		if !errors.Is(err, syscall.ENXIO) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits")
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte("line\n")); err != nil {
		t.Error(err)
	}
	b := make([]byte, 10)
	if n, err := reader.Read(b); string(b[:n]) != "line\n" {
		t.Errorf("%q, %v", b[:n], err)
	}
}
