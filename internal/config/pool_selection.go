package config

import (
	"bytes"
	"io"

	"ntp-daemon/internal/durable"
	"ntp-daemon/internal/pool"
)

// geographyKey is the path of the database of countries; the public pool has another name for it, in another table.
const (
	geographyKey       = "geolocation-db-path"
	publicGeographyKey = "geolocation-db"
)

// selection reads by which rule users are given time sources.
func (t *table) selection(m *pool.Mode) {
	if i, ok := t.oneOf("selection", pool.Modes()...); ok {
		*m = pool.Mode(i)
	}
}

// geography reads the path of the database of countries under the key that it has in this format. The file is read when the
// pool starts and when it changes; the pool does without if that fails (docs/rules/pool.md#geography).
func (t *table) geography(key string, p *Pool) {
	if !t.file(key, "/var/lib/GeoIP/GeoLite2-Country.mmdb", &p.GeoPath) || p.GeoPath == "" {
		return
	}
	if t.l.files {
		p.read = append(p.read, p.GeoPath)
	}
	t.examine(key, examineGeography(p.GeoPath))
}

// checkGeography compares selection, which is in the table at, with the path of the database under key.
func (l *loader) checkGeography(at *node, name, key string, p *Pool) {
	switch {
	case p.Selection == pool.Geographic && p.GeoPath == "":
		l.problem(at.children["selection"].val, name+".selection", `"geographic" needs `+key+", without which nobody's country is known", "write "+key+", or another selection")
	case p.Selection != pool.Geographic && p.GeoPath != "":
		l.warn(at.key, name+".selection", key+" has no effect without geographic selection", `write selection = "geographic", or remove `+key)
	}
}

// publicSelection is that of the public pool where nothing is written: by region if there is a database, else in turn.
func (l *loader) publicSelection(root *table, p *Pool) {
	at := root.node.children[publicServer]
	if at == nil || at.kind != kindTable {
		return
	}
	if at.children["selection"] == nil && p.GeoPath != "" {
		p.Selection = pool.Geographic
	}
	l.checkGeography(at, publicServer, publicGeographyKey, p)
}

// mostMetadata is how far from its end the description of a MaxMind database begins at most, and the mark that it begins with.
const (
	mostMetadata = 128 << 10
	metadataMark = "\xab\xcd\xefMaxMind.com"
)

// examineGeography looks whether a file is a database at all. Only the pool itself can read it: the daemon, which shares this
// package, stays free of the library.
func examineGeography(path string) func(*Machine, func(CheckID, string, string)) {
	return func(_ *Machine, found func(CheckID, string, string)) {
		const remedy = "give the path of a database of countries in MaxMind's format"
		end, err := tail(path, mostMetadata)
		switch {
		case err != nil:
			found(CheckGeography, err.Error(), remedy)
		case !bytes.Contains(end, []byte(metadataMark)):
			found(CheckGeography, path+" is no database in MaxMind's format", remedy)
		}
	}
}

// tail reads the end of a file.
func tail(path string, most int64) ([]byte, error) {
	f, st, err := durable.OpenNamed(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.NewSectionReader(f, max(st.Size()-most, 0), most))
}
