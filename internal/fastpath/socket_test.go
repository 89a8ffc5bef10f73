package fastpath

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestSocket: it is the daemon's user's alone, a stale one is replaced, and one that is served, or no socket, is not.
func TestSocket(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux, which says whose process the other end is")
	}
	path := filepath.Join(t.TempDir(), "folder", "xdp")
	ln, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if _, err := Listen(path); !errors.Is(err, ErrOccupied) {
		t.Errorf("a second daemon: %v", err)
	}
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 { // the look of the second daemon, and our own
		s, err := Accept(ln)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Listen(path)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	defer again.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); !errors.Is(err, ErrOccupied) {
		t.Errorf("a file: %v", err)
	}
}
