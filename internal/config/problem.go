package config

import (
	"fmt"
	"strings"

	"ntp-daemon/internal/printable"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	File         string
	Line, Column int    // from 1; 0 when the problem belongs to the whole file
	Key          string // dotted path of the key, or empty
	What         string // what is wrong, lower case, without full stop
	Remedy       string // what to do about it; may be empty
}

// String is the one-line form "FILE:LINE:COL: KEY: what; remedy". Parts that do not apply are left out, and
// no byte of the file reaches a terminal raw.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(printable.Line(p.File))
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(printable.Line(p.Key) + ": ")
	}
	b.WriteString(printable.Line(p.What))
	if p.Remedy != "" {
		b.WriteString("; " + printable.Line(p.Remedy))
	}
	return b.String()
}

// Problems is every problem of a file, in the order of the file. It is the error of Load.
type Problems []Problem

// Error lists the problems, one per line.
func (ps Problems) Error() string { return joinLines(ps) }

// NotBuilt is the error for a valid configuration that asks for something that the suite knows but cannot do
// yet. The daemon stops with exit code 78; a validator may call the file valid.
type NotBuilt struct{ Problems []Problem }

// Error lists the missing features, one per line.
func (e *NotBuilt) Error() string { return joinLines(e.Problems) }

// Warning is something that does not end the start and that the operator should know. Its check says what follows.
type Warning struct {
	Problem
	Check CheckID
	Info  bool // worth a line at start, no reason to call the file bad
}

func joinLines(ps []Problem) string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}
