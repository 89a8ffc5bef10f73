package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ntp-daemon/internal/metrics"
)

// The part of ntp-metrics-exporter(8) between these lines follows from the table of package metrics, so that name,
// type, labels and meaning of a family have one home.
const (
	familiesBegin = ".\\\" families: written by UPDATE_GOLDEN=1 go test ./docs\n"
	familiesEnd   = ".\\\" end of families\n"
)

// groups are the headings, each for the families whose names begin so; the longest beginning counts.
var groups = []struct{ heading, prefix string }{
	{"Daemon and system", "ntp_"}, {"Sources", "ntp_source_"}, {"Servers", "ntp_server_"}, {"Our own", "ntp_daemon_"},
	{"Pool", "ntspool_"},
}

var (
	family    = regexp.MustCompile(`(?m)^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)\n(?:# UNIT .*\n)?(.*)`) // up to the first sample
	labelName = regexp.MustCompile(`[{,]([a-z_]+)="`)
	negative  = regexp.MustCompile(`-(\d)`)
)

// familiesPage is the mdoc of all families of an exposition in which each of them has a sample.
func familiesPage(exposition string) string {
	sections := make([]string, len(groups))
	for _, m := range family.FindAllStringSubmatch(exposition, -1) {
		name, help, kind, sample := m[1], m[2], m[3], m[4]
		entry := fmt.Sprintf(".It Va %s\n%s.\n", name, strings.ToUpper(kind[:1])+kind[1:])
		if labels := labelName.FindAllStringSubmatch(sample, -1); len(labels) > 0 {
			entry += "Labels:\n"
			for _, l := range labels[:len(labels)-1] {
				entry += ".Va " + l[1] + " ,\n"
			}
			entry += ".Va " + labels[len(labels)-1][1] + " .\n"
		}
		entry += strings.ReplaceAll(negative.ReplaceAllString(help, `\-$1`), ". ", ".\n") + "\n"
		best := 0
		for i, g := range groups {
			if strings.HasPrefix(name, g.prefix) && len(g.prefix) > len(groups[best].prefix) {
				best = i
			}
		}
		sections[best] += entry
	}
	page := ""
	for i, g := range groups {
		page += ".Ss " + g.heading + "\n.Bl -tag -width Ds\n" + sections[i] + ".El\n"
	}
	return page
}

// TestMetricsPage_Families: the page lists what the exporter shows.
func TestMetricsPage_Families(t *testing.T) {
	generated(t, filepath.Join("man", "ntp-metrics-exporter.8"), familiesBegin, familiesEnd,
		wrapped(familiesPage(string(metrics.Append(metrics.Append(nil, full()), fullPool())))))
}

// generated compares the part of a page between two lines with what follows from a table, or, with UPDATE_GOLDEN set, writes it.
func generated(t *testing.T, path, begin, end, want string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(b), begin)
	have, after, ends := strings.Cut(rest, end)
	if !begins || !ends {
		t.Fatalf("%s has no place for %s", path, begin)
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("%s, run UPDATE_GOLDEN=1 go test ./docs (want, have):\n%s", path, d)
	}
}

// TestMetricNamesInText: a metric that a page of ours tells to watch exists.
func TestMetricNamesInText(t *testing.T) {
	have := map[string]bool{}
	for _, m := range family.FindAllStringSubmatch(string(metrics.Append(metrics.Append(nil, full()), fullPool())), -1) {
		have[m[1]] = true
	}
	name := regexp.MustCompile(`\b(?:ntspool|ntp_daemon|ntp_source|ntp_server|ntp_system)_[a-z_]*[a-z]`)
	for _, file := range []string{"operating.md", "pool-operations.md"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range name.FindAllString(string(b), -1) {
			base := n
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if !have[n] && !have[base] {
				t.Errorf("%s: there is no metric %s", file, n)
			}
		}
	}
}
