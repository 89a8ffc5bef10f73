// Package docs_test holds the documentation to the programs: what a program knows must be on its manual page, and
// what a page lists must exist.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the top of the repository.
const root = ".."

// page is one manual page, by section: the entries of its lists as they are tagged.
type page struct {
	name     string
	text     string
	sections map[string][]string // heading → words of the tags below it, options with their dashes
}

// readPage reads an mdoc page as far as the tests need it. Headings of both levels count.
func readPage(t *testing.T, name string) *page {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("man", name))
	if err != nil {
		t.Fatal(err)
	}
	p := &page{name: name, text: string(b), sections: map[string][]string{}}
	heading := ""
	for line := range strings.Lines(p.text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, ".Sh "), strings.HasPrefix(line, ".Ss "):
			heading = line[4:]
			p.sections[heading] = nil
		case strings.HasPrefix(line, ".It "):
			p.sections[heading] = append(p.sections[heading], tags(line[4:])...)
		}
	}
	return p
}

// tags returns the names of one list entry: `Fl c Ar file , Fl -config Ar file` are -c and --config.
func tags(line string) (list []string) {
	option, argument := false, false
	for _, w := range strings.Fields(line) {
		switch w {
		case "Fl":
			option, argument = true, false
		case "Ar":
			argument = true
		case "Va", "Dv", "Ev", "Pa", "Ic", "Cm":
			option, argument = false, false
		case ",", "|":
		default:
			if argument {
				continue
			}
			if option {
				w = "-" + w
			}
			list = append(list, w)
		}
	}
	return list
}

// has reports what of want is missing below a heading, and what is there too much if nothing else may be there.
func (p *page) has(t *testing.T, heading string, want []string, nothingElse bool) {
	t.Helper()
	have, ok := p.sections[heading]
	if !ok {
		t.Errorf("%s has no section %q", p.name, heading)
		return
	}
	for _, w := range want {
		if !slices.Contains(have, w) {
			t.Errorf("%s, %s: %s is missing", p.name, heading, w)
		}
	}
	for _, h := range have {
		if nothingElse && !slices.Contains(want, h) {
			t.Errorf("%s, %s: %s does not exist", p.name, heading, h)
		}
	}
}

// shared is the package in which the programs have what is common to them.
const shared = "internal/program"

// goFiles parses the files of packages that are no tests.
func goFiles(t *testing.T, dirs ...string) (files []*ast.File) {
	t.Helper()
	var names []string
	for _, dir := range dirs {
		list, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil || len(list) == 0 {
			t.Fatalf("%s: no Go files (%v)", dir, err)
		}
		names = append(names, list...)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// literal is the value of a string, character or number in the source.
func literal(e ast.Expr) string {
	l, ok := e.(*ast.BasicLit)
	if !ok {
		return ""
	}
	switch l.Kind {
	case token.STRING:
		s, _ := strconv.Unquote(l.Value)
		return s
	case token.CHAR:
		return strings.Trim(l.Value, "'")
	}
	return l.Value
}

// exitCodes are the values of the constants Exit… that the functions of the packages use.
func exitCodes(t *testing.T, dirs ...string) (codes []string) {
	t.Helper()
	values := map[string]string{}
	for _, f := range goFiles(t, append(dirs, shared)...) {
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, "Exit") && len(v.Values) == 1 {
				values[v.Names[0].Name] = literal(v.Values[0])
			}
			return true
		})
	}
	for _, f := range goFiles(t, dirs...) {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && values[id.Name] != "" {
					codes = append(codes, values[id.Name])
				}
				return true
			})
		}
	}
	if len(codes) == 0 {
		t.Fatalf("%s have no exit codes", dirs)
	}
	return append(codes, "0")
}

// options are the command line options that a program declares with program.Option.
func options(t *testing.T, dir string) (list []string) {
	t.Helper()
	for _, f := range goFiles(t, dir, shared) {
		ast.Inspect(f, func(n ast.Node) bool {
			kv, ok := n.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			switch key, _ := kv.Key.(*ast.Ident); {
			case key == nil:
			case key.Name == "Short":
				list = append(list, "-"+literal(kv.Value))
			case key.Name == "Long":
				list = append(list, "--"+literal(kv.Value))
			}
			return true
		})
	}
	if len(list) == 0 {
		t.Fatalf("%s has no options", dir)
	}
	return list
}

// TestProgramPages checks options and exit codes of the programs that start through internal/program; the codes of the
// daemons are in TestExitCodes.
func TestProgramPages(t *testing.T) {
	for _, program := range []string{"ntp-daemon", "nts-pool-ke", "ntp-metrics-exporter"} {
		readPage(t, program+".8").has(t, "OPTIONS", options(t, "cmd/"+program), true)
	}
	readPage(t, "ntp-metrics-exporter.8").has(t, "EXIT STATUS", exitCodes(t, "internal/exporter", shared), true)
	// 71 comes from the entry that is linked in front of the Go runtime (internal/rlimit).
	readPage(t, "ntp-ctl.8").has(t, "EXIT STATUS", append(exitCodes(t, "internal/ctl"), "71"), true)
}

// signals are the named signals that the programs' common start mentions, those that it ignores left out.
func signals(t *testing.T) (list []string) {
	t.Helper()
	for _, f := range goFiles(t, shared) {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && strings.HasPrefix(s.Sel.Name, "SIG") && s.Sel.Name != "SIGPIPE" {
				list = append(list, s.Sel.Name)
			}
			return true
		})
	}
	return list
}

// TestSignals checks that the daemons' signals are explained.
func TestSignals(t *testing.T) {
	for _, program := range []string{"ntp-daemon", "nts-pool-ke", "ntp-metrics-exporter"} {
		readPage(t, program+".8").has(t, "SIGNALS", signals(t), true)
	}
}

// markdown lists the repository's own .md files.
func markdown(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "build" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ".md") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil || len(files) < 5 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	return files
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)

// TestLinks checks that relative links lead to a file.
func TestLinks(t *testing.T) {
	generated := map[string]bool{filepath.Join(root, "docs/scorecard.md"): true} // by make scorecard
	for _, file := range markdown(t) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			target := filepath.Join(filepath.Dir(file), m[1])
			if _, err := os.Stat(target); err != nil && !generated[target] {
				t.Errorf("%s: link to %s leads nowhere", file, m[1])
			}
		}
	}
}

var (
	makeCall   = regexp.MustCompile("(?m)(?:^|`|sudo |[a-z]=[^ `]* )make ([a-z][a-z-]*)")
	makeTarget = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
	program    = regexp.MustCompile(`(?m)(?:^|sudo )(?:bin/)?(ntp-[a-z-]+|nts-pool-ke)(?: ([a-z-]+))?\b`)
)

// TestCommands checks that every `make TARGET` of the documents is in the Makefile, and every program that they
// call is built.
func TestCommands(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, m := range makeTarget.FindAllStringSubmatch(string(b), -1) {
		targets = append(targets, m[1])
	}
	calls := 0
	for _, file := range markdown(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range makeCall.FindAllStringSubmatch(string(text), -1) {
			calls++
			if !slices.Contains(targets, m[1]) {
				t.Errorf("%s: the Makefile has no %q", file, m[1])
			}
		}
		for _, block := range fenced(string(text), "") {
			for _, m := range program.FindAllStringSubmatch(block, -1) {
				if _, err := os.Stat(filepath.Join(root, "cmd", m[1])); err != nil {
					t.Errorf("%s: there is no program %s", file, m[1])
				}
				if m[1] == "ntp-ctl" && !slices.Contains(subcommands(t), m[2]) {
					t.Errorf("%s: ntp-ctl has no command %q", file, m[2])
				}
			}
		}
	}
	if calls < 5 {
		t.Errorf("found %d calls of make only; is the pattern right?", calls)
	}
}

// fenced returns the blocks of a document with the given language, between lines of three backquotes.
func fenced(text, language string) (blocks []string) {
	var block *strings.Builder
	open := false
	for line := range strings.Lines(text) {
		if after, fence := strings.CutPrefix(strings.TrimSpace(line), "```"); fence {
			if open && block != nil {
				blocks = append(blocks, block.String())
			}
			block = nil
			if open = !open; open && after == language {
				block = new(strings.Builder)
			}
			continue
		}
		if block != nil {
			block.WriteString(line)
		}
	}
	return blocks
}
