package config

import (
	"slices"
	"strconv"

	"ntp-daemon/internal/pool"
)

// The keys of a time source that decide which users it gets.
var (
	weightRange      = span{min: 0, max: pool.MaxWeight}
	connectionsRange = span{min: 1, max: 64}
)

// share reads them. weight is 1 where nothing is written.
func (t *table) share(s *pool.Backend) {
	t.id("id", s)
	t.weight(s)
	t.regions(s)
	if t.text("operator", "example.org", &s.Operator) && len(s.Operator) > longestHost {
		t.fail("operator", t.node.children["operator"], "is too long", "write a name of at most 253 bytes")
	}
	ipv4, ipv6 := true, true
	t.boolean("ipv4", &ipv4)
	t.boolean("ipv6", &ipv6)
	s.NoIPv4, s.NoIPv6 = !ipv4, !ipv6
	if s.NoIPv4 && s.NoIPv6 {
		t.l.warn(t.node.children["ipv6"].key, t.name("ipv6"), "ipv4 and ipv6 are false, so no user gets this time source", "remove one of them")
	}
	t.integer("max-connections", connectionsRange, &s.MaxConnections)
}

// id reads what the time source is called in metrics, by monitors and from one list to the next.
func (t *table) id(key string, s *pool.Backend) {
	if t.text(key, "nts1", &s.ID) && !pool.ValidID(s.ID) {
		t.fail(key, t.node.children[key], quote(s.ID)+" is no id", "use 1 to 64 letters, digits or any of -_.:")
	}
}

func (t *table) weight(s *pool.Backend) {
	weight := 1
	t.integer("weight", weightRange, &weight)
	s.Weight = uint32(weight) //nolint:gosec // within weightRange
}

// regions reads countries and continents in any of their spellings. @, all of the world, is where everybody is. In a list of
// the public pool a region that nobody knows was never chosen, and is ignored.
func (t *table) regions(s *pool.Backend) {
	const key = "regions"
	for _, n := range t.strings(key, "NL") {
		switch r, ok := pool.CanonicalRegion(n.text); {
		case n.text == "@", ok && slices.Contains(s.Regions, r):
		case ok:
			s.Regions = append(s.Regions, r)
		default:
			remedy := "write the two letters of a country such as NL, or a continent such as EUROPE"
			if n.text == "UK" || n.text == "uk" {
				remedy = "write GB"
			}
			if t.has("uuid") {
				t.l.warn(n.val, t.name(key), quote(n.text)+" is no region and is ignored", remedy)
				continue
			}
			t.fail(key, n, quote(n.text)+" is no region", remedy)
		}
	}
}

// uniqueIDs refuses an id that two entries have. Entries without one may repeat each other, as the seed's could.
func (l *loader) uniqueIDs(entries []*table, servers []pool.Backend) {
	first := make(map[string]int, len(servers))
	for i := range servers {
		j, twice := first[servers[i].Name()]
		switch {
		case !twice:
			first[servers[i].Name()] = i
		case servers[i].ID != "" || servers[j].ID != "":
			line, _ := l.doc.position(entries[j].node.val)
			n, key := entries[i].node, "id"
			for _, name := range []string{"uuid", "id"} {
				if c := entries[i].node.children[name]; c != nil {
					n, key = c, name
				}
			}
			l.problem(n.val, entries[i].name(key), quote(servers[i].Name())+" is that of the time source in line "+strconv.Itoa(line)+", too", "give each its own")
		}
	}
}
