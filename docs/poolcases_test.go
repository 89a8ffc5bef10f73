package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The documents that name tests row by row: the file, the heading above the table (none: the first), and how many rows
// it must have.
var namedTests = []struct {
	file, heading string
	rows          int
}{
	{"pool-cases.md", "# Failure cases", 50},
	{"threat-model.md", "## Findings about a public pool", 17},
}

var testNamed = regexp.MustCompile(`(internal/[a-z0-9/]+) ((?:Test|Fuzz)\w+)(?:/([^<|]+))?`)

// TestPoolCases checks that every case of a pool's failures and every finding of the audit has its row, and that each
// test named there exists; behind a slash stands a row of its table.
func TestPoolCases(t *testing.T) {
	for _, list := range namedTests {
		text, err := os.ReadFile(list.file)
		if err != nil {
			t.Fatal(err)
		}
		_, table, found := strings.Cut(string(text), list.heading)
		if !found {
			t.Errorf("%s has no heading %q", list.file, list.heading)
			continue
		}
		seen := 0
		for line := range strings.Lines(table) {
			cells := strings.Split(strings.TrimSpace(line), " | ")
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(cells[0], "|")))
			if err != nil {
				if seen > 0 && !strings.HasPrefix(line, "|") {
					break
				}
				continue
			}
			if seen++; n != seen {
				t.Errorf("%s: row %d where %d belongs", list.file, n, seen)
			}
			checkTests(t, fmt.Sprintf("%s, row %d", list.file, n), cells[len(cells)-1])
		}
		if seen != list.rows {
			t.Errorf("%s: %d rows, want %d", list.file, seen, list.rows)
		}
	}
}

// checkTests wants the tests that a cell names, or a sentence.
func checkTests(t *testing.T, where, cell string) {
	t.Helper()
	named := testNamed.FindAllStringSubmatch(cell, -1)
	if len(named) == 0 && !strings.Contains(cell, "does not apply") {
		t.Errorf("%s names no test", where)
	}
	if words := len(regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]`).FindAllString(cell, -1)); words != len(named) {
		t.Errorf("%s: %d tests, of which %d with their package", where, words, len(named))
	}
	for _, m := range named {
		source := testSource(t, m[1])
		if !strings.Contains(source, "\nfunc "+m[2]+"(") {
			t.Errorf("%s: %s has no %s", where, m[1], m[2])
		}
		if row := strings.TrimRight(m[3], " |\n"); row != "" && !strings.Contains(source, strconv.Quote(row)) {
			t.Errorf("%s: %s has no row %q", where, m[1], row)
		}
	}
}

// testSource is the text of a package's tests.
func testSource(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}
