// Package internal_test keeps the floors of the house (docs/architecture.md): which package may import which,
// and what the pure floors must not touch.
package internal_test

import (
	"encoding/json"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "ntp-daemon"

// floors is the plan of docs/architecture.md: a package imports from lower floors only, plus sideways.
var floors = map[string]int{
	"ntp": 0, "secret": 0, "printable": 0, "logtarget": 0, "units": 0, "nts/aead": 0, "nts/record": 0,
	"nts": 1, "source": 1, "server": 1, "algorithm": 1, "system": 1, "timekeeper": 1, "pool": 1, "poolmonitor": 1,
	"alarm": 2, "clock": 2, "udp": 2, "accept": 2, "handover": 2, "nts/ke": 2, "nts/member": 2, "resolve": 2, "durable": 2, "pki": 2, "observe": 2, "fastpath": 2, "logging": 2, "privdrop": 2, "rlimit": 2, "netwatch": 2, "geo": 2, "web": 2,
	"config": 3, "program": 3, "metrics": 3, "locate": 3, "assoc": 3, "daemon": 3, "poolke": 3, "poolview": 3, "poolpage": 3, "ctl": 3, "exporter": 3, "xdp": 3, "version": 0,
}

// sideways are the edges allowed on one floor.
var sideways = map[string][]string{
	"nts/record": {"nts/aead", "secret"},
	"source":     {"nts"},
	"server":     {"nts"},
	"system":     {"algorithm"},
	"timekeeper": {"algorithm", "system"},
	"pool":       {"nts"},
	"nts/ke":     {"accept"},
	"pki":        {"durable"},
	"geo":        {"durable"},
	"nts/member": {"accept", "nts/ke"},
	"program":    {"config"},
	"locate":     {"config"},
	"assoc":      {"config", "locate"},
	"daemon":     {"assoc", "config", "locate", "program"},
	"poolview":   {"program"},
	"poolpage":   {"poolview"},
	"poolke":     {"assoc", "config", "locate", "metrics", "poolpage", "program"},
	"ctl":        {"config", "locate", "metrics", "poolview", "program"},
	"exporter":   {"config", "metrics", "program"},
	"xdp":        {"program"},

	"poolmonitor": {"algorithm"},
}

// testOnly packages may be imported by _test.go files only.
var testOnly = []string{"sim", "faultnet", "testca", "dnstest", "suite", "loadgen", "clock/clocktest", "geo/geotest"}

// clockUsers are the only packages that may import clock outside tests.
var clockUsers = []string{"internal/daemon", "internal/ctl"}

type pkg struct {
	ImportPath, Dir string
	Imports         []string
	GoFiles         []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", "./...")
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}

func inner(path string) (string, bool) { return strings.CutPrefix(path, module+"/internal/") }

func TestFloors(t *testing.T) {
	for _, p := range list(t) {
		name, ok := inner(p.ImportPath)
		if !ok || slices.Contains(testOnly, name) || len(p.GoFiles) == 0 {
			continue
		}
		floor, known := floors[name]
		if !known {
			t.Errorf("%s has no floor; add it to the plan in docs/architecture.md and here", name)
			continue
		}
		for _, imp := range p.Imports {
			other, ok := inner(imp)
			if !ok {
				continue
			}
			if slices.Contains(testOnly, other) {
				t.Errorf("%s imports %s, which is for tests only", name, other)
				continue
			}
			of := floors[other]
			allowed := of < floor || slices.Contains(sideways[name], other)
			if floor == 2 && of == 1 && name != "nts/ke" && name != "nts/member" {
				allowed = false // floor 2 knows neither its neighbours nor floor 1
			}
			if !allowed {
				t.Errorf("%s (floor %d) must not import %s (floor %d)", name, floor, other, of)
			}
		}
	}
}

// TestPlan: what docs/architecture.md, floors and sideways say is the same, and each sideways edge is in use.
func TestPlan(t *testing.T) {
	text, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^  (\S+/(?: \S+/)*) +floor (\d)(?:.*\(→ (.*)\))?`)
	planned, edges := map[string]int{}, map[string][]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		for name := range strings.FieldsSeq(m[1]) {
			name = strings.TrimSuffix(name, "/")
			planned[name] = int(m[2][0] - '0')
			if m[3] != "" {
				edges[name] = strings.Split(m[3], ", ")
			}
		}
	}
	if !maps.Equal(planned, floors) {
		t.Errorf("docs/architecture.md has the floors %v, this test %v", planned, floors)
	}
	if !maps.EqualFunc(edges, sideways, slices.Equal) {
		t.Errorf("docs/architecture.md has the sideways edges %v, this test %v", edges, sideways)
	}
	for _, p := range list(t) {
		name, _ := inner(p.ImportPath)
		for _, to := range sideways[name] {
			if !slices.Contains(p.Imports, module+"/internal/"+to) {
				t.Errorf("%s does not import %s; the edge can go from docs/architecture.md and here", name, to)
			}
		}
	}
}

func TestWhoTouchesTheClock(t *testing.T) {
	for _, p := range list(t) {
		rel := strings.TrimPrefix(p.ImportPath, module+"/")
		if strings.HasPrefix(rel, "cmd/") || slices.Contains(clockUsers, rel) || rel == "internal/clock/clocktest" {
			continue
		}
		if slices.Contains(p.Imports, module+"/internal/clock") {
			t.Errorf("%s imports internal/clock; only cmd, daemon, ctl and tests may", rel)
		}
	}
}

// forbidden are the selectors that a pure floor must not use: time, randomness and the outside world are arguments.
var forbidden = map[string][]string{
	"time": {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
	"net":  {"Dial", "DialTimeout", "DialUDP", "DialTCP", "Listen", "ListenPacket", "ListenUDP", "ListenTCP"},
}

var forbiddenImports = []string{"os", "crypto/rand", "math/rand", "math/rand/v2", "log", "log/slog", "github.com/rs/zerolog"}

// deciders decide about the clock: the same input gives the same decision, so nothing in them may depend on scheduling
// or on the order of a map.
var deciders = []string{"algorithm", "system", "timekeeper"}

func TestPureFloors(t *testing.T) {
	for _, p := range list(t) {
		name, ok := inner(p.ImportPath)
		if !ok {
			continue
		}
		if f, known := floors[name]; !known || f > 1 {
			continue
		}
		for _, imp := range p.Imports {
			if slices.Contains(forbiddenImports, imp) || slices.Contains(deciders, name) && strings.HasPrefix(imp, "sync") {
				t.Errorf("%s imports %s", name, imp)
			}
		}
		for _, file := range p.GoFiles {
			checkPure(t, filepath.Join(p.Dir, file))
		}
	}
}

func checkPure(t *testing.T, path string) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			t.Errorf("%s: go statement on a pure floor", fset.Position(n.Pos()))
		case *ast.SelectorExpr:
			if id, ok := n.X.(*ast.Ident); ok && id.Obj == nil && slices.Contains(forbidden[id.Name], n.Sel.Name) {
				t.Errorf("%s: %s.%s on a pure floor", fset.Position(n.Pos()), id.Name, n.Sel.Name)
			}
		}
		return true
	})
}

func TestOnlyCommandsExit(t *testing.T) {
	for _, p := range list(t) {
		if strings.HasPrefix(p.ImportPath, module+"/cmd/") || strings.HasPrefix(p.ImportPath, module+"/test-keys/") || strings.HasPrefix(p.ImportPath, module+"/tools/") {
			continue
		}
		if name, ok := inner(p.ImportPath); ok && slices.Contains(testOnly, name) {
			continue
		}
		for _, file := range p.GoFiles {
			b, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			for _, bad := range []string{"os.Exit(", "log.Fatal"} {
				if strings.Contains(string(b), bad) {
					t.Errorf("%s/%s calls %s…; only cmd/ exits", p.ImportPath, file, bad)
				}
			}
		}
	}
}

// openers may open files by a name that is not written in the code, besides durable, and why.
var openers = map[string]string{
	"internal/logging/file.go":           "the log",
	"internal/program/privileges.go":     "the log",
	"internal/resolve/resolvconf.go":     "the system's file",
	"internal/clock/standstill_linux.go": "the system's file",
}

// TestNamedFiles: what an operator names is opened by durable, which cannot block
// (docs/rules/configuration.md#named-files).
func TestNamedFiles(t *testing.T) {
	opens := regexp.MustCompile(`\b(os\.(Open|OpenFile|ReadFile)|tls\.LoadX509KeyPair)\([^"]`)
	for _, p := range list(t) {
		name, ok := inner(p.ImportPath)
		if ok && (name == "durable" || slices.Contains(testOnly, name)) || strings.HasPrefix(p.ImportPath, module+"/tools/") {
			continue
		}
		for _, file := range p.GoFiles {
			b, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			path := strings.TrimPrefix(p.ImportPath, module+"/") + "/" + file
			if found := opens.FindString(string(b)); found != "" && openers[path] == "" {
				t.Errorf("%s has %s…; durable.OpenNamed and ReadNamed open what an operator names", path, found)
			}
		}
	}
}

// TestNoMapRanges: where floats are added or a choice is made, the order must not depend on a map.
func TestNoMapRanges(t *testing.T) {
	for _, p := range list(t) {
		if name, _ := inner(p.ImportPath); !slices.Contains(deciders, name) {
			continue
		}
		fset := token.NewFileSet()
		var files []*ast.File
		for _, file := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, file), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
		conf := types.Config{Importer: importer.ForCompiler(fset, "source", nil), Error: func(error) {}}
		_, _ = conf.Check(p.ImportPath, fset, files, info)
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				r, ok := n.(*ast.RangeStmt)
				if !ok {
					return true
				}
				if tv, ok := info.Types[r.X]; ok && tv.Type != nil {
					if _, isMap := tv.Type.Underlying().(*types.Map); isMap {
						t.Errorf("%s: range over a map", fset.Position(r.Pos()))
					}
				}
				return true
			})
		}
	}
}

// TestLogTargets: the name of a part of the program in the log is written once, in internal/logtarget.
func TestLogTargets(t *testing.T) {
	literals := func(path string) (list []string) {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if _, isImport := n.(*ast.ImportSpec); isImport {
				return false
			}
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				list = append(list, lit.Value)
			}
			return true
		})
		return list
	}
	targets := literals("logtarget/logtarget.go")
	if len(targets) == 0 {
		t.Fatal("no targets")
	}
	for _, p := range list(t) {
		if name, ok := inner(p.ImportPath); !ok || name == "logtarget" {
			continue
		}
		for _, file := range p.GoFiles {
			for _, l := range literals(filepath.Join(p.Dir, file)) {
				if slices.Contains(targets, l) || strings.Contains(l, "ntpd::") {
					t.Errorf("%s/%s: %s stands in internal/logtarget", p.ImportPath, file, l)
				}
			}
		}
	}
}

// heavy libraries belong to ntp-ctl and to tests and never reach the daemons; what loads programs into the kernel belongs to ntp-xdp alone. nts-pool-ke has an HTTP listener for its operator;
// ntp-daemon has none, its exporter is a program of its own.
func TestDaemonStaysLight(t *testing.T) {
	heavy := map[string][]string{
		"ntp-daemon":           {"github.com/cilium", "github.com/oschwald", "github.com/prometheus", "github.com/urfave", "net/http", "html/template"},
		"nts-pool-ke":          {"github.com/cilium", "github.com/prometheus", "github.com/urfave"},
		"ntp-metrics-exporter": {"github.com/cilium", "github.com/prometheus", "github.com/urfave"},
		"ntp-ctl":              {"github.com/cilium"},
		"ntp-xdp":              {"github.com/prometheus", "github.com/urfave", "net/http", "html/template"},
	}
	for cmdName, list := range heavy {
		if _, err := os.Stat("../cmd/" + cmdName); err != nil {
			t.Skipf("cmd/%s not there yet", cmdName)
		}
		cmd := exec.Command("go", "list", "-deps", "./cmd/"+cmdName)
		cmd.Dir = ".."
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, dep := range strings.Fields(string(out)) {
			for _, bad := range list {
				if strings.HasPrefix(dep, bad) {
					t.Errorf("%s links %s", cmdName, dep)
				}
			}
		}
	}
}

// The style sheet's sizes: no function over 100 lines, no file over 500 (tests and tables exempt).
func TestSizes(t *testing.T) {
	const maxFunc, maxFile = 100, 500
	for _, p := range list(t) {
		for _, file := range p.GoFiles {
			path := filepath.Join(p.Dir, file)
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			if n := fset.Position(f.End()).Line; n > maxFile {
				t.Errorf("%s/%s has %d lines", p.ImportPath, file, n)
			}
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line; n > maxFunc {
					t.Errorf("%s: %s has %d lines", fset.Position(fn.Pos()), fn.Name.Name, n)
				}
			}
		}
	}
}

func TestGofmt(t *testing.T) {
	out, err := exec.Command("gofmt", "-l", "..").CombinedOutput()
	if err != nil {
		t.Fatalf("gofmt: %v", err)
	}
	if s := strings.TrimSpace(string(out)); s != "" {
		t.Errorf("gofmt would change:\n%s", s)
	}
}
