package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// mutant is one way to break the code.
type mutant struct {
	Name string `toml:"name"` // "package: what is wrong"; unique
	File string `toml:"file"` // relative to the root of the repository
	Old  string `toml:"old"`  // stands in the file exactly once
	New  string `toml:"new"`  // what stands there instead; it compiles
	Test string `toml:"test"` // packages, a blank, and the expression for -run of the test that must fail
}

// load reads every list.
func load(folder string) (all []mutant, err error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.toml"))
	if err != nil || len(paths) == 0 {
		return nil, errors.Join(fmt.Errorf("no lists in %s", folder), err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var list struct {
			Mutant []mutant `toml:"mutant"`
		}
		if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&list); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, list.Mutant...)
	}
	return all, nil
}

// check finds mutants that cannot be tried, all of them at once.
func check(all []mutant) error {
	var faults []error
	seen := map[string]bool{}
	for i := range all {
		m := &all[i]
		if seen[m.Name] || m.Name == "" {
			faults = append(faults, fmt.Errorf("%q: the name is empty or used twice", m.Name))
		}
		seen[m.Name] = true
		if _, err := m.apply(); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", m.Name, err))
		}
		if packages, pattern := m.test(); len(packages) == 0 || pattern == "" {
			faults = append(faults, fmt.Errorf("%s: test %q has no package or no name", m.Name, m.Test))
		}
	}
	return errors.Join(faults...)
}

// apply returns the broken file.
func (m *mutant) apply() ([]byte, error) {
	text, err := os.ReadFile(m.File)
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(text), m.Old); m.Old == "" || n != 1 {
		return nil, fmt.Errorf("%s has the old text %d times, not once:\n%s", m.File, n, m.Old)
	}
	if m.Old == m.New {
		return nil, errors.New("old and new are the same")
	}
	return []byte(strings.Replace(string(text), m.Old, m.New, 1)), nil
}

// test returns the packages and the expression of Test.
func (m *mutant) test() (packages []string, pattern string) {
	words := strings.Fields(m.Test)
	if len(words) < 2 {
		return nil, ""
	}
	return words[:len(words)-1], words[len(words)-1]
}

// pick returns the mutants that the word asks for.
func pick(all []mutant, word, base string) ([]mutant, error) {
	switch word {
	case "", "all":
		return all, nil
	case "changed":
		all = slices.Clone(all)
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) // not always the same ones are left out
		files, err := changed(base)
		if err != nil && base == "" {
			fmt.Printf("mutants: %v; trying all\n", err)
			return all, nil
		}
		return touched(all, files), err
	}
	expression, err := regexp.Compile(word)
	if err != nil {
		return nil, err
	}
	some := slices.DeleteFunc(slices.Clone(all), func(m mutant) bool { return !expression.MatchString(m.Name) })
	if len(some) == 0 {
		return nil, fmt.Errorf("no mutant's name matches %q", word)
	}
	return some, nil
}

// touched returns the mutants of files first, then those that have a file or a test in a folder of them.
func touched(all []mutant, files []string) (some []mutant) {
	folders := map[string]bool{}
	for _, f := range files {
		folders[filepath.Dir(f)] = true
	}
	near := func(m mutant) bool {
		packages, _ := m.test()
		return folders[filepath.Dir(m.File)] || slices.ContainsFunc(packages, func(p string) bool { return folders[filepath.Clean(p)] })
	}
	for _, m := range all {
		if slices.Contains(files, m.File) {
			some = append(some, m)
		}
	}
	for _, m := range all {
		if !slices.Contains(files, m.File) && near(m) {
			some = append(some, m)
		}
	}
	return some
}

// changed lists the files that differ from base, the working tree included.
func changed(base string) ([]string, error) {
	if base == "" {
		base = defaultBase()
	}
	out, err := git("diff", "--name-only", base)
	if err != nil {
		return nil, fmt.Errorf("what changed since %s: %w", base, err)
	}
	return strings.Fields(out), nil
}

// defaultBase is where the branch left origin/main, or, on that itself, a day before its last commit.
func defaultBase() string {
	head, _ := git("rev-parse", "HEAD")
	if fork, err := git("merge-base", "HEAD", "origin/main"); err == nil && fork != head {
		return fork
	}
	date, _ := git("log", "-1", "--format=%ct")
	seconds, _ := strconv.ParseInt(date, 10, 64)
	if before, err := git("log", "-1", "--format=%H", fmt.Sprint("--until=", seconds-86400)); err == nil && before != "" {
		return before
	}
	root, _ := git("rev-list", "--max-parents=0", "-1", "HEAD")
	return root
}

func git(args ...string) (string, error) {
	out, err := exec.Command("git", args...).Output()
	return strings.TrimSpace(string(out)), err
}
