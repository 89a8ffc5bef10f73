// SPDX-License-Identifier: Apache-2.0 OR MIT

// testrun runs `go test -json` with the arguments after "--", prints what a person wants to see, and checks skips:
// with CI=true a test that is skipped fails the run unless testdata/skips.txt names it with a reason. A few failed tests
// are run again, each alone and twice: tests with real programs and real time share two cores with all others. What
// fails alone fails the run; what passes is not called passed but retried, by name, in the last line and in the record.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
)

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// result is the end of one test. Action is pass, fail, skip, or retried: failed among others and passed alone.
type result struct {
	Package, Test, Action string
	Output                []string
}

// name is how testdata/skips.txt and the messages call a test.
func (r *result) name() string {
	return path.Join(strings.TrimPrefix(r.Package, "ntp-daemon/"), r.Test)
}

func main() { os.Exit(run()) }

func run() int {
	skips := flag.String("skips", "testdata/skips.txt", "tests that may be skipped in CI, one `pattern reason` per line")
	record := flag.String("record", "", "append one JSON line per finished test to this file")
	flag.Parse()
	allowed, err := readSkips(*skips)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
		return 1
	}
	cmd := exec.Command("go", append([]string{"test", "-json"}, flag.Args()...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
		return 1
	}
	results, broken := collect(out)
	failed := cmd.Wait() != nil
	if failed && !broken {
		failed = !retry(flag.Args(), results)
	}
	if *record != "" {
		if err := appendRecord(*record, results); err != nil {
			fmt.Fprintln(os.Stderr, "testrun:", err)
			return 1
		}
	}
	return report(os.Stdout, results, allowed, failed, os.Getenv("CI") == "true")
}

const (
	maxRetries = 5 // tests that are run again; more are no accident
	alone      = 2 // times that each must then pass
)

// retry runs every failed top-level test again, alone, with the flags of the first run. It marks those that pass as
// retried and reports whether all did.
func retry(args []string, results []result) bool {
	failed := map[string]result{}
	for _, r := range results {
		if top, _, _ := strings.Cut(r.Test, "/"); r.Action == "fail" {
			failed[r.Package+" "+top] = result{Package: r.Package, Test: top}
		}
	}
	if len(failed) == 0 || len(failed) > maxRetries {
		return false
	}
	all := true
	for _, key := range slices.Sorted(maps.Keys(failed)) {
		f := failed[key]
		cmd := exec.Command("go", slices.Concat([]string{"test", fmt.Sprintf("-count=%d", alone)}, flagsOf(args), []string{"-run", "^" + f.Test + "$", f.Package})...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			fmt.Printf("RETRY %s failed alone, too\n%s", f.name(), out)
			all = false
			continue
		}
		fmt.Printf("RETRY %s passed %d times alone; the first failure was:\n", f.name(), alone)
		for i := range results {
			r := &results[i]
			top, _, _ := strings.Cut(r.Test, "/")
			if r.Package == f.Package && top == f.Test && r.Action == "fail" {
				fmt.Print(strings.Join(r.Output, ""))
				r.Action = "retried"
			}
		}
	}
	return all
}

// flagsOf leaves the packages out of the arguments of go test.
func flagsOf(args []string) (flags []string) {
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			flags = append(flags, a)
		} else if len(flags) > 0 && a != "" && !strings.HasPrefix(a, ".") {
			flags = append(flags, a) // the value of the flag before it
		}
	}
	return flags
}

// collect reads the events, prints package lines as they come, and returns the finished tests. broken says that a
// package failed without a failed test: it does not build, or it ended early.
func collect(r io.Reader) (done []result, broken bool) {
	blamed := map[string]bool{}
	output := map[string][]string{}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<24)
	for sc.Scan() {
		var e event
		if json.Unmarshal(sc.Bytes(), &e) != nil {
			fmt.Println(sc.Text()) // a build error
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output":
			output[key] = append(output[key], e.Output)
		case "build-output":
			fmt.Print(e.Output)
		case "pass", "fail", "skip":
			if e.Test == "" {
				fmt.Printf("%-4s %s %.1fs\n", e.Action, e.Package, e.Elapsed)
				if e.Action == "fail" {
					fmt.Print(strings.Join(output[key], ""))
					broken = broken || !blamed[e.Package]
				}
				continue
			}
			if e.Action == "fail" {
				blamed[e.Package] = true
			}
			done = append(done, result{e.Package, e.Test, e.Action, output[key]})
			delete(output, key)
		}
	}
	return done, broken
}

// report prints failures, skips summed up by reason, and last a line with every sum and the tests that passed only
// alone. It returns the exit code.
func report(w io.Writer, results []result, allowed map[string]string, failed, ci bool) int {
	var passes, fails, skips int
	skipped := map[string]int{} // reason → tests
	retried := map[string]bool{}
	for _, r := range results {
		switch r.Action {
		case "pass":
			passes++
		case "fail":
			fails++
			fmt.Fprintf(w, "--- FAIL %s %s\n%s", r.Package, r.Test, strings.Join(r.Output, ""))
		case "retried":
			top, _, _ := strings.Cut(r.Test, "/")
			retried[(&result{Package: r.Package, Test: top}).name()] = true
		case "skip":
			reason, ok := lookup(allowed, r.name())
			if !ok && ci {
				fails++
				fmt.Fprintf(w, "--- FAIL %s is skipped, which testdata/skips.txt does not allow\n%s", r.name(), strings.Join(r.Output, ""))
				continue
			}
			if !ok {
				reason = why(r.Output)
			}
			skips++
			skipped[reason]++
		}
	}
	for _, reason := range slices.SortedFunc(maps.Keys(skipped), func(a, b string) int {
		return cmp.Or(skipped[b]-skipped[a], strings.Compare(a, b))
	}) {
		fmt.Fprintf(w, "skipped %3d: %s\n", skipped[reason], reason)
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped, %d retried", passes, fails, skips, len(retried))
	if len(retried) > 0 {
		fmt.Fprintf(w, " (passed alone: %s)", strings.Join(slices.Sorted(maps.Keys(retried)), " "))
	}
	fmt.Fprintln(w)
	if failed || fails > 0 {
		return 1
	}
	return 0
}

// position is where a test says that it skips: file and line, in which skips for one reason differ.
var position = regexp.MustCompile(`^\S+\.go:\d+: `)

// why finds the reason that the test printed.
func why(output []string) string {
	for _, line := range output {
		if s := strings.TrimSpace(line); s != "" && !strings.HasPrefix(s, "===") && !strings.HasPrefix(s, "---") {
			return position.ReplaceAllString(s, "")
		}
	}
	return "no reason printed"
}

// lookup finds the reason for a skipped test; a pattern ending in * covers everything below it.
func lookup(allowed map[string]string, name string) (string, bool) {
	if reason, ok := allowed[name]; ok {
		return reason, true
	}
	for pattern, reason := range allowed {
		if prefix, wild := strings.CutSuffix(pattern, "*"); wild && strings.HasPrefix(name, prefix) {
			return reason, true
		}
	}
	return "", false
}

func readSkips(file string) (map[string]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read skips: %w", err)
	}
	allowed := map[string]string{}
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("%s:%d: %s has no reason", file, i+1, name)
		}
		allowed[name] = strings.TrimSpace(reason)
	}
	return allowed, nil
}

func appendRecord(file string, results []result) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	for _, r := range results {
		r.Output = nil
		if err := enc.Encode(r); err != nil {
			f.Close()
			return err
		}
	}
	return f.Close()
}
