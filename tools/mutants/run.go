package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// fate is what became of a mutant.
type fate string

const (
	killed   fate = "killed"
	survived fate = "SURVIVED"
	broken   fate = "BROKEN" // it could not be tried
)

// try runs the mutant's test on the broken code. why is set unless it was killed.
func (m *mutant) try() (f fate, why string) {
	text, err := m.apply()
	if err != nil {
		return broken, err.Error() + "\n"
	}
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return broken, err.Error() + "\n"
	}
	defer os.RemoveAll(dir)
	overlay, err := writeOverlay(dir, m.File, text)
	if err != nil {
		return broken, err.Error() + "\n"
	}
	packages, pattern := m.test()
	out, err := goTest(overlay, packages, pattern)
	switch {
	case strings.Contains(out, "[build failed]"), strings.Contains(out, "[setup failed]"):
		return broken, out
	case err != nil:
		return killed, ""
	}
	return survived, ""
}

// writeOverlay writes the file that tells go to read text instead of file, and returns its path.
func writeOverlay(dir, file string, text []byte) (string, error) {
	original, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	replacement := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(replacement, text, 0o600); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {original: replacement}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, b, 0o600)
}

// goTest runs tests. The overlay is a flag of the environment, so that tests which build programs build broken ones;
// the cache of results does not see those, so it is not asked.
func goTest(overlay string, packages []string, pattern string) (string, error) {
	args := append([]string{"test", "-count=1", "-vet=off", "-failfast", "-timeout=3m", "-run", pattern}, packages...)
	cmd := exec.Command("go", args...)
	cmd.Env = os.Environ()
	if overlay != "" {
		cmd.Env = append(cmd.Env, strings.TrimSpace("GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay))
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// baseline runs the tests of the mutants on the code as it is: they exist, and they pass.
func baseline(picked []mutant) error {
	patterns := map[string]map[string]bool{} // by package
	for _, m := range picked {
		packages, pattern := m.test()
		for _, p := range packages {
			if patterns[p] == nil {
				patterns[p] = map[string]bool{}
			}
			patterns[p][pattern] = true
		}
	}
	for _, p := range slices.Sorted(maps.Keys(patterns)) {
		all := slices.Sorted(maps.Keys(patterns[p]))
		names, err := exec.Command("go", "test", "-vet=off", "-list", ".", p).CombinedOutput()
		if err != nil {
			return fmt.Errorf("list the tests of %s: %w\n%s", p, err, names)
		}
		for _, pattern := range all {
			if !matches(strings.Split(string(names), "\n"), pattern) {
				return fmt.Errorf("%s has no test %s", p, pattern)
			}
		}
		if out, err := goTest("", []string{p}, strings.Join(all, "|")); err != nil {
			return fmt.Errorf("the tests of %s fail without a mutant: %w\n%s", p, err, out)
		}
	}
	return nil
}

// matches reports whether a test has a name that the pattern's part before the first slash finds.
func matches(names []string, pattern string) bool {
	top, _, _ := strings.Cut(pattern, "/")
	expression, err := regexp.Compile(top)
	return err == nil && slices.ContainsFunc(names, expression.MatchString)
}
