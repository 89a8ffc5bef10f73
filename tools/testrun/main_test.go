package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	results := []result{
		{"ntp-daemon/internal/a", "TestGood", "pass", nil},
		{"ntp-daemon/internal/a", "TestRoot", "skip", []string{"=== RUN   TestRoot\n", "    a_test.go:12: needs root\n"}},
		{"ntp-daemon/internal/b", "TestRoot", "skip", []string{"    b_test.go:7: needs root\n"}},
		{"ntp-daemon/internal/b", "TestClock", "skip", []string{"    b_test.go:9: moves the clock\n"}},
		{"ntp-daemon/internal/b", "TestLate/row", "retried", []string{"late\n"}},
		{"ntp-daemon/internal/b", "TestLate", "retried", nil},
	}
	bad := append(results[:len(results):len(results)], result{"ntp-daemon/internal/b", "TestBad", "fail", []string{"wrong\n"}})
	allowed := map[string]string{"internal/b/TestClock": "moves the clock", "internal/*/TestRoot": "", "internal/a/*": "by root only"}
	for _, row := range []struct {
		name    string
		results []result
		failed  bool
		ci      bool
		code    int
		want    string
		last    string
	}{
		{"by hand", results, false, false, 0, "skipped   1: by root only\nskipped   1: moves the clock\nskipped   1: needs root\n",
			"1 passed, 0 failed, 3 skipped, 1 retried (passed alone: internal/b/TestLate)"},
		{"in CI", results, false, true, 1, "--- FAIL internal/b/TestRoot is skipped, which testdata/skips.txt does not allow\n",
			"1 passed, 1 failed, 2 skipped, 1 retried (passed alone: internal/b/TestLate)"},
		{"failed alone, too", bad, true, false, 1, "--- FAIL ntp-daemon/internal/b TestBad\nwrong\n",
			"1 passed, 1 failed, 3 skipped, 1 retried (passed alone: internal/b/TestLate)"},
		{"a package did not build", results[:1], true, false, 1, "", "1 passed, 0 failed, 0 skipped, 0 retried"},
	} {
		var w bytes.Buffer
		code := report(&w, row.results, allowed, row.failed, row.ci)
		lines := strings.Split(strings.TrimSpace(w.String()), "\n")
		if code != row.code || !strings.Contains(w.String(), row.want) || lines[len(lines)-1] != row.last {
			t.Errorf("%s: code %d, want %d:\n%s", row.name, code, row.code, w.String())
		}
	}
}

func TestFlagsOf(t *testing.T) {
	got := strings.Join(flagsOf([]string{"-race", "-timeout", "15m", "./...", "./internal/a"}), " ")
	if got != "-race -timeout 15m" {
		t.Error(got)
	}
}
