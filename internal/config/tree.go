package config

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// nodeKind is the type of a value in the file.
type nodeKind uint8

const (
	kindTable  nodeKind = iota
	kindTables          // array of tables made by [[header]]
	kindArray
	kindString
	kindInteger
	kindFloat
	kindBool
	kindDate
	kindNull // JSON only
)

// String names the kind as the sentence "… needs a string, not KIND" wants it.
func (k nodeKind) String() string {
	return [...]string{"a table", "an array of tables", "an array", "a string", "a whole number", "a number",
		"true or false", "a date", "null"}[k]
}

// origin says how a table came to be, which decides who may add to it (TOML 1.0, "Table" and "Inline Table").
type origin uint8

const (
	byPath   origin = iota // passed through by a longer header; its own header may still come
	byHeader               // has had its own header
	byDots                 // made by a dotted key; only dotted keys of the same table may extend it
	inline                 // closed by its brace
)

// node is one value of the file with the places of its key and of itself as byte offsets.
type node struct {
	kind     nodeKind
	origin   origin
	key, val int
	text     string // content of a string, literal of anything else that is scalar
	items    []*node
	names    []string // keys of a table in file order
	children map[string]*node
}

func newTable(o origin, at int) *node {
	return &node{kind: kindTable, origin: o, key: at, val: at, children: map[string]*node{}}
}

func (n *node) add(name string, child *node) {
	n.names = append(n.names, name)
	n.children[name] = child
}

// document is a parsed file.
type document struct {
	root  *node
	lines []int // offsets of the line starts
	data  []byte
}

// syntaxError is a place where the file is no TOML.
type syntaxError struct {
	at   int
	key  string
	what string
}

// parse builds the tree. Duplicate keys are found here by one map lookup each: go-toml's own tracker compares
// with every earlier key and takes minutes on a hostile file of a few megabytes.
func parse(data []byte) (*document, *syntaxError) {
	data = data[:len(data):len(data)] // the parser finds offsets by capacity
	d := &document{root: newTable(byHeader, 0), data: data, lines: []int{0}}
	for i, c := range data {
		if c == '\n' {
			d.lines = append(d.lines, i+1)
		}
	}
	b := builder{root: d.root, current: d.root}
	b.p.Reset(data)
	for b.p.NextExpression() {
		if err := b.expression(b.p.Expression()); err != nil {
			return d, err
		}
	}
	if err := b.p.Error(); err != nil {
		return d, b.syntax(err)
	}
	return d, nil
}

// position converts an offset into line and column; columns count characters, as editors do.
func (d *document) position(at int) (line, column int) {
	at = min(at, len(d.data))
	i := sort.SearchInts(d.lines, at+1) - 1
	return i + 1, utf8.RuneCount(d.data[d.lines[i]:at]) + 1
}

// builder enters the parser's expressions into the tree.
type builder struct {
	p             unstable.Parser
	root, current *node
}

func (b *builder) syntax(err error) *syntaxError {
	var pe *unstable.ParserError
	if errors.As(err, &pe) {
		return &syntaxError{at: int(b.p.Range(pe.Highlight).Offset), what: pe.Message}
	}
	return &syntaxError{what: err.Error()}
}

func (b *builder) expression(e *unstable.Node) *syntaxError {
	switch e.Kind {
	case unstable.Table:
		return b.header(e, false)
	case unstable.ArrayTable:
		return b.header(e, true)
	case unstable.KeyValue:
		return b.keyValue(b.current, e, byDots)
	}
	return nil
}

// header enters [a.b] or [[a.b]] and makes that table the current one.
func (b *builder) header(e *unstable.Node, many bool) *syntaxError {
	at, it := b.root, e.Key()
	for it.Next() {
		name, off := string(it.Node().Data), int(it.Node().Raw.Offset)
		next := at.children[name]
		last := it.IsLast()
		switch {
		case next == nil && last && many:
			next = &node{kind: kindTables, key: off, val: off}
			at.add(name, next)
		case next == nil:
			next = newTable(byPath, off)
			at.add(name, next)
		case last && next.kind == kindTable && next.origin != byPath || last && many != (next.kind == kindTables):
			return b.twice(name, off, next)
		case next.kind != kindTable && next.kind != kindTables || next.origin == inline:
			return b.twice(name, off, next)
		}
		if last && !many {
			next.origin, next.key, next.val = byHeader, off, off
		}
		if next.kind == kindTables {
			if last {
				next.items = append(next.items, newTable(byHeader, off))
			}
			next = next.items[len(next.items)-1]
		}
		at = next
	}
	b.current = at
	return nil
}

// keyValue enters a.b = value below table at; made is the origin of the tables that the dots create.
func (b *builder) keyValue(at *node, e *unstable.Node, made origin) *syntaxError {
	it := e.Key()
	for it.Next() {
		name, off := string(it.Node().Data), int(it.Node().Raw.Offset)
		next := at.children[name]
		if it.IsLast() {
			if next != nil {
				return b.twice(name, off, next)
			}
			v, err := b.value(e.Value(), off)
			if err != nil {
				return err
			}
			v.key = off
			at.add(name, v)
			return nil
		}
		if next == nil {
			next = newTable(made, off)
			at.add(name, next)
		} else if next.kind != kindTable || next.origin != byDots {
			return b.twice(name, off, next)
		}
		at = next
	}
	return nil
}

func (b *builder) twice(name string, off int, first *node) *syntaxError {
	line := bytes.Count(b.p.Data()[:first.key], []byte{'\n'}) + 1
	return &syntaxError{at: off, key: name, what: fmt.Sprintf("defined twice, first in line %d", line)}
}

// value converts a value; off stands in where the parser keeps no place of its own, which is for arrays.
func (b *builder) value(v *unstable.Node, off int) (*node, *syntaxError) {
	n := &node{key: off, val: off, text: string(v.Data)}
	if v.Raw.Length > 0 {
		n.val = int(v.Raw.Offset)
	}
	switch v.Kind {
	case unstable.String:
		n.kind = kindString
	case unstable.Integer:
		n.kind = kindInteger
	case unstable.Float:
		n.kind = kindFloat
	case unstable.Bool:
		n.kind = kindBool
	case unstable.Array:
		n.kind = kindArray
		for it := v.Children(); it.Next(); {
			item, err := b.value(it.Node(), off)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
	case unstable.InlineTable:
		t := newTable(inline, n.val)
		for it := v.Children(); it.Next(); {
			if err := b.keyValue(t, it.Node(), byDots); err != nil {
				return nil, err
			}
		}
		return t, nil
	default:
		n.kind = kindDate
	}
	return n, nil
}
