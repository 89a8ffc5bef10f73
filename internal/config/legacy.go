package config

// oldTables are the top-level keys of the 0.3.x layout (docs/rules/configuration.md#old-names) and what takes their
// place.
var oldTables = map[string]string{
	"peer":       "write [[source]] instead of [[peer]], with address instead of addr and ke-addr, and count instead of max-peers",
	"system":     "write [synchronization], with poll limits in [source-defaults]",
	"observe":    "write [observability] with observation-path and observation-permissions",
	"configure":  "remove it, there is no configuration socket",
	"log-filter": "write log-level in [observability]",
}

// oldKeys are keys of the 0.3.x layout inside tables that still exist.
var oldKeys = map[string]map[string]string{
	"source":        {"addr": "write address", "ke-addr": "write address", "max-peers": "write count"},
	"server":        {"addr": "write listen"},
	"nts-ke-server": {"addr": "write listen"},
}

// legacy reports what is left of the 0.3.x layout, one problem with its own remedy per key, so that nobody
// has to guess from a list of unknown keys.
func (l *loader) legacy(root *table) {
	for _, name := range root.node.names {
		if remedy, old := oldTables[name]; old {
			root.skip(name)
			l.problem(root.node.children[name].key, name, "belongs to the 0.3 layout", remedy)
		}
	}
}

// legacyKeys is the same inside one table.
func (t *table) legacyKeys() {
	for name, remedy := range oldKeys[t.path] {
		if n := t.node.children[name]; n != nil {
			t.skip(name)
			t.l.problem(n.key, t.name(name), "belongs to the 0.3 layout", remedy)
		}
	}
}
