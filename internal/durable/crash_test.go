package durable

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// crashEnv makes this test binary the victim: a process that does nothing but rewrite the file it names.
const crashEnv = "DURABLE_CRASH_FILE"

// onceEnv makes it end after the first time.
const onceEnv = "DURABLE_CRASH_ONCE"

// crashBudget is how long the killing goes on; the deaths, some hundred, come at random moments of the write.
const crashBudget = 2 * time.Second

func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		rewriteForEver(path)
	}
	os.Exit(m.Run())
}

// sealed is content of a varying size that shows whether it is whole.
func sealed(n uint32) []byte {
	body := bytes.Repeat(fmt.Appendf(nil, "%08x", n), 1+int(n%1500))
	sum := sha256.Sum256(body)
	return append(sum[:], body...)
}

func whole(data []byte) bool {
	if len(data) < sha256.Size+8 {
		return false
	}
	return sha256.Sum256(data[sha256.Size:]) == [sha256.Size]byte(data[:sha256.Size])
}

func rewriteForEver(path string) {
	fmt.Println("writing")
	for {
		if err := WriteFile(path, sealed(rand.Uint32())); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		if os.Getenv(onceEnv) != "" {
			os.Exit(0)
		}
	}
}

func TestL01_KillAtAnyMoment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if err := WriteFile(path, sealed(0)); err != nil {
		t.Fatal(err)
	}
	var last []byte
	kills, changes := 0, 0
	for end := time.Now().Add(crashBudget); time.Now().Before(end); kills++ {
		killWriter(t, path)
		data, warnings, err := ReadFile(path, 1<<20)
		if err != nil || warnings != nil || !whole(data) {
			t.Fatalf("after kill %d: %d bytes, %q, %v", kills, len(data), warnings, err)
		}
		if !bytes.Equal(data, last) {
			changes++
		}
		last = data
	}
	if kills < 5 || changes < 2 {
		t.Errorf("only %d kills and %d changes: nothing was tested", kills, changes)
	}
	t.Logf("%d kills, %d of them after a completed write", kills, changes)
	if err := WriteFile(path, sealed(1)); err != nil {
		t.Fatal(err)
	}
	onlyFiles(t, filepath.Dir(path), "keys")
}

// killWriter starts a writer and kills it within a few of its writes.
func killWriter(t *testing.T, path string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, 8)
	if _, err := out.Read(ready); err != nil {
		t.Fatal(err)
	}
	time.Sleep(rand.N(4 * time.Millisecond)) // the random moment
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("writer ended by itself: %v", err)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Fatal("file is gone")
	}
}
