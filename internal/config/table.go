package config

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// table reads one table of the file. Every getter marks its key as known, leaves dst alone when the key is
// absent, and reports what is wrong with the value; finish reports the keys that nobody asked for.
type table struct {
	l     *loader
	node  *node
	path  string // dotted path of the table, empty for the root
	many  bool   // it is one of an array of tables
	known []string
}

func (t *table) name(key string) string {
	if t.path == "" {
		return key
	}
	return t.path + "." + key
}

// header is the table as a file has it.
func (t *table) header() string {
	switch {
	case t.path == "":
		return topOfFile
	case t.many:
		return "[[" + t.path + "]]"
	}
	return "[" + t.path + "]"
}

// get returns the value of a key, or nil.
func (t *table) get(key string) *node {
	t.known = append(t.known, key)
	return t.node.children[key]
}

// has reports whether the file holds the key.
func (t *table) has(key string) bool { return t.node.children[key] != nil }

// fail reports a problem with the value of a key.
func (t *table) fail(key string, n *node, what, remedy string) {
	t.l.problem(n.val, t.name(key), what, remedy)
}

// missing reports that a required key is not there.
func (t *table) missing(key, remedy string) {
	t.l.problem(t.node.key, t.name(key), "is missing", remedy)
}

// typed returns the value of a key when it has the wanted kind, and reports any other kind.
func (t *table) typed(key string, want nodeKind, example string) *node {
	n := t.get(key)
	if n == nil {
		return nil
	}
	if n.kind != want {
		t.fail(key, n, fmt.Sprintf("needs %v, not %v", want, n.kind), "write "+example)
		return nil
	}
	return n
}

func (t *table) boolean(key string, dst *bool) {
	if n := t.typed(key, kindBool, key+" = true or "+key+" = false"); n != nil {
		*dst = n.text == "true"
	}
}

func (t *table) text(key, example string, dst *string) bool {
	n := t.typed(key, kindString, key+" = "+strconv.Quote(example))
	if n == nil {
		return false
	}
	if n.text == "" {
		t.fail(key, n, "is empty", "write "+key+" = "+strconv.Quote(example)+", or remove the key")
		return false
	}
	*dst = n.text
	return true
}

// file is text that names a file.
func (t *table) file(key, example string, dst *string) bool {
	n := t.node.children[key]
	if !t.text(key, example, dst) {
		return false
	}
	if strings.ContainsRune(*dst, 0) {
		t.fail(key, n, "holds a NUL byte", "write the path without it")
		return false
	}
	return true
}

// oneOf reads a string out of a fixed list and returns its place in it.
func (t *table) oneOf(key string, list ...string) (int, bool) {
	n := t.get(key)
	if n == nil {
		return 0, false
	}
	if n.kind != kindString {
		t.fail(key, n, fmt.Sprintf("needs %v, not %v", kindString, n.kind), "use "+alternatives(list))
		return 0, false
	}
	for i, s := range list {
		if n.text == s {
			return i, true
		}
	}
	t.fail(key, n, fmt.Sprintf("%s is not known", quote(n.text)), "use "+alternatives(list)+nearest(n.text, list))
	return 0, false
}

// span is the range of a number, ends included, and its unit.
type span struct {
	min, max float64
	unit     string
}

func (s span) String() string {
	u := s.unit
	if u != "" {
		u = " " + u
	}
	return figure(s.min) + " to " + figure(s.max) + u
}

// figure writes a number as an operator would: 86400, 0.0001, 1e-08.
func figure(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// number reads a number inside the span; whole numbers are numbers. It is where NaN, infinities and literals
// that no float64 holds end (row F02).
func (t *table) number(key string, s span, dst *float64) bool {
	n := t.get(key)
	return n != nil && t.numberOf(key, n, s, dst)
}

func (t *table) numberOf(key string, n *node, s span, dst *float64) bool {
	v, ok := n.float()
	switch {
	case !ok:
		t.fail(key, n, fmt.Sprintf("needs a number, not %v", n.kind), "use "+s.String())
	case math.IsNaN(v):
		t.fail(key, n, "nan is not a number", "use "+s.String())
	case v < s.min || v > s.max:
		t.fail(key, n, shorten(n.text)+" is out of range", "use "+s.String())
	default:
		*dst = v
		return true
	}
	return false
}

// integer reads a whole number inside the span.
func (t *table) integer(key string, s span, dst *int) bool {
	n := t.get(key)
	if n == nil {
		return false
	}
	if n.kind != kindInteger {
		what := fmt.Sprintf("needs a whole number, not %v", n.kind)
		if n.kind == kindFloat {
			what = shorten(n.text) + " is not a whole number"
		}
		t.fail(key, n, what, "use "+s.String())
		return false
	}
	v, _ := n.float()
	if v < s.min || v > s.max {
		t.fail(key, n, shorten(n.text)+" is out of range", "use "+s.String())
		return false
	}
	*dst = int(v)
	return true
}

// float converts the literal of a number. A literal too large for float64 becomes an infinity, which no span
// contains; whole numbers of the spans in use are exact in float64.
func (n *node) float() (float64, bool) {
	text := strings.ReplaceAll(n.text, "_", "")
	switch n.kind {
	case kindFloat:
		v, err := strconv.ParseFloat(text, 64)
		return v, err == nil || math.IsInf(v, 0)
	case kindInteger:
		if v, err := strconv.ParseInt(text, 0, 64); err == nil {
			return float64(v), true
		}
		if strings.HasPrefix(text, "-") {
			return math.Inf(-1), true
		}
		return math.Inf(1), true
	}
	return 0, false
}

// interval reads a number of units as a duration.
func (t *table) interval(key string, s span, unit time.Duration, dst *time.Duration) bool {
	var v float64
	if !t.number(key, s, &v) {
		return false
	}
	*dst = time.Duration(math.Round(v * float64(unit)))
	return true
}

// listen reads "address:port".
func (t *table) listen(key, example string, dst *netip.AddrPort) {
	n := t.typed(key, kindString, key+" = "+strconv.Quote(example))
	if n == nil {
		return
	}
	remedy := "write " + key + " = " + strconv.Quote(example)
	ap, err := netip.ParseAddrPort(n.text)
	switch {
	case err != nil:
		t.fail(key, n, quote(n.text)+" is not an IP address with a port", remedy)
	case ap.Port() == 0:
		t.fail(key, n, "port 0 is out of range", "use 1 to 65535")
	default:
		*dst = ap
	}
}

// strings reads an array of strings and returns its items, whose text is not empty.
func (t *table) strings(key, example string) []*node {
	n := t.typed(key, kindArray, key+" = ["+strconv.Quote(example)+"]")
	if n == nil {
		return nil
	}
	items := make([]*node, 0, len(n.items))
	for _, item := range n.items {
		switch {
		case item.kind != kindString:
			t.fail(key, item, fmt.Sprintf("needs strings, not %v", item.kind), "write "+key+" = ["+strconv.Quote(example)+"]")
		case item.text == "":
			t.fail(key, item, "holds an empty string", "remove it")
		default:
			items = append(items, item)
		}
	}
	return items
}

// sub returns the table below a key; an absent one reads as empty.
func (t *table) sub(key string) *table {
	n := t.get(key)
	if n != nil && n.kind != kindTable {
		what := fmt.Sprintf("needs a table, not %v", n.kind)
		t.fail(key, n, what, "write ["+t.name(key)+"] once")
		n = nil
	}
	if n == nil {
		n = newTable(byPath, t.node.key)
	}
	return &table{l: t.l, node: n, path: t.name(key)}
}

// each returns the tables of an array of tables, written as [[key]] or as an array of inline tables.
func (t *table) each(key string) []*table {
	n := t.get(key)
	if n == nil {
		return nil
	}
	if n.kind != kindTables && n.kind != kindArray {
		t.fail(key, n, fmt.Sprintf("needs an array of tables, not %v", n.kind), "write [["+t.name(key)+"]]")
		return nil
	}
	tables := make([]*table, 0, len(n.items))
	for _, item := range n.items {
		if item.kind != kindTable {
			t.fail(key, item, fmt.Sprintf("needs tables, not %v", item.kind), "write [["+t.name(key)+"]]")
			continue
		}
		tables = append(tables, &table{l: t.l, node: item, path: t.name(key), many: true})
	}
	return tables
}

// skip marks keys as known without reading them, so that finish says nothing of them.
func (t *table) skip(keys ...string) { t.known = append(t.known, keys...) }

// finish reports every key that no getter asked for, with the nearest known one or the tables that have it.
func (t *table) finish() {
	known := make(map[string]bool, len(t.known))
	for _, k := range t.known {
		known[k] = true
		t.l.see(t.header(), k)
	}
	for _, name := range t.node.names {
		if known[name] {
			continue
		}
		if len(t.l.problems) >= mostProblems {
			t.l.more++
		} else {
			t.l.problem(t.node.children[name].key, t.name(name), "unknown key", t.suggest(name))
		}
	}
}
