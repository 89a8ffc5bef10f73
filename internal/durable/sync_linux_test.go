package durable

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestWriteFile_SyncedBeforeAndAfterTheRename: what a power cut leaves cannot be shown here, but the order of system calls that
// makes it whole can: the new content is on disk before it takes the name, and the name before the writer is told so.
func TestWriteFile_SyncedBeforeAndAfterTheRename(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("needs strace")
	}
	path := filepath.Join(t.TempDir(), "keys")
	cmd := exec.Command(strace, "-f", "-qq", "-y", "-e", "trace=write,fsync,renameat,renameat2,rename", os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+path, onceEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Skipf("cannot trace: %v: %s", err, out)
	}
	var steps []string
	for line := range bytes.Lines(out) {
		if m := regexp.MustCompile(`(write|fsync|rename)\w*\(([^)]*)`).FindSubmatch(line); m != nil && bytes.Contains(m[2], []byte(filepath.Dir(path))) {
			what := "folder"
			if bytes.Contains(m[2], []byte(".keys.tmp")) {
				what = "file"
			}
			steps = append(steps, string(m[1])+" "+what)
		}
	}
	if got := strings.Join(steps, ", "); got != "write file, fsync file, rename file, fsync folder" {
		t.Errorf("%s\n%s", got, out)
	}
}
