package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// FuzzLoad: no input panics, every problem is one line with a place inside the file, and a file is TOML for
// us when it is for go-toml.
func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"bad", "bad-pool", "good", "notbuilt", "warn"} {
		paths, _ := filepath.Glob(filepath.Join("testdata", dir, "*.toml"))
		for _, path := range paths {
			b, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		cfg, warnings, err := Parse("f.toml", data)
		examine(t, data, warnings, err)
		if notBuilt, ok := errors.AsType[*NotBuilt](err); (cfg == nil) != (err != nil && !ok) || ok && len(notBuilt.Problems) == 0 {
			t.Errorf("config %v with error %v", cfg, err)
		}
		pool, warnings, err := ParsePool("f.toml", data)
		examine(t, data, warnings, err)
		if (pool == nil) != (err != nil) {
			t.Errorf("pool %v with error %v", pool, err)
		}
		var any struct{} // go-toml then checks syntax and keys and converts no numbers
		theirs := toml.Unmarshal([]byte(strings.TrimPrefix(string(data), "\xef\xbb\xbf")), &any)
		if _, ours := parse([]byte(strings.TrimPrefix(string(data), "\xef\xbb\xbf"))); (theirs == nil) != (ours == nil) {
			t.Errorf("go-toml says %v, we say %v", theirs, ours)
		}
	})
}

func examine(t *testing.T, data []byte, warnings []Warning, err error) {
	lines := strings.Count(string(data), "\n") + 1
	var all []Problem
	for _, w := range warnings {
		all = append(all, w.Problem)
	}
	if ps, ok := errors.AsType[Problems](err); ok {
		all = append(all, ps...)
	}
	for _, p := range all {
		if s := p.String(); strings.ContainsAny(s, "\n\r\x00\x1b") || p.Line > lines || p.Line > 0 && p.Column < 1 {
			t.Errorf("bad message %q for a file of %d lines", s, lines)
		}
	}
}
