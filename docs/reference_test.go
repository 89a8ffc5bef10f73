package docs_test

import (
	"bytes"
	"context"
	"go/ast"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/ctl"
	"ntp-daemon/internal/metrics"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/poolke"
	"ntp-daemon/internal/server"
)

// TestConfigurationPages compares the keys of the loader with those of the pages, both ways.
func TestConfigurationPages(t *testing.T) {
	for _, c := range []struct {
		page string
		keys []string
	}{{"ntp.toml.5", keyList(t, "keys.txt")}, {"nts-pool-ke.toml.5", keyList(t, "poolkeys.txt")}} {
		p := readPage(t, c.page)
		documented := map[string]bool{}
		for heading, keys := range p.sections {
			if !isTable(c.keys, heading) {
				continue
			}
			for _, k := range keys {
				path := heading + "." + k
				if !slices.Contains(c.keys, path) {
					t.Errorf("%s: there is no key %s", c.page, path)
				}
				for ; path != "."; path, _ = cutLast(path) {
					documented[path] = true
				}
			}
		}
		for _, k := range c.keys {
			if !documented[k] {
				t.Errorf("%s: key %s is missing", c.page, k)
			}
		}
	}
}

// keyList reads one of the lists that the tests of internal/config hold to the loader.
func keyList(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile("../internal/config/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}

// isTable reports whether the heading is the path of a table.
func isTable(keys []string, heading string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, heading+".") })
}

// cutLast removes the last part of a dotted path; "." when there is none left.
func cutLast(path string) (string, bool) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i], true
	}
	return ".", false
}

// TestExamplesLoad checks that every configuration that the documents show is valid.
func TestExamplesLoad(t *testing.T) {
	examples := 0
	check := func(file, text string) {
		examples++
		_, _, err := config.Parse(file, []byte(text))
		if strings.Contains(text, "[nts-pool-ke-server]") {
			_, _, err = config.ParsePool(file, []byte(text))
		}
		if err != nil {
			t.Error(err)
		}
	}
	for _, file := range markdown(t) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range fenced(string(b), "toml") {
			check(file, text)
		}
	}
	literal := regexp.MustCompile(`(?s)\.Bd -literal[^\n]*\n(.*?)\n\.Ed`)
	for _, name := range []string{"ntp.toml.5", "nts-pool-ke.toml.5"} {
		for _, m := range literal.FindAllStringSubmatch(readPage(t, name).text, -1) {
			check(name, m[1])
		}
	}
	if examples < 4 {
		t.Errorf("found %d examples only; are the patterns right?", examples)
	}
}

// full is a snapshot in which every family of metrics has a sample.
func full() *observe.Snapshot {
	n := 8
	limit := 1.0
	s := &observe.Snapshot{
		System:  observe.System{AccumulatedStepsThreshold: &limit},
		Sources: []observe.Source{{NTSCookies: &n, Measured: true}},
		Servers: []observe.Server{{TransmitError: new(observe.TransmitError), FastPath: new(observe.FastPath)}},
		Suite: observe.Suite{
			RefusedSteps: map[string]uint64{"x": 1}, KeyExchange: map[string]uint64{"x": 1}, KeyExchangeServers: []observe.KeyExchangeServer{{CertificateNotAfter: 1}}, Verdicts: map[string]uint64{"x": 1}, KeySetAge: 1,
			VirtualTruth: &observe.VirtualTruth{}, EstimateKnown: true, Parts: []observe.Part{{Name: "x"}}, Missing: []observe.MissingSource{{Name: "x"}}, Pools: []observe.NTSPool{{Name: "x"}},
		},
	}
	return s
}

// fullPool is the same for a pool.
func fullPool() *observe.Snapshot {
	return &observe.Snapshot{Pool: &observe.Pool{
		Outcomes: map[string]uint64{"x": 1}, Denied: map[string]uint64{"x": 1}, Lookups: map[string]uint64{"x": 1}, StageSeconds: map[string]observe.Durations{"x": {}},
		Algorithms: map[string]uint64{"x": 1}, Protocols: map[string]uint64{"x": 1}, Monitor: &observe.PoolMonitor{}, CountriesBuilt: 1,
		Servers: []observe.PoolServer{{Exchanges: map[string]uint64{"x": 1}, Selected: map[string]uint64{"x": 1}, RTT: 1, ListsAge: 1, CertificateNotAfter: 1, Monitored: &observe.MonitoredServer{
			Views: []observe.MonitorView{{Family: "x"}}, Algorithms: []observe.MonitorAlgorithm{{}},
		}}},
	}}
}

// TestMetricsPage compares families and labels with the page.
func TestMetricsPage(t *testing.T) {
	p := readPage(t, "ntp-metrics-exporter.8")
	text := string(metrics.Append(nil, full())) + string(metrics.Append(nil, fullPool()))
	var families []string
	for _, m := range regexp.MustCompile(`(?m)^# HELP (\S+)`).FindAllStringSubmatch(text, -1) {
		families = append(families, m[1])
	}
	var documented []string
	for _, tags := range p.sections {
		for _, tag := range tags {
			if strings.HasPrefix(tag, "ntp_") || strings.HasPrefix(tag, "ntspool_") {
				documented = append(documented, tag)
			}
		}
	}
	for _, f := range families {
		if !slices.Contains(documented, f) {
			t.Errorf("metric %s is missing", f)
		}
	}
	for _, d := range documented {
		if !slices.Contains(families, d) {
			t.Errorf("there is no metric %s", d)
		}
	}
	for _, m := range regexp.MustCompile(`[{,]([a-z_]+)="`).FindAllStringSubmatch(text, -1) {
		if !regexp.MustCompile(`(?m)^\.Va ` + m[1] + `\b`).MatchString(p.text) {
			t.Errorf("label %s is missing", m[1])
		}
	}
	var outcomes, verdicts []string
	for _, o := range ke.AllOutcomes() {
		outcomes = append(outcomes, o.String())
	}
	for _, v := range server.Verdicts() {
		verdicts = append(verdicts, v.String())
	}
	p.has(t, "Outcomes of key exchange", outcomes, true)
	p.has(t, "Verdicts on packets", verdicts, true)
}

// TestPoolOutcomes checks that the words of the pool's log are explained.
func TestPoolOutcomes(t *testing.T) {
	p := readPage(t, "nts-pool-ke.8")
	for o := poolke.Outcome(0); o.String() != "unknown"; o++ {
		if !strings.Contains(p.text, ".Ql "+o.String()) {
			t.Errorf("outcome %v is missing", o)
		}
	}
}

// members are the paths of the scalars in the JSON of a type.
func members(typ reflect.Type) (list []string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner := f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() != reflect.Struct {
			list = append(list, name)
			continue
		}
		for _, m := range members(inner) {
			list = append(list, name+"."+m)
		}
	}
	return list
}

// TestObservationPage compares the members of the snapshot with the page.
func TestObservationPage(t *testing.T) {
	p := readPage(t, "ntp-daemon.8")
	all := map[string][]string{}
	for _, m := range members(reflect.TypeFor[observe.Snapshot]()) {
		object, rest, _ := strings.Cut(m, ".")
		all[object] = append(all[object], rest)
	}
	for object, want := range all {
		if object == "nts_pool_ke" {
			readPage(t, "nts-pool-ke.8").has(t, object, want, true)
			continue
		}
		p.has(t, object, want, true)
	}
}

// help is what ntp-ctl prints for a command line that ends in --help.
func help(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	e := ctl.RealEnv()
	e.Out, e.Err, e.In = &out, &out, &bytes.Buffer{}
	if code := ctl.Main(context.Background(), append(append([]string{"ntp-ctl"}, args...), "--help"), e); code != 0 {
		t.Fatalf("ntp-ctl %v --help: exit code %d: %s", args, code, out.String())
	}
	return out.String()
}

// block returns the indented lines below a heading of a help text.
func block(text, heading string) (lines []string) {
	_, rest, _ := strings.Cut(text, "\n"+heading+":\n")
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "   ") {
			break
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// subcommands are the commands that ntp-ctl shows, and the one that its library adds unseen.
func subcommands(t *testing.T) []string {
	t.Helper()
	list := []string{"completion"}
	for _, line := range block(help(t), "COMMANDS") {
		list = append(list, strings.Fields(line)[0])
	}
	return list
}

var option = regexp.MustCompile(`^--?[A-Za-z][A-Za-z-]*`)

// optionsOf are the options in lines of a help text: "--config FILE, -c FILE  the daemon's …".
func optionsOf(lines []string) (list []string) {
	for _, line := range lines {
		names, _, _ := strings.Cut(line, "  ")
		for part := range strings.SplitSeq(names, ", ") {
			if o := option.FindString(strings.TrimSpace(part)); o != "" && o != "--help" && o != "-h" {
				list = append(list, o)
			}
		}
	}
	return list
}

// TestCtlPage compares commands and options of ntp-ctl with its page.
func TestCtlPage(t *testing.T) {
	p := readPage(t, "ntp-ctl.8")
	p.has(t, "DESCRIPTION", optionsOf(block(help(t), "GLOBAL OPTIONS")), false)
	for _, command := range subcommands(t) {
		if command != "completion" {
			p.has(t, command, optionsOf(block(help(t, command), "OPTIONS")), true)
		}
		if !strings.Contains(p.text, ".Cm "+command) {
			t.Errorf("%s: the synopsis has no %s", p.name, command)
		}
	}
	for _, name := range answerMembers(t) {
		if !strings.Contains(p.text, ".Va "+name) {
			t.Errorf("%s: member %s of query --json is missing", p.name, name)
		}
	}
}

// answerMembers are the JSON names of the struct answer of internal/ctl.
func answerMembers(t *testing.T) (names []string) {
	t.Helper()
	tag := regexp.MustCompile(`json:"([a-z_]+)`)
	for _, f := range goFiles(t, "internal/ctl") {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok && s.Name.Name == "answer" {
				for _, field := range s.Type.(*ast.StructType).Fields.List {
					names = append(names, tag.FindStringSubmatch(field.Tag.Value)[1])
				}
			}
			return true
		})
	}
	if len(names) == 0 {
		t.Error("internal/ctl has no struct answer")
	}
	return names
}

// TestManPagesLint runs mandoc over the pages.
func TestManPagesLint(t *testing.T) {
	if _, err := exec.LookPath("mandoc"); err != nil {
		t.Skip("no mandoc; make man runs this where it is installed")
	}
	out, err := exec.Command("make", "-s", "-C", root, "man").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
