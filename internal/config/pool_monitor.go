package config

import "path/filepath"

// Monitor is the table [monitor] of nts-pool-ke, and the references that stand in [[source]] blocks beside it
// (docs/rules/pool.md#monitor).
type Monitor struct {
	// Enabled: time sources are probed. By default they are if the file has the table, a [[source]], or a selection other than
	// that of the first program, whose files mean what they always did.
	Enabled   bool
	StatePath string   // file in which scores outlive a restart; empty: none
	Sources   []Source // what their clocks are compared with; none: each other
}

// monitor reads [monitor] and [[source]]. wanted says that what else is in the file wants time sources to be probed.
func (l *loader) monitor(root *table, wanted bool) (m Monitor) {
	m.Enabled = wanted || root.has("monitor") || root.has("source")
	t := root.sub("monitor")
	t.boolean("enable", &m.Enabled)
	if t.file("state-path", "/var/lib/nts-pool-ke/scores.json", &m.StatePath) {
		t.examine("state-path", examineFolder(filepath.Dir(m.StatePath)))
	}
	t.finish()
	defaults := sourceDefaults{polls: polls{min: defaultPollMin, max: defaultPollMax, start: defaultPollStart}, authority: authority{system: true}}
	for _, s := range root.each("source") {
		if src, ok := l.source(s, defaults); ok {
			m.Sources = append(m.Sources, src)
		}
	}
	if n := root.node.children["source"]; n != nil && !m.Enabled {
		l.warn(n.key, "source", "has no effect, the monitor is off", "remove it, or write enable = true in [monitor]")
	}
	return m
}
