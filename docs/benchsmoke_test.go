package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestBenchSmoke_NotRoot: who is not root hears so, and nothing is unpacked or run. Whoever asks id is told another user; what make
// would build first is taken for built.
func TestBenchSmoke_NotRoot(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "id"), []byte("#!/bin/sh\necho 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("make", "-s", "-C", root, "-o", "build/serverbench.test", "-o", "build/ntpload", "bench-smoke")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if want := "bench-smoke: needs root, nothing is tried\n"; err != nil || string(out) != want {
		t.Errorf("%v: %q, want %q", err, out, want)
	}
}
