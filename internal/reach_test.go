package internal_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestEverythingIsReachable: what is built can be reached from one of the commands. Functions that only tests call
// belong into test files. testdata/unreachable.txt names the exceptions.
func TestEverythingIsReachable(t *testing.T) {
	reasons := exceptions(t, "testdata/unreachable.txt")
	for _, f := range unreachable(t) {
		if _, kept := reasons[f.name]; kept {
			delete(reasons, f.name)
			continue
		}
		t.Errorf("%s: no command reaches %s; use it, delete it, or move it into a test file", f.at, f.name)
	}
	for name := range reasons {
		t.Errorf("testdata/unreachable.txt: %s is reached, or gone; remove its line", name)
	}
}

// exceptions reads a list of names with a reason each; lines that begin with # are comments.
func exceptions(t *testing.T, path string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, _ := strings.Cut(line, " ")
		if strings.TrimSpace(reason) == "" {
			t.Errorf("%s: %s has no reason", path, name)
		}
		list[name] = strings.TrimSpace(reason)
	}
	return list
}

type function struct{ name, at string }

// unreachable asks the tool that tools/lint pins. It follows calls through interfaces and function values.
func unreachable(t *testing.T) (list []function) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: -short")
	}
	tool := func(args ...string) *exec.Cmd {
		cmd := exec.Command("go", append([]string{"tool", "-modfile=tools/lint/go.mod"}, args...)...)
		cmd.Dir = ".."
		return cmd
	}
	if out, err := tool("-n", "deadcode").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("deadcode: %v\n%s", err, out)
		}
		t.Skipf("skipped: the tool that tools/lint pins is neither here nor to be had: %v\n%s", err, out)
	}
	var stderr bytes.Buffer
	cmd := tool("deadcode", "-json", "./cmd/...")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("deadcode: %v\n%s", err, stderr.Bytes())
	}
	var found []struct {
		Path  string
		Funcs []struct {
			Name     string
			Position struct {
				File string
				Line int
			}
		}
	}
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatalf("deadcode: %v\n%s", err, out)
	}
	for _, p := range found {
		for _, f := range p.Funcs {
			list = append(list, function{
				name: strings.TrimPrefix(p.Path, module+"/") + "." + f.Name,
				at:   f.Position.File + ":" + strconv.Itoa(f.Position.Line),
			})
		}
	}
	return list
}
