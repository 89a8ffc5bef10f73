package config

import (
	"fmt"

	"ntp-daemon/internal/pool"
)

// servers reads the time sources, from the configuration or from a file of their own.
func (l *loader) servers(t *table, p *Pool) {
	const inline, file = "key-exchange-servers", "key-exchange-servers-file"
	base := l.baseSecrets(t, "base-shared-secret-path", p)
	written, n := t.has(inline), t.node.children[file]
	l.entries(t.each(inline), p, base)
	var path string
	switch {
	case !t.file(file, "/etc/nts-pool-ke/servers.toml", &path):
		if n = t.node.children[inline]; n == nil || len(n.items) == 0 {
			l.warn(t.node.key, t.name(inline), "there are no time sources, every client is refused", `write key-exchange-servers = [{ domain = "…", port = 4460 }]`)
		}
	case written:
		t.fail(file, n, "there is a list in key-exchange-servers, too", "remove one of them")
	default:
		l.serversFile(t, file, path, p, base)
	}
}

// serversFile reads a list of time sources that is a file: TOML with [[key-exchange-servers]], or an array in JSON.
// Entries have the same keys everywhere.
func (l *loader) serversFile(t *table, key, path string, p *Pool, base *baseSecrets) {
	data := l.named(t, key, t.node.children[key], path)
	if data == nil {
		return
	}
	defer clear(data)
	p.read = append(p.read, path)
	sub := l.within(path)
	sub.list(data, p, base)
	l.join(sub)
}

// list reads the text of such a file.
func (l *loader) list(data []byte, p *Pool, base *baseSecrets) {
	const key, example = "key-exchange-servers", `write [{ "domain": "…", "port": 4460 }], or [] for none`
	l.checkMode(l.file)
	var entries []*table
	if !isJSON(data) {
		before := len(l.problems)
		root := l.parse(data)
		if entries = root.each(key); !root.has(key) && len(l.problems) == before {
			l.problem(0, key, "is missing", "write [["+key+"]] for each time source, or "+key+" = [] for none")
		}
		root.finish()
	} else {
		doc, syntax := parseJSON(data)
		l.doc = doc
		switch {
		case syntax != nil:
			l.problem(syntax.at, syntax.key, syntax.what, "correct the JSON")
		case doc.root.kind != kindArray:
			l.problem(doc.root.val, "", "needs an array of time sources, not "+doc.root.kind.String(), example)
		default:
			entries = l.objects(doc.root, example)
		}
	}
	l.entries(entries, p, base)
	if len(l.problems) == 0 && len(p.Servers) == 0 {
		l.fileWarning("there are no time sources, every client is refused", "add them")
	}
}

// objects are the items of an array, all of which must be objects.
func (l *loader) objects(array *node, example string) (list []*table) {
	for _, item := range array.items {
		if item.kind != kindTable {
			l.problem(item.val, "", "needs an object for each time source, not "+item.kind.String(), example)
			continue
		}
		list = append(list, &table{l: l, node: item})
	}
	return list
}

// entries reads the entries of a list.
func (l *loader) entries(entries []*table, p *Pool, base *baseSecrets) {
	for _, t := range entries {
		p.Servers = append(p.Servers, l.poolUpstream(t, p, base))
	}
	l.uniqueIDs(entries, p.Servers[len(p.Servers)-len(entries):])
}

// publicKeys reads what the list of today's public pool calls by names of its own. An entry with its uuid is one of that
// list, where what nobody knows is ignored.
func (t *table) publicKeys(s *pool.Backend, required bool) (public bool) {
	const uuid = "uuid"
	t.skip(uuid)
	public = t.has(uuid)
	switch {
	case public && t.has("id"):
		t.fail(uuid, t.node.children[uuid], "there is an id, too", "remove one of them")
	case public:
		t.id(uuid, s)
	case required && !t.has("id"):
		t.missing(uuid, "write the uuid that the management gave to this time source")
	}
	for _, f := range []struct {
		key, same string
		not       *bool
	}{{"ipv4-capable", "ipv4", &s.NoIPv4}, {"ipv6-capable", "ipv6", &s.NoIPv6}} {
		capable := !*f.not
		if t.boolean(f.key, &capable); t.has(f.key) && t.has(f.same) && capable == *f.not {
			t.fail(f.key, t.node.children[f.key], "contradicts "+f.same+", which means the same", "remove one of them")
		}
		*f.not = !capable
	}
	return public
}

// ignore tells once for each name of a key that nobody knows, and forgets the keys.
func (t *table) ignore() {
	known := make(map[string]bool, len(t.known))
	for _, k := range t.known {
		known[k] = true
	}
	for _, name := range t.node.names {
		if known[name] {
			continue
		}
		what, remedy := "is no key and is ignored, here and in the entries that follow", t.suggest(name)
		if best := closest(name, t.known); best != "" {
			what, remedy = fmt.Sprintf("%s; %s keeps its default", what, best), "write "+best
		}
		t.skip(name)
		if t.l.ignored[name] {
			continue
		}
		t.l.ignored[name] = true
		t.l.warn(t.node.children[name].key, t.name(name), what, remedy)
	}
}
