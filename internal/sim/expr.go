package sim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Expr is an expression in prefix notation, as the scenario files write oscillators, steps and delays:
// "(+ 1e-4 (* 1e-5 (exponential)))". Every generator in it has a state and a random stream of its own, so that an
// expression gives the same values whatever else happens in the world. Not safe for concurrent use.
type Expr struct {
	root term
	vars Vars
}

// Vars are the variables of a delay: true seconds since the start, numbers of the nodes that send and receive, the
// destination port, the length in bytes and the number of the network.
type Vars struct{ Time, From, To, Port, Length, Subnet float64 }

// Origin says where an expression stands; seed, scenario, name and the place in the text together choose each generator's stream.
type Origin struct {
	Seed     uint64
	Scenario string
	Name     string               // of the expression within the scenario
	Delay    bool                 // variables are allowed
	Files    map[string][]float64 // what (file "name") reads
}

// Limits of an expression: more than any scenario needs.
const (
	maxExpr  = 1 << 16 // bytes
	maxDepth = 64
)

// ParseExpr reads an expression.
func ParseExpr(text string, o Origin) (*Expr, error) {
	if len(text) > maxExpr {
		return nil, fmt.Errorf("parse %s: %d bytes, at most %d", o.Name, len(text), maxExpr)
	}
	e := &Expr{}
	p := parser{text: text, origin: o, vars: &e.vars}
	root, err := p.term(o.Name, 0)
	if err == nil && p.token() != "" {
		err = fmt.Errorf("more text at byte %d", p.at)
	}
	if err != nil {
		return nil, fmt.Errorf("parse %s %q: %w", o.Name, text, err)
	}
	e.root = root
	return e, nil
}

// Next is the next value. The variables keep their last values.
func (e *Expr) Next() float64 { return e.root.next() }

// At is the next value under these variables.
func (e *Expr) At(v Vars) float64 {
	e.vars = v
	return e.root.next()
}

// Constant reports whether the expression always has the same value, and which. No expression is 0.
func Constant(e *Expr) (float64, bool) {
	if e == nil {
		return 0, true
	}
	n, ok := e.root.(number)
	return float64(n), ok
}

// term is a part of an expression: a number, a variable or a generator.
type term interface{ next() float64 }

type parser struct {
	text   string
	at     int
	origin Origin
	vars   *Vars
}

// token takes the next one: a bracket, a string with its quotes, or a word. Empty at the end.
func (p *parser) token() string {
	for p.at < len(p.text) && strings.IndexByte(" \t\n\r", p.text[p.at]) >= 0 {
		p.at++
	}
	from := p.at
	if from == len(p.text) {
		return ""
	}
	switch p.text[from] {
	case '(', ')':
		p.at++
	case '"':
		end := strings.IndexByte(p.text[from+1:], '"')
		if end < 0 {
			p.at = len(p.text)
			break
		}
		p.at = from + 1 + end + 1
	default:
		for p.at < len(p.text) && strings.IndexByte(" \t\n\r()\"", p.text[p.at]) < 0 {
			p.at++
		}
	}
	return p.text[from:p.at]
}

// term reads one expression; path names its place for the random streams.
func (p *parser) term(path string, depth int) (term, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("deeper than %d", maxDepth)
	}
	switch t := p.token(); {
	case t == "(":
		return p.list(path, depth)
	case t == "" || t == ")":
		return nil, fmt.Errorf("expression expected at byte %d", p.at)
	case t[0] == '"':
		return word(strings.Trim(t, `"`)), nil
	default:
		if v, err := strconv.ParseFloat(t, 64); err == nil {
			return number(v), nil
		}
		return p.variable(t)
	}
}

func (p *parser) variable(name string) (term, error) {
	v := map[string]*float64{
		"time": &p.vars.Time, "from": &p.vars.From, "to": &p.vars.To,
		"port": &p.vars.Port, "length": &p.vars.Length, "subnet": &p.vars.Subnet,
	}[name]
	switch {
	case v == nil:
		return nil, fmt.Errorf("%q is neither a number nor a variable", name)
	case !p.origin.Delay:
		return nil, fmt.Errorf("the variable %q exists in delays only", name)
	}
	return variable{v}, nil
}

// list reads what follows an opening bracket.
func (p *parser) list(path string, depth int) (term, error) {
	name := p.token()
	var args []term
	for {
		before := p.at
		if t := p.token(); t == ")" {
			break
		} else if t == "" {
			return nil, fmt.Errorf("a bracket is not closed")
		}
		p.at = before
		n, err := p.term(path+"/"+strconv.Itoa(len(args)), depth+1)
		if err != nil {
			return nil, err
		}
		args = append(args, n)
	}
	n, err := p.generator(name, path, args)
	if err != nil {
		return nil, fmt.Errorf("(%s …): %w", name, err)
	}
	return n, nil
}

// stream is the random generator of the place.
func (p *parser) stream(path string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(p.origin.Scenario))
	h.Write([]byte{0})
	h.Write([]byte(path))
	return rand.New(rand.NewPCG(p.origin.Seed, h.Sum64()))
}
