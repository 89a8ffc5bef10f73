package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the .want files from what the loader says")

// verdict is what a user is told about a file: problems, missing features and warnings, one per line.
func verdict(warnings []Warning, err error) string {
	var b strings.Builder
	for _, w := range warnings {
		kind := "warning: "
		if w.Info {
			kind = "note: "
		}
		b.WriteString(kind + w.String() + "\n")
	}
	if err != nil {
		b.WriteString(err.Error() + "\n")
	}
	return b.String()
}

// whole is what Load and Examine say of a file, that of a pool included.
func whole(path string) (any, []Warning, error) {
	m := Machine{Now: time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)}
	if strings.Contains(path, "pool-ke") {
		p, w, err := LoadPool(path)
		if p != nil {
			w = append(w, p.Examine(m)...)
		}
		return p, w, err
	}
	c, w, err := Load(path)
	if c != nil {
		w = append(w, c.Examine(m)...)
	}
	return c, w, err
}

// golden compares with FILE.want beside FILE.toml. Messages name the file as it was named.
func golden(t *testing.T, path, got string) {
	t.Helper()
	want := strings.TrimSuffix(path, ".toml") + ".want"
	got = strings.ReplaceAll(got, filepath.Dir(path)+"/", "")
	if *update {
		if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(b) {
		t.Errorf("%s:\n%swant\n%s", path, got, b)
	}
}

// samples runs f over every file of testdata/dir; an empty directory would be a silent pass.
func samples(t *testing.T, dir string, f func(t *testing.T, path string)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", dir, "*.toml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no samples in testdata/%s: %v", dir, err)
	}
	for _, path := range paths {
		// Underscores, so that a row's id stands by itself in the test's name.
		name := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(path), ".toml"), "-", "_")
		t.Run(name, func(t *testing.T) { f(t, path) })
	}
}

// TestBad: one sample per rule, each with the exact message beside it. The ids of the acceptance rows
// are in the names of the samples.
func TestBad(t *testing.T) {
	samples(t, "bad", func(t *testing.T, path string) {
		cfg, warnings, err := Load(path)
		if _, ok := errors.AsType[Problems](err); !ok || cfg != nil {
			t.Fatalf("config %v and error %v, want no config and Problems", cfg, err)
		}
		golden(t, path, verdict(warnings, err))
	})
}

func TestBadPool(t *testing.T) {
	samples(t, "bad-pool", func(t *testing.T, path string) {
		cfg, warnings, err := LoadPool(path)
		if _, ok := errors.AsType[Problems](err); !ok || cfg != nil {
			t.Fatalf("config %v and error %v, want no config and Problems", cfg, err)
		}
		golden(t, path, verdict(warnings, err))
	})
}

// TestNotBuilt: what the suite knows but cannot do yet is valid and stops with its own error.
func TestNotBuilt(t *testing.T) {
	samples(t, "notbuilt", func(t *testing.T, path string) {
		cfg, warnings, err := Load(path)
		if _, ok := errors.AsType[*NotBuilt](err); !ok || cfg == nil {
			t.Fatalf("config %v and error %v, want a config and NotBuilt", cfg, err)
		}
		golden(t, path, verdict(warnings, err))
	})
}

func TestWarnings(t *testing.T) {
	samples(t, "warn", func(t *testing.T, path string) {
		_, warnings, err := whole(path)
		if err != nil || len(warnings) == 0 {
			t.Fatalf("warnings %v and error %v, want warnings only", warnings, err)
		}
		golden(t, path, verdict(warnings, err))
	})
}

// TestGood: files of every era load without a word.
func TestGood(t *testing.T) {
	samples(t, "good", func(t *testing.T, path string) {
		load := func(path string) ([]Warning, error) { _, w, err := Load(path); return w, err }
		if strings.Contains(path, "pool-ke") {
			load = func(path string) ([]Warning, error) { _, w, err := LoadPool(path); return w, err }
		}
		warnings, err := load(path)
		for _, w := range warnings {
			if !w.Info {
				t.Errorf("warning: %s", w)
			}
		}
		if err != nil {
			t.Error(err)
		}
	})
}
