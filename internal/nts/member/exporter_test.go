package member

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestD3_17_NoExporter, docs/rules/pool.md#exporter-once: what a connection to a time source is in the hands of has no way to its
// TLS state, and this package never derives a key from one; the state is looked at once, before the first request, for the
// protocol and the end of the certificate.
func TestD3_17_NoExporter(t *testing.T) {
	field, ok := reflect.TypeFor[conn]().FieldByName("tls")
	if !ok || field.Type != reflect.TypeFor[net.Conn]() {
		t.Errorf("the connection has the type %v, through which its TLS state can be reached", field.Type)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	states := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			switch {
			case !ok:
			case strings.HasPrefix(id.Name, "Export"):
				t.Errorf("%s exports keys: %s", name, id.Name)
			case id.Name == "ConnectionState":
				states++
			}
			return true
		})
	}
	if states != 2 { // the parameter of checkKey, and connectTo
		t.Errorf("the TLS state is used in %d places", states)
	}
}
