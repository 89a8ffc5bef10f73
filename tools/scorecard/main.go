// scorecard writes docs/scorecard.md from the record of a test run: every acceptance row with the tests that carry
// its id and their result. A row of priority 0 without a passed test fails, unless testdata/open-rows.txt says why
// it is open.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// row is one line of testdata/acceptance.txt.
type row struct {
	id, what string
	priority string
	passed   map[string]bool // test → every run of it passed
	skipped  map[string]bool
	retried  map[string]bool // failed among others and passed alone
	open     string
}

// idPattern is a row id; names of tests and subtests begin with one or more, TestC04_C05_OffPath.
var idPattern = regexp.MustCompile(`^(?:KC|KS|C|S|N|P|K|F|X|L)\d\d$`)

// rowIDs returns the ids at the start of a test's name and of each subtest's.
func rowIDs(test string) (ids []string) {
	for _, part := range strings.Split(test, "/") {
		for _, word := range strings.Split(strings.TrimPrefix(part, "Test"), "_") {
			if !idPattern.MatchString(word) {
				break
			}
			ids = append(ids, word)
		}
	}
	return ids
}

func main() { os.Exit(run()) }

func run() int {
	record := flag.String("record", "build/tests.json", "record of testrun")
	out := flag.String("o", "docs/scorecard.md", "file to write")
	flag.Parse()
	rows, err := readRows("testdata/acceptance.txt", "testdata/open-rows.txt")
	if err == nil {
		err = readRecord(*record, rows)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "scorecard:", err)
		return 1
	}
	text, missing := render(rows)
	if err := os.WriteFile(*out, []byte(text), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "scorecard:", err)
		return 1
	}
	fmt.Println(strings.SplitN(text, "\n", 6)[4])
	if len(missing) > 0 {
		fmt.Fprintf(os.Stderr, "scorecard: priority 0 without a passed test or a reason: %s\n", strings.Join(missing, " "))
		return 1
	}
	return 0
}

func readRows(acceptance, open string) ([]*row, error) {
	reasons := map[string]string{}
	if err := eachLine(open, func(line string) {
		id, reason, _ := strings.Cut(line, " ")
		reasons[id] = strings.TrimSpace(reason)
	}); err != nil {
		return nil, err
	}
	var rows []*row
	err := eachLine(acceptance, func(line string) {
		f := strings.SplitN(line, "\t", 3)
		if len(f) == 3 {
			rows = append(rows, &row{id: f[0], priority: f[1], what: f[2], open: reasons[f[0]],
				passed: map[string]bool{}, skipped: map[string]bool{}, retried: map[string]bool{}})
		}
	})
	return rows, err
}

func eachLine(path string, use func(string)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if line := sc.Text(); line != "" && !strings.HasPrefix(line, "#") {
			use(line)
		}
	}
	return sc.Err()
}

func readRecord(path string, rows []*row) error {
	byID := map[string]*row{}
	for _, r := range rows {
		byID[r.id] = r
	}
	return eachLine(path, func(line string) {
		var e struct{ Package, Test, Action string }
		if json.Unmarshal([]byte(line), &e) != nil {
			return
		}
		for _, id := range rowIDs(e.Test) {
			r := byID[id]
			if r == nil {
				continue
			}
			name := strings.TrimPrefix(e.Package, "ntp-daemon/") + " " + parent(e.Test, id)
			switch e.Action {
			case "skip":
				r.skipped[name] = true
			default:
				before, seen := r.passed[name]
				r.passed[name] = e.Action != "fail" && (before || !seen)
				r.retried[name] = r.retried[name] || e.Action == "retried"
			}
		}
	})
}

// parent cuts a test's name after the element that carries the id.
func parent(test, id string) string {
	parts := strings.Split(test, "/")
	for i, p := range parts {
		if slices.Contains(rowIDs(p), id) {
			return strings.Join(parts[:i+1], "/")
		}
	}
	return test
}

func (r *row) result() string {
	switch {
	case len(r.passed) == 0:
		return "open"
	case slices.Contains(slices.Collect(maps.Values(r.passed)), false):
		return "FAILED"
	case r.open != "":
		return "partly"
	default:
		return "passed"
	}
}

func render(rows []*row) (text string, missing []string) {
	var b strings.Builder
	count := map[string]int{}
	for _, r := range rows {
		res := r.result()
		count[r.priority+res]++
		if r.priority == "0" && (res == "FAILED" || res == "open" && r.open == "") {
			missing = append(missing, r.id)
		}
	}
	fmt.Fprintf(&b, "# Scorecard\n\nWritten by `make scorecard` from the record of a test run; not by hand.\n\n")
	for _, p := range []string{"0", "1", "2"} {
		fmt.Fprintf(&b, "Priority %s: %d passed, %d partly, %d failed, %d open. ", p, count[p+"passed"], count[p+"partly"], count[p+"FAILED"], count[p+"open"])
	}
	b.WriteString("\n\n| id | P | what | result | tests, or why it is open |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		names := slices.Collect(maps.Keys(r.passed))
		slices.SortFunc(names, cmp.Compare[string])
		for i, n := range names {
			if r.retried[n] {
				names[i] += " (second try)"
			}
		}
		where := strings.Join(names, "<br>")
		if r.open != "" {
			where = strings.TrimPrefix(where+"<br>open: "+r.open, "<br>")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.id, r.priority, strings.ReplaceAll(r.what, "|", `\|`), r.result(), where)
	}
	return b.String(), missing
}
