package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMutantsFit: every mutant of the lists can still be applied. Whoever changes its line changes the mutant.
func TestMutantsFit(t *testing.T) {
	t.Chdir("../..")
	all, err := load("tools/mutants/list")
	if err != nil {
		t.Fatal(err)
	}
	if err := check(all); err != nil {
		t.Error(err)
	}
	for _, m := range all {
		packages, _ := m.test()
		for _, p := range packages {
			if tests, _ := filepath.Glob(filepath.Join(p, "*_test.go")); len(tests) == 0 {
				t.Errorf("%s: no tests in %s", m.Name, p)
			}
		}
	}
}

func TestCheck_Faults(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("a.go", []byte("one two two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := mutant{Name: "x", File: "a.go", Old: "one", New: "1", Test: "./a A"}
	for _, row := range []struct {
		want   string
		change func(*mutant)
	}{
		{"", func(*mutant) {}},
		{"has the old text 2 times", func(m *mutant) { m.Old = "two" }},
		{"has the old text 0 times", func(m *mutant) { m.Old = "three" }},
		{"not once", func(m *mutant) { m.Old = "" }},
		{"are the same", func(m *mutant) { m.New = "one" }},
		{"no such file", func(m *mutant) { m.File = "b.go" }},
		{"has no package", func(m *mutant) { m.Test = "A" }},
		{"name is empty", func(m *mutant) { m.Name = "" }},
	} {
		m := good
		row.change(&m)
		err := check([]mutant{m})
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v, want %q", err, row.want)
		}
	}
	if err := check([]mutant{good, good}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("one name twice: %v", err)
	}
}

func TestTouched(t *testing.T) {
	all := []mutant{
		{Name: "neighbour", File: "internal/a/x.go", Test: "./internal/a A"},
		{Name: "file", File: "internal/a/y.go", Test: "./internal/a A"},
		{Name: "test", File: "internal/b/x.go", Test: "./internal/c ./internal/a A"},
		{Name: "other", File: "internal/b/x.go", Test: "./internal/b A"},
	}
	var names []string
	for _, m := range touched(all, []string{"internal/a/y.go", "docs/z.md"}) {
		names = append(names, m.Name)
	}
	if !slices.Equal(names, []string{"file", "neighbour", "test"}) {
		t.Errorf("picked %v", names)
	}
}

// TestTry runs the tool on a module of its own: a mutant that is killed, one that survives, one that does not compile, and
// a pattern that matches no test.
func TestTry(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"go.mod":    "module m\n\ngo 1.26\n",
		"m.go":      "package m\n\nfunc two() int { return 1 + 1 }\n\nfunc three() int { return 3 }\n",
		"m_test.go": "package m\n\nimport \"testing\"\n\nfunc TestTwo(t *testing.T) {\n\tif two() != 2 || three() == 0 {\n\t\tt.Fail()\n\t}\n}\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOFLAGS", "-mod=mod")
	for _, row := range []struct {
		old, new string
		want     fate
	}{{"1 + 1", "1 - 1", killed}, {"return 3", "return 4", survived}, {"1 + 1", "one", broken}} {
		m := mutant{Name: "m", File: "m.go", Old: row.old, New: row.new, Test: ". TestTwo"}
		if got, why := m.try(); got != row.want {
			t.Errorf("%s: %s, want %s\n%s", row.new, got, row.want, why)
		}
	}
	if err := baseline([]mutant{{Test: ". TestTwo"}}); err != nil {
		t.Error(err)
	}
	if err := baseline([]mutant{{Test: ". TestFour"}}); err == nil || !strings.Contains(err.Error(), "no test TestFour") {
		t.Errorf("a test that is not there: %v", err)
	}
}

// TestDefaultBase: without a branch to compare with, what changed is what the last day's commits did.
func TestDefaultBase(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	for _, name := range []string{"GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"} {
		t.Setenv(name, "t")
	}
	run := func(args ...string) {
		t.Helper()
		if _, err := git(args...); err != nil {
			t.Fatalf("git %v: %v", args, err)
		}
	}
	run("init", "-q")
	for _, c := range []struct{ file, date string }{
		{"old.go", "2026-11-01T12:00:00Z"}, {"new.go", "2026-11-10T08:00:00Z"}, {"newest.go", "2026-11-10T12:00:00Z"},
	} {
		if err := os.WriteFile(c.file, []byte("package m\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("GIT_COMMITTER_DATE", c.date)
		run("add", c.file)
		run("commit", "-q", "-m", c.file)
	}
	if files, err := changed(""); err != nil || !slices.Equal(files, []string{"new.go", "newest.go"}) {
		t.Errorf("changed %v, %v", files, err)
	}
}
