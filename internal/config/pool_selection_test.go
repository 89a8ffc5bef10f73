package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ntp-daemon/internal/geo/geotest"
	"ntp-daemon/internal/pool"
)

// selectionFile is a configuration with lines of its own in the table of the selection and in that of the database.
func selectionFile(public bool, at, beside string) []byte {
	if !public {
		return []byte("[nts-pool-ke-server]\nlisten = \"[::]:4460\"\ncertificate-chain-path = \"c\"\nprivate-key-path = \"k\"\n" +
			"key-exchange-servers = [{ domain = \"a.example\", port = 4460 }]\n" + at + "\n" + beside + "\n")
	}
	return []byte("[server]\nlisten = \"[::]:4460\"\ncertificate-chain = \"c\"\nprivate-key = \"k\"\n" + at + "\n" +
		"[backend]\ncertificate-chain = \"c\"\nprivate-key = \"k\"\nbase-shared-secret = \"s\"\nkey-exchange-servers = \"l\"\nallowed-protocols = [0]\n" + beside + "\n")
}

// TestPool_Selection: what is written, and what follows from a database in either format.
func TestPool_Selection(t *testing.T) {
	const own, public = false, true
	for _, tt := range []struct {
		story      string
		format     bool
		at, beside string
		want       pool.Mode
		path, says string // a problem or warning; empty: none
		refused    bool
	}{
		{"nothing written", own, "", "", pool.RoundRobin, "", "", false},
		{"by weight", own, `selection = "weighted"`, "", pool.Weighted, "", "", false},
		{"by region", own, `selection = "geographic"`, `geolocation-db-path = "c.mmdb"`, pool.Geographic, "c.mmdb", "", false},
		{"by latency", own, `selection = "latency"`, "", pool.Latency, "", "", false},
		{"a word of nobody", own, `selection = "geo"`, "", 0, "", `t.toml:6:13: nts-pool-ke-server.selection: "geo" is not known; use "round-robin"`, true},
		{"by region without a database", own, `selection = "geographic"`, "", 0, "", "t.toml:6:13: nts-pool-ke-server.selection: \"geographic\" needs geolocation-db-path", true},
		{"a database for nothing", own, "", `geolocation-db-path = "c.mmdb"`, pool.RoundRobin, "c.mmdb", "geolocation-db-path has no effect without geographic selection", false},
		{"an empty path", own, "", `geolocation-db-path = ""`, 0, "", "geolocation-db-path", true},
		{"the public pool's, without a database", public, "", "", pool.RoundRobin, "", "", false},
		{"the public pool's, with one", public, "", `geolocation-db = "c.mmdb"`, pool.Geographic, "c.mmdb", "", false},
		{"the public pool's, by weight all the same", public, `selection = "weighted"`, `geolocation-db = "c.mmdb"`, pool.Weighted, "c.mmdb", "server.selection: geolocation-db has no effect", false},
		{"the public pool's, by region without one", public, `selection = "geographic"`, "", 0, "", "t.toml:5:13: server.selection: \"geographic\" needs geolocation-db,", true},
	} {
		t.Run(tt.story, func(t *testing.T) {
			p, warnings, err := ParsePool("t.toml", selectionFile(tt.format, tt.at, tt.beside))
			said := fmt.Sprint(err, warnings)
			if tt.says == "" && err == nil {
				said = strings.Join(slices.DeleteFunc(strings.Split(said, "\n"), func(l string) bool { return !strings.Contains(l, "geolocation") }), "\n")
				if said != "" {
					t.Errorf("said %q", said)
				}
			}
			if (err != nil) != tt.refused || !strings.Contains(said, tt.says) {
				t.Fatalf("said %q, want %q", said, tt.says)
			}
			if err == nil && (p.Selection != tt.want || p.GeoPath != tt.path) {
				t.Errorf("%v, %q", p.Selection, p.GeoPath)
			}
		})
	}
}

// TestExamine_Geography: what is no database is told before the pool starts, and the pool follows the file while it runs.
func TestExamine_Geography(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.mmdb")
	if err := os.WriteFile(good, geotest.Database(1, map[string]geotest.Place{"192.0.2.0/24": {Country: "NL"}}), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "text"), "no database")
	for name, want := range map[string]string{"good.mmdb": "", "text": "is no database in MaxMind's format", "absent": "no such file", "": "not a regular file"} {
		path := filepath.Join(dir, name)
		p, _, err := ParsePool("t.toml", selectionFile(false, `selection = "geographic"`, fmt.Sprintf("geolocation-db-path = %q", path)))
		if err != nil {
			t.Fatal(err)
		}
		var said string
		for _, w := range p.Examine(Machine{}) {
			if w.Check == CheckGeography {
				said += w.What
			}
		}
		if (want == "") != (said == "") || !strings.Contains(said, want) {
			t.Errorf("%s: %q, want %q", name, said, want)
		}
	}
	if p, _, err := newLoader("t.toml", true).pool(selectionFile(false, `selection = "geographic"`, fmt.Sprintf("geolocation-db-path = %q", good))); err != nil || !slices.Contains(p.Files(), good) {
		t.Errorf("%v: the database is not followed", err)
	}
}
