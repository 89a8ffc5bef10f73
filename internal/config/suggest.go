package config

import (
	"strconv"
	"strings"
)

// longestKey bounds the work of the edit distance on a key that a hostile file chooses.
const longestKey = 64

// misnamed holds keys that other documents and versions use, with what they are called here
// (docs/rules/configuration.md#old-names).
var misnamed = map[string]string{
	"synchronization.accumulated-threshold":   "write accumulated-step-panic-threshold",
	"observability.configure-permissions":     "remove it, there is no configuration socket",
	"observability.configuration-permissions": "remove it, there is no configuration socket",
	"observability.log-filter":                "write log-level",
	"nts-pool-ke-server.trust":                "write system-certificates = false to trust certificate-authority-path alone",
	"backend.trust":                           "write system-certificates = false to trust upstream-cas alone",
}

// suggest returns the remedy for an unknown key of the table.
func (t *table) suggest(name string) string {
	if remedy, ok := misnamed[t.name(name)]; ok {
		return remedy
	}
	if best := closest(name, t.known); best != "" {
		return "did you mean " + quote(best) + "?"
	}
	if tables := t.l.otherTables(t.header(), name); tables != "" {
		return "it belongs to " + tables
	}
	return "remove it"
}

// nearest is the tail of a remedy for a misspelt value.
func nearest(s string, list []string) string {
	if best := closest(s, list); best != "" && len(list) > 3 {
		return ", did you mean " + strconv.Quote(best) + "?"
	}
	return ""
}

// closest returns the entry with the smallest edit distance, or "" when none is near: more than a third of
// the letters differ.
func closest(s string, list []string) string {
	if len(s) > longestKey {
		return ""
	}
	s = strings.ReplaceAll(strings.ToLower(s), "_", "-")
	best, least := "", max(len(s)/3, 1)+1
	for _, k := range list {
		if d := editDistance(s, strings.ReplaceAll(k, "_", "-")); d < least {
			best, least = k, d
		}
	}
	return best
}

// editDistance counts insertions, deletions, replacements and swaps of neighbours that turn a into b.
func editDistance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// quote shows a string of the file.
func quote(s string) string { return strconv.Quote(shorten(s)) }

// shorten cuts what the file chose to a length that keeps a message on one line.
func shorten(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// alternatives joins a list as "a", "b" or "c".
func alternatives(list []string) string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = strconv.Quote(s)
	}
	if len(q) == 1 {
		return q[0]
	}
	return strings.Join(q[:len(q)-1], ", ") + " or " + q[len(q)-1]
}
