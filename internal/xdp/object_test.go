package xdp

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestObject_Hashes: ntp.o was made when ntp.c was as it is now, and nobody has changed it since.
func TestObject_Hashes(t *testing.T) {
	sums, err := os.ReadFile("bpf/ntp.sum")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ntp.c", "ntp.o"} {
		b, err := os.ReadFile(filepath.Join("bpf", name))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		if line := hex.EncodeToString(sum[:]) + "  " + name + "\n"; !strings.Contains(string(sums), line) {
			t.Errorf("%s is not the one that bpf/ntp.sum names; run go generate ./internal/xdp", name)
		}
	}
}

// TestObject_Compiled: the compiler that bpf/ntp.sum names makes just this ntp.o of ntp.c.
func TestObject_Compiled(t *testing.T) {
	sums, err := os.ReadFile("bpf/ntp.sum")
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.Command("clang", "--version").Output()
	if err != nil {
		t.Skip("needs clang")
	}
	if line, _, _ := strings.Cut(string(version), "\n"); !strings.HasSuffix(string(sums), "\n"+line+"\n") {
		t.Skipf("needs the compiler that made ntp.o, this is %s", line)
	}
	if _, err := os.Stat("/usr/include/bpf/bpf_helpers.h"); err != nil {
		t.Skip("needs libbpf-dev")
	}
	out := filepath.Join(t.TempDir(), "ntp.o")
	if text, err := exec.Command("bpf/compile.sh", out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	fresh, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("bpf/ntp.o")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fresh, committed) {
		t.Error("ntp.c compiles to something else than ntp.o")
	}
}
