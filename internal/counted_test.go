package internal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// production is what the commands link of this module, without tests: parsed, type-checked, each package once, so
// that a field is the same object in all of them.
type production struct {
	fset *token.FileSet
	info *types.Info
	pkgs map[string]*types.Package
	code map[string][]*ast.File // by import path
}

// loadProduction type-checks the module's packages in the order of their dependencies; what is not ours comes from
// the build cache.
func loadProduction(t *testing.T) *production {
	t.Helper()
	p := &production{
		fset: token.NewFileSet(), pkgs: map[string]*types.Package{}, code: map[string][]*ast.File{},
		info: &types.Info{
			Selections: map[*ast.SelectorExpr]*types.Selection{}, Uses: map[*ast.Ident]types.Object{},
			Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{},
		},
	}
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,GoFiles,Export", "./cmd/...")
	cmd.Dir, cmd.Stderr = "..", os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports := map[string]string{}
	conf := types.Config{Importer: p, FakeImportC: true}
	p.pkgs["unsafe"] = types.Unsafe
	cached := importer.ForCompiler(p.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var l struct {
			ImportPath, Dir, Export string
			GoFiles                 []string
		}
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return p
		} else if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(l.ImportPath, module+"/") {
			exports[l.ImportPath] = l.Export
			if l.ImportPath != "unsafe" {
				if p.pkgs[l.ImportPath], err = cached.Import(l.ImportPath); err != nil {
					t.Fatalf("%s: %v", l.ImportPath, err)
				}
			}
			continue
		}
		var files []*ast.File
		for _, name := range l.GoFiles {
			f, err := parser.ParseFile(p.fset, filepath.Join(l.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		if p.pkgs[l.ImportPath], err = conf.Check(l.ImportPath, p.fset, files, p.info); err != nil {
			t.Fatal(err)
		}
		p.code[l.ImportPath] = files
	}
}

// Import finds what is loaded already.
func (p *production) Import(path string) (*types.Package, error) {
	if pkg := p.pkgs[path]; pkg != nil {
		return pkg, nil
	}
	for name, pkg := range p.pkgs { // the standard library's own copies of golang.org/x
		if strings.HasSuffix(name, "/vendor/"+path) {
			return pkg, nil
		}
	}
	return nil, fmt.Errorf("%s is not loaded", path)
}

// reads are the fields that the code of other packages reads. A selector that is assigned to or counted up, or whose address a method
// Add or Store of sync/atomic takes, is no read; every other one is. Who converts a struct reads all its fields.
func (p *production) reads() map[*types.Var]bool {
	read, written, here := map[*types.Var]bool{}, map[ast.Expr]bool{}, ""
	reads := func(f *types.Var) {
		if f = f.Origin(); f.Pkg() != nil && f.Pkg().Path() != here {
			read[f] = true
		}
	}
	visit := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, l := range n.Lhs {
				written[operand(l)] = true
			}
		case *ast.IncDecStmt:
			written[operand(n.X)] = true
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && (s.Sel.Name == "Add" || s.Sel.Name == "Store") {
				if f, ok := p.info.Uses[s.Sel].(*types.Func); ok && f.Pkg() != nil && f.Pkg().Path() == "sync/atomic" {
					written[operand(s.X)] = true
				}
			}
			if len(n.Args) == 1 && p.info.Types[n.Fun].IsType() {
				if st, ok := p.info.TypeOf(n.Args[0]).Underlying().(*types.Struct); ok {
					for f := range st.Fields() {
						reads(f)
					}
				}
			}
		case *ast.SelectorExpr:
			if sel := p.info.Selections[n]; sel != nil && sel.Kind() == types.FieldVal && !written[n] {
				reads(sel.Obj().(*types.Var))
			}
		}
		return true
	}
	for path, files := range p.code {
		here = path
		for _, f := range files {
			ast.Inspect(f, visit)
		}
	}
	return read
}

// operand is the selector below indices, parentheses and dereferences.
func operand(e ast.Expr) ast.Expr {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return e
		}
	}
}

// counted are the types that say what happened, by the ends of their names.
var counted = []string{"Counters", "Totals", "Report", "Status"}

// TestWhatIsCountedIsShown: every exported field of a type that counts or reports is read by production code of another
// package, and so is on its way to somebody. What package observe has leaves as JSON. testdata/unread.txt names the exceptions.
func TestWhatIsCountedIsShown(t *testing.T) {
	p := loadProduction(t)
	read, reasons, fields := p.reads(), exceptions(t, "testdata/unread.txt"), 0
	for path, pkg := range p.pkgs {
		short, ours := strings.CutPrefix(path, module+"/")
		if !ours || short == "internal/observe" {
			continue
		}
		for _, name := range pkg.Scope().Names() {
			obj, ok := pkg.Scope().Lookup(name).(*types.TypeName)
			if !ok || !slices.ContainsFunc(counted, func(end string) bool { return strings.HasSuffix(name, end) }) {
				continue
			}
			st, ok := obj.Type().Underlying().(*types.Struct)
			if !ok {
				continue
			}
			for f := range st.Fields() {
				full := short + "." + name + "." + f.Name()
				if !f.Exported() || f.Embedded() {
					continue
				}
				fields++
				switch _, excused := reasons[full]; {
				case read[f.Origin()] == excused && excused:
					t.Errorf("testdata/unread.txt: %s is read; remove its line", full)
				case !read[f.Origin()] && !excused:
					t.Errorf("%s: nobody reads %s; show it (snapshot, metric, page), or do not count it", p.fset.Position(f.Pos()), full)
				}
				delete(reasons, full)
			}
		}
	}
	for name := range reasons {
		t.Errorf("testdata/unread.txt: there is no %s", name)
	}
	if fields < 40 {
		t.Errorf("found %d fields only; are the names right?", fields)
	}
}
