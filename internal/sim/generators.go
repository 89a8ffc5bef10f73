package sim

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
)

var (
	errArguments = errors.New("wrong number of arguments")
	errNumber    = errors.New("a positive number is wanted here")
)

// generator makes the term of a list. The names and what they give at each evaluation are those of clknetsim.
func (p *parser) generator(name, path string, args []term) (term, error) {
	if op, ok := folds[name]; ok {
		if len(args) == 0 {
			return nil, errArguments
		}
		return fold(op, args), nil
	}
	switch name {
	case "sum":
		return &sum{args: args}, nil
	case "equal":
		if len(args) < 2 {
			return nil, errArguments
		}
		return &equal{args[0], args[1:]}, nil
	case "file":
		return p.file(args)
	case "uniform", "normal", "exponential":
		if len(args) != 0 {
			return nil, errArguments
		}
		return random{name: name[0], rng: p.stream(path)}, nil
	}
	c, err := constants(args)
	switch {
	case err != nil:
		return nil, err
	case name == "poisson" && len(c) == 1 && c[0] >= 1 && c[0] <= 20:
		return poisson{limit: math.Exp(-c[0]), rng: p.stream(path)}, nil
	case name == "pulse" && len(c) == 2:
		return &pulse{high: math.Floor(c[0]), period: math.Floor(c[0]) + math.Floor(c[1])}, nil
	case (name == "sine" || name == "cosine" || name == "triangle") && len(c) == 1:
		return &wave{shape: name[0], length: c[0]}, nil
	}
	return nil, errors.New("unknown, or wrong arguments")
}

func constants(args []term) ([]float64, error) {
	var list []float64
	for _, a := range args {
		n, ok := a.(number)
		if !ok || !(n > 0) || math.IsInf(float64(n), 0) {
			return nil, errNumber
		}
		list = append(list, float64(n))
	}
	return list, nil
}

type (
	number   float64
	word     string
	variable struct{ value *float64 }
)

func (n number) next() float64   { return float64(n) }
func (word) next() float64       { return math.NaN() }
func (v variable) next() float64 { return *v.value }

// folds join the values of all arguments from left to right.
var folds = map[string]func(a, b float64) float64{
	"+":   func(a, b float64) float64 { return a + b },
	"*":   func(a, b float64) float64 { return a * b },
	"%":   math.Mod,
	"min": math.Min,
	"max": math.Max,
}

type folded struct {
	op   func(a, b float64) float64
	args []term
}

// fold joins constants at once: most of them never change.
func fold(op func(a, b float64) float64, args []term) term {
	f := &folded{op, args}
	for _, a := range args {
		if _, ok := a.(number); !ok {
			return f
		}
	}
	return number(f.next())
}

func (f *folded) next() float64 {
	v := f.args[0].next()
	for _, a := range f.args[1:] {
		v = f.op(v, a.next())
	}
	return v
}

// sum is the total of all evaluations so far.
type sum struct {
	args  []term
	total float64
}

func (s *sum) next() float64 {
	for _, a := range s.args {
		s.total += a.next()
	}
	return s.total
}

// equal is 1 if all but the first argument are within the first of each other.
type equal struct {
	within term
	args   []term
}

func (e *equal) next() float64 {
	within := e.within.next()
	low, high := math.Inf(1), math.Inf(-1)
	for _, a := range e.args {
		v := a.next()
		low, high = min(low, v), max(high, v)
	}
	if high-low <= within {
		return 1
	}
	return 0
}

// random draws: uniform in (0, 1), normal with standard deviation 1, exponential with mean 1.
type random struct {
	name byte
	rng  *rand.Rand
}

func (r random) next() float64 {
	switch r.name {
	case 'n':
		return r.rng.NormFloat64()
	case 'e':
		return r.rng.ExpFloat64()
	}
	return (float64(r.rng.Uint64()>>11) + 0.5) / (1 << 53)
}

// poisson counts how many uniform numbers keep their product above the limit.
type poisson struct {
	limit float64
	rng   *rand.Rand
}

func (p poisson) next() float64 {
	product, n := p.rng.Float64(), 0
	for ; product > p.limit && n < 100; n++ {
		product *= p.rng.Float64()
	}
	return float64(n)
}

// pulse is +1 for some evaluations, then -1.
type pulse struct{ high, period, k float64 }

func (p *pulse) next() float64 {
	at := math.Mod(p.k, p.period)
	p.k++
	if at < p.high {
		return 1
	}
	return -1
}

// wave is a sine, cosine or triangle over evaluations.
type wave struct {
	shape     byte
	length, k float64
}

func (w *wave) next() float64 {
	_, phase := math.Modf(w.k / w.length)
	w.k++
	switch w.shape {
	case 's':
		return math.Sin(2 * math.Pi * phase)
	case 'c':
		return math.Cos(2 * math.Pi * phase)
	}
	return -4 * (math.Abs(phase-0.5) - 0.25)
}

// series reads numbers endlessly.
type series struct {
	values []float64
	k      int
}

func (s *series) next() float64 {
	v := s.values[s.k]
	s.k = (s.k + 1) % len(s.values)
	return v
}

func (p *parser) file(args []term) (term, error) {
	if len(args) != 1 {
		return nil, errArguments
	}
	name, ok := args[0].(word)
	values := p.origin.Files[string(name)]
	if !ok || len(values) == 0 {
		return nil, fmt.Errorf("there is no file %q", string(name))
	}
	return &series{values: values}, nil
}
