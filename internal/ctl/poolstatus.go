package ctl

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/poolview"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/units"
	"ntp-daemon/internal/version"
)

// lineWidth is what every line for a person fits into.
const lineWidth = 80

// maxHints is how many hints end the status of a pool.
const maxHints = 3

// poolStatus is the status of nts-pool-ke for a person, at most lineWidth wide.
func poolStatus(s *observe.Snapshot, p painter) string {
	var b strings.Builder
	b.WriteString(poolVerdict(s, p) + "\n")
	for _, row := range poolRows(s) {
		b.WriteString(wrapped(fmt.Sprintf("  %-12s", row.name), clean(row.text)))
	}
	b.WriteString(members(s, p))
	hints := poolview.Hints(s)
	for _, h := range hints[:min(len(hints), maxHints)] {
		b.WriteString(wrapped(p.paint("hint", styleOf(h.Tone))+": ", clean(h.Text)))
	}
	if more := len(hints) - maxHints; more > 0 {
		b.WriteString(fmt.Sprintf("hint: %d more on the status page and in --json\n", more))
	}
	return b.String()
}

// poolVerdict is the first line: may users be sent here?
func poolVerdict(s *observe.Snapshot, p painter) string {
	name := "The pool"
	if len(s.Pool.Names) > 0 {
		name = middle(clean(s.Pool.Names[0]), 40)
	}
	up, wanted := poolview.HandedOut(s.Pool)
	state := p.paint("ready", good)
	if !s.Pool.Ready {
		state = p.paint("NOT ready", bad)
	}
	return fmt.Sprintf("%s is %s: %d of %d time sources handed out", name, state, up, wanted)
}

// named is a line of the status.
type named struct{ name, text string }

// poolRows is what there is to say besides the time sources.
func poolRows(s *observe.Snapshot) []named {
	pool := s.Pool
	users, recent := poolview.Counts(pool.Outcomes), poolview.Counts(pool.Recent.Outcomes)
	if users == "" {
		users = "none yet"
	}
	rows := []named{
		{"program", fmt.Sprintf("version %s, up %s, on %s, %s", s.Program.Version, units.Span(time.Duration(s.Program.UptimeSeconds*1e9)), pool.Address, pool.Stage)},
		{"users", users},
	}
	if recent != "" {
		text := fmt.Sprintf("%s in %s", recent, units.Span(time.Duration(pool.Recent.Seconds*1e9)))
		if d := &pool.SessionSeconds; d.P50 != nil && d.P99 != nil {
			text += fmt.Sprintf("; half within %s, 99 of 100 within %s", units.Seconds(*d.P50), units.Seconds(*d.P99))
		}
		rows = append(rows, named{"lately", text})
	}
	return append(rows,
		named{"connections", connections(&pool.Connections)},
		named{"choice", fmt.Sprintf("%s; configuration generation %d, in use for %s", pool.Selection, pool.Reload.Generation, units.Span(time.Duration(pool.Reload.Age*1e9)))},
		named{"certificate", poolview.Until(s, pool.CertificateNotAfter)},
	)
}

// members is the table of time sources.
func members(s *observe.Snapshot, p painter) string {
	if len(s.Pool.Servers) == 0 {
		return "\n" + p.paint("No time sources: every user is refused.", bad) + "\n\n"
	}
	rows := [][]cell{headerOf([]string{"TIME SOURCE", "HEALTH", "SCORE", "SHARE", "AIM", "DIALECT", "ANSWERS", "OFFSET"}, map[int]bool{2: true, 3: true, 4: true, 6: true, 7: true})}
	for i := range s.Pool.Servers {
		rows = append(rows, memberRow(&s.Pool.Servers[i]))
	}
	rest := 0 // the width of everything but names
	for column := range rows[0][1:] {
		widest := 0
		for _, row := range rows {
			widest = max(widest, row[column+1].width())
		}
		rest += widest + len(columnGap)
	}
	for _, row := range rows {
		row[0].text = middle(row[0].text, max(lineWidth-rest, 12))
	}
	return "\n" + table(rows, "", p) + "\n"
}

func memberRow(m *observe.PoolServer) []cell {
	h := poolview.HealthOf(m)
	score, offset, answers := "-", "-", "-"
	if v, ok := poolview.Score(m); ok {
		score = fmt.Sprintf("%.1f", v.Score)
		if v.Answered >= 0 {
			offset = units.Signed(v.Offset)
		}
	}
	if m.RTT > 0 {
		answers = units.Seconds(m.RTT)
	}
	dialect := m.Dialect
	if dialect == "" {
		dialect = "-"
	}
	return []cell{left(clean(m.Server)), left(h.Word).in(styleOf(h.Tone)), right(score), right(partOf(m.Share)), right(partOf(m.Expected)),
		left(clean(dialect)), right(answers), right(offset)}
}

func partOf(v *float64) string {
	if v == nil {
		return "-"
	}
	return poolview.Percent(*v)
}

// styleOf is the colour of a tone, which a word always goes with.
func styleOf(t poolview.Tone) style {
	switch t {
	case poolview.Good:
		return good
	case poolview.Notice:
		return notice
	case poolview.Bad:
		return bad
	}
	return plain
}

// middle shortens a name to width runes by what is in its middle: both ends tell names apart.
func middle(name string, width int) string {
	if utf8.RuneCountInString(name) <= width {
		return name
	}
	r := []rune(name)
	tail := (width - 1) / 2
	return string(r[:width-1-tail]) + "…" + string(r[len(r)-tail:])
}

// wrapped is text after a heading, broken between words so that every line fits; the lines after the first are indented as far
// as the heading is wide. A word that is longer has a line of its own, and a number stays with its unit.
func wrapped(heading, text string) string {
	indent := utf8.RuneCountInString(uncoloured(heading))
	var b strings.Builder
	b.WriteString(heading)
	at := indent
	for i, word := range words(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > lineWidth:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return strings.TrimRight(b.String(), " ") + "\n"
}

// words are what a line may not be broken within.
func words(text string) (list []string) {
	for _, word := range strings.Fields(text) {
		last := len(list) - 1
		if last >= 0 && list[last] != "" && strings.IndexByte("0123456789", list[last][len(list[last])-1]) >= 0 &&
			slices.Contains([]string{"ns", "µs", "ms", "s", "min", "h", "d", "%"}, strings.TrimRight(word, ".,;:")) {
			list[last] += " " + word
			continue
		}
		list = append(list, word)
	}
	return list
}

// uncoloured is text as it takes place on a terminal.
func uncoloured(s string) string {
	for _, st := range []style{bold, good, notice, bad, faint} {
		s = strings.ReplaceAll(s, "\x1b["+string(st)+"m", "")
	}
	return strings.ReplaceAll(s, "\x1b[0m", "")
}

// expiry is what is to be said of a certificate that ends at notAfter, in Unix seconds, at the time of the snapshot; empty if
// nothing is, or if there is no certificate.
func expiry(s *observe.Snapshot, notAfter int64) string {
	if notAfter == 0 {
		return ""
	}
	return program.ExpiryNotice(time.Unix(notAfter, 0), ntp.Timestamp(s.Program.Now.Timestamp).Time(version.Built()))
}

// connections says how many there are, and how many were shed.
func connections(c *observe.Connections) string {
	text := fmt.Sprintf("%d now, %d taken", c.Open, c.Accepted)
	for _, shed := range []struct {
		n    uint64
		what string
	}{
		{c.Full, "closed because all places were taken"}, {c.Prefix, "closed because one network had too many"},
		{c.Evicted, "closed while silent, for others"}, {c.Errors, "errors of the system"}, {c.Panics, "bugs met"},
	} {
		if shed.n > 0 {
			text += fmt.Sprintf(", %d %s", shed.n, shed.what)
		}
	}
	return text
}

// occurred lists the counters that are not zero in the order of their names.
func occurred(counts map[string]uint64, otherwise string) string {
	if text := poolview.Counts(counts); text != "" {
		return clean(text)
	}
	return otherwise
}
