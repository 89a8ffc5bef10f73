package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// deepestJSON is how many brackets may be open; a list of time sources has three.
const deepestJSON = 8

// isJSON tells the two formats of lists apart by how they begin, whatever the file is called
// (docs/rules/configuration.md#one-list-text): a TOML file may begin with
// the bracket of a table's header, behind which comes a name or a second bracket.
func isJSON(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	if len(data) == 0 || data[0] != '[' {
		return len(data) > 0 && data[0] == '{'
	}
	data = bytes.TrimLeft(data[1:], " \t\r\n")
	return len(data) == 0 || strings.IndexByte(`{]"0123456789-`, data[0]) >= 0
}

// parseJSON makes the tree of a JSON text that the readers of TOML read, too, with the place of each value. A member of an
// object that is null counts as absent. The root may be of any kind.
func parseJSON(data []byte) (*document, *syntaxError) {
	d := &document{data: data, lines: []int{0}, root: newTable(byHeader, 0)}
	for i, c := range data {
		if c == '\n' {
			d.lines = append(d.lines, i+1)
		}
	}
	r := jsonReader{data: data, d: json.NewDecoder(bytes.NewReader(data))}
	r.d.UseNumber()
	root, err := r.value(0)
	if err != nil {
		return d, err
	}
	if at := r.next(); at < len(data) {
		return d, &syntaxError{at: at, what: "something follows the end of the list"}
	}
	d.root = root
	return d, nil
}

// jsonReader turns the tokens of a decoder, which does not say where they begin, into nodes.
type jsonReader struct {
	data []byte
	d    *json.Decoder
}

// next is where the next token begins.
func (r *jsonReader) next() int {
	rest := r.data[r.d.InputOffset():]
	return len(r.data) - len(bytes.TrimLeft(rest, " \t\r\n,:"))
}

func (r *jsonReader) value(depth int) (*node, *syntaxError) {
	at := r.next()
	if depth > deepestJSON {
		return nil, &syntaxError{at: at, what: fmt.Sprintf("more than %d brackets are open", deepestJSON)}
	}
	token, err := r.d.Token()
	if err != nil {
		return nil, r.fault(at, err)
	}
	n := &node{key: at, val: at}
	switch v := token.(type) {
	case string:
		n.kind, n.text = kindString, v
	case bool:
		n.kind, n.text = kindBool, fmt.Sprint(v)
	case json.Number:
		n.kind, n.text = kindInteger, v.String()
		if strings.ContainsAny(n.text, ".eE") {
			n.kind = kindFloat
		}
	case json.Delim:
		if v == '{' {
			return r.object(at, depth)
		}
		return r.array(n, depth)
	default:
		n.kind = kindNull
	}
	return n, nil
}

// object reads the members of an object behind its brace.
func (r *jsonReader) object(at, depth int) (*node, *syntaxError) {
	t := newTable(inline, at)
	for r.d.More() {
		key := r.next()
		token, err := r.d.Token()
		if err != nil {
			return nil, r.fault(key, err)
		}
		name := fmt.Sprint(token)
		v, fault := r.value(depth + 1)
		if fault != nil {
			return nil, fault
		}
		if first := t.children[name]; first != nil {
			line := bytes.Count(r.data[:first.key], []byte{'\n'}) + 1
			return nil, &syntaxError{at: key, key: name, what: fmt.Sprintf("defined twice, first in line %d", line)}
		}
		if v.kind != kindNull {
			v.key = key
			t.add(name, v)
		}
	}
	return t, r.end()
}

// array reads the values of an array behind its bracket.
func (r *jsonReader) array(n *node, depth int) (*node, *syntaxError) {
	n.kind = kindArray
	for r.d.More() {
		v, fault := r.value(depth + 1)
		if fault != nil {
			return nil, fault
		}
		n.items = append(n.items, v)
	}
	return n, r.end()
}

// end reads a closing bracket.
func (r *jsonReader) end() *syntaxError {
	at := r.next()
	if _, err := r.d.Token(); err != nil {
		return r.fault(at, err)
	}
	return nil
}

// fault says where and why the text is no JSON. What the decoder has not reached yet may be missing altogether.
func (r *jsonReader) fault(at int, err error) *syntaxError {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &syntaxError{at: len(r.data), what: "ends in the middle"}
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		if s.Offset > int64(at) && s.Offset <= int64(len(r.data)) {
			at = int(s.Offset) - 1
		}
		return &syntaxError{at: at, what: s.Error()}
	}
	return &syntaxError{at: at, what: err.Error()}
}
