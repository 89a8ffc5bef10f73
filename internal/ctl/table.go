package ctl

import (
	"strings"
	"unicode/utf8"
)

// style is a colour of the terminal; the zero value is none.
type style string

const (
	plain  style = ""
	bold   style = "1"
	good   style = "32"
	notice style = "33"
	bad    style = "31"
	faint  style = "2"
)

// painter adds colour, or not.
type painter bool

func (p painter) paint(s string, st style) string {
	if !p || st == plain || s == "" {
		return s
	}
	return "\x1b[" + string(st) + "m" + s + "\x1b[0m"
}

// cell is one field of a table. Its width is that of the text, whatever the colour.
type cell struct {
	text  string
	style style
	right bool // numbers line up at the right
}

func left(s string) cell        { return cell{text: s} }
func right(s string) cell       { return cell{text: s, right: true} }
func (c cell) in(st style) cell { c.style = st; return c }
func (c cell) width() int       { return utf8.RuneCountInString(c.text) }

// headerOf makes a heading; the columns in rightward line up with numbers.
func headerOf(names []string, rightward map[int]bool) []cell {
	row := make([]cell, len(names))
	for i, n := range names {
		row[i] = cell{text: n, style: bold, right: rightward[i]}
	}
	return row
}

// columnGap is the space between two columns.
const columnGap = "  "

// table writes rows in columns as wide as their widest cell, each line after the indent, no space at line ends.
func table(rows [][]cell, indent string, p painter) string {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], c.width())
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := indent
		for i, c := range row {
			if i > 0 {
				line += columnGap
			}
			pad := strings.Repeat(" ", widths[i]-c.width())
			if c.right {
				line += pad + p.paint(c.text, c.style)
			} else {
				line += p.paint(c.text, c.style) + pad
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}
