package geo

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/geo/geotest"
)

// sample is a database of documentation networks.
func sample() []byte {
	return geotest.Database(1_790_000_000, map[string]geotest.Place{
		"192.0.2.0/24": {Country: "NL", Continent: "EU"}, "198.51.100.0/25": {Country: "US", Continent: "NA"}, "203.0.113.7/32": {Country: "", Continent: "AS"}, "203.0.113.8/32": {},
		"2001:db8:1::/48": {Country: "NL", Continent: "EU"}, "2001:db8:2::/48": {Country: "BR", Continent: "SA"},
	})
}

func TestPlace(t *testing.T) {
	db, err := Parse(sample())
	if err != nil {
		t.Fatal(err)
	}
	if db.Built().Unix() != 1_790_000_000 {
		t.Error(db.Built())
	}
	for _, tt := range []struct {
		story, addr        string
		country, continent string
		want               Result
	}{
		{"IPv4", "192.0.2.1", "NL", "EU", Found},
		{"P14: the same, mapped to IPv6", "::ffff:192.0.2.1", "NL", "EU", Found},
		{"half of a network", "198.51.100.127", "US", "NA", Found},
		{"the other half", "198.51.100.128", "", "", Unknown},
		{"continent only", "203.0.113.7", "", "AS", Found},
		{"an empty record", "203.0.113.8", "", "", Unknown},
		{"IPv6", "2001:db8:1::5", "NL", "EU", Found},
		{"IPv6 elsewhere", "2001:db8:2::5", "BR", "SA", Found},
		{"not in it", "2001:db8:3::5", "", "", Unknown},
		{"private", "10.1.2.3", "", "", Unknown},
		{"unique local", "fd00::1", "", "", Unknown},
		{"loopback", "127.0.0.1", "", "", Unknown},
		{"link-local with a zone", "fe80::1%eth0", "", "", Unknown},
		{"a public address with a zone", "2001:db8:1::5%eth0", "NL", "EU", Found},
	} {
		country, continent, got := db.Place(netip.MustParseAddr(tt.addr))
		if country != tt.country || continent != tt.continent || got != tt.want {
			t.Errorf("%s: %q, %q, %v", tt.story, country, continent, got)
		}
	}
	if _, _, got := db.Place(netip.Addr{}); got != Unknown {
		t.Errorf("no address: %v", got)
	}
	if _, _, got := (*DB)(nil).Place(netip.MustParseAddr("192.0.2.1")); got != Failed {
		t.Errorf("no database: %v", got)
	}
}

// TestP14_MappedAddressIsInTheSamePlace: both spellings of an address are in the same country and continent.
func TestP14_MappedAddressIsInTheSamePlace(t *testing.T) {
	db, err := Parse(sample())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"192.0.2.1", "198.51.100.127", "198.51.100.128", "203.0.113.7", "203.0.113.8", "10.1.2.3"} {
		a := netip.MustParseAddr(text)
		country, continent, how := db.Place(a)
		country6, continent6, how6 := db.Place(netip.AddrFrom16(a.As16()))
		if country != country6 || continent != continent6 || how != how6 {
			t.Errorf("%s: %q %q %v, mapped: %q %q %v", text, country, continent, how, country6, continent6, how6)
		}
	}
}

func TestResult_String(t *testing.T) {
	for r, want := range map[Result]string{Found: "found", Unknown: "unknown", Failed: "error", 9: "unknown result"} {
		if r.String() != want {
			t.Errorf("%d: %q", r, r)
		}
	}
}

// TestOpen: what cannot be used is an error with the path, and an unchanged file is not read again.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "country.mmdb")
	write := func(data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(path, nil); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("an absent file: %v", err)
	}
	if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	good := sample()
	// Of the tree, of the data and of the description of both: a bit in any of them shows, or changes one answer.
	half := good[:len(good)/2]
	tree := append([]byte(nil), good...)
	tree[0] = 0x7f
	for story, data := range map[string][]byte{"empty": {}, "text": []byte("no database"), "half": half, "tree": tree} {
		write(data)
		if _, err := Open(path, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", story, err)
		}
	}
	write(geotest.Database(1, map[string]geotest.Place{"192.0.2.0/24": {}}))
	if _, err := Open(path, nil); err == nil || !strings.Contains(err.Error(), "no countries") {
		t.Errorf("a database of something else: %v", err)
	}
	write(good)
	first, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Open(path, first); err != nil || again != first {
		t.Errorf("an unchanged file was read again: %v", err)
	}
	write(good)
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if again, err := Open(path, first); err != nil || again == first {
		t.Errorf("a changed file was not read: %v", err)
	}
}

// FuzzParse: no bytes are trouble, neither when they are checked nor when addresses are looked up in what was accepted.
func FuzzParse(f *testing.F) {
	f.Add(sample())
	f.Add([]byte("\xab\xcd\xefMaxMind.com"))
	f.Fuzz(func(t *testing.T, data []byte) {
		db, err := Parse(data)
		if err != nil {
			return
		}
		for _, a := range []string{"192.0.2.1", "203.0.113.8", "2001:db8:1::1", "::", "255.255.255.255"} {
			country, continent, r := db.Place(netip.MustParseAddr(a))
			if (r == Found) != (country != "" || continent != "") {
				t.Errorf("%s: %q, %q, %v", a, country, continent, r)
			}
		}
	})
}
