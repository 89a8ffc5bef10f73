package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// chronyNumbers are the behaviours of chrony's simulation suite that concern us.
var chronyNumbers = strings.Fields(`001 002 003 004 005 006 007 008 009 011 014 101 102 103 104 109 113 116 117 118 119 120 121 122 123 124 125
	126 127 131 133 135 138 148 150`)

var (
	chronyRow  = regexp.MustCompile(`(?m)^\| (\d{3}) \| [^|]+ \| ([^|]+) \|$`)
	testName   = regexp.MustCompile(`\bTest[A-Z][A-Za-z0-9_]+`)
	chronyTest = regexp.MustCompile(`(?m)^func (TestChrony_(\d{3})_\w+)`)
)

// TestChronyList: each behaviour has its row, in order, with a test that exists or with what is open; no test is without its row.
func TestChronyList(t *testing.T) {
	b, err := os.ReadFile("testing.md")
	if err != nil {
		t.Fatal(err)
	}
	var numbers []string
	rows := map[string]string{}
	for _, m := range chronyRow.FindAllStringSubmatch(string(b), -1) {
		numbers, rows[m[1]] = append(numbers, m[1]), m[2]
		if !testName.MatchString(m[2]) && !strings.Contains(m[2], "open: ") {
			t.Errorf("row %s names neither a test nor what is open", m[1])
		}
	}
	if !slices.Equal(numbers, chronyNumbers) {
		t.Errorf("rows %v, want %v", numbers, chronyNumbers)
	}
	var source strings.Builder
	for _, pattern := range []string{"internal/sim/*_test.go", "internal/assoc/*_test.go"} {
		files, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(text)
		}
	}
	for n, row := range rows {
		for _, name := range testName.FindAllString(row, -1) {
			if !strings.Contains(source.String(), "func "+name+"(") {
				t.Errorf("row %s: there is no %s", n, name)
			}
		}
	}
	for _, m := range chronyTest.FindAllStringSubmatch(source.String(), -1) {
		if !strings.Contains(rows[m[2]], m[1]) {
			t.Errorf("%s is not in the row of %s", m[1], m[2])
		}
	}
}
