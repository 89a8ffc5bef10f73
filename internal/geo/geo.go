// Package geo tells in which country an address is, from a database of countries in MaxMind's format (GeoLite2-Country, DB-IP
// and others). It opens one file and knows nothing of pools or users; the database is held in memory, immutable, and any number of
// goroutines may look addresses up.
package geo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"ntp-daemon/internal/durable"
)

// maxBytes is the largest database that is read. GeoLite2-Country has 10 MB, GeoLite2-City, which does as well, 60.
const maxBytes = 256 << 20

// Stale is the age from which a database is worth a warning: those of MaxMind come twice a week, and a licence to use one
// ends with 30 days. It is used all the same, because most addresses stay where they are.
const Stale = 60 * 24 * time.Hour

// Result is what became of a look-up. The words are labels of metrics.
type Result uint8

// The results.
const (
	Found   Result = iota // country or continent is known
	Unknown               // not in the database, as private addresses are not
	Failed                // there is no database, or it contradicts itself
	results
)

var resultNames = [results]string{Found: "found", Unknown: "unknown", Failed: "error"}

// Results lists all of them.
func Results() []Result { return []Result{Found, Unknown, Failed} }

// String is the label.
func (r Result) String() string {
	if r < results {
		return resultNames[r]
	}
	return "unknown result"
}

// DB is one database. The nil DB is that of a file that could not be read: every look-up fails.
type DB struct {
	reader *maxminddb.Reader
	file   fs.FileInfo // of what was read; nil: of no file
}

// Open reads the database of a file and checks all of it, which takes a tenth of a second for one of countries. was, which
// may be nil, is returned instead if the file has not changed since. The error says which step failed.
func Open(path string, was *DB) (*DB, error) {
	f, st, err := durable.OpenNamed(path)
	if err != nil {
		return nil, fmt.Errorf("geolocation database: %w", err)
	}
	defer f.Close()
	if was != nil && was.file != nil && os.SameFile(st, was.file) && st.Size() == was.file.Size() && st.ModTime().Equal(was.file.ModTime()) {
		return was, nil
	}
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read geolocation database: %w", err)
	case len(data) > maxBytes:
		return nil, fmt.Errorf("geolocation database %s: larger than %d bytes", path, maxBytes)
	}
	db, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("geolocation database %s: %w", path, err)
	}
	db.file = st
	return db, nil
}

// errNoCountries: a well-formed database of something else, such as of networks' operators.
var errNoCountries = errors.New("it has no countries")

// Parse checks the bytes of a database, which must not be changed afterwards.
func Parse(data []byte) (*DB, error) {
	reader, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, err
	}
	if err := reader.Verify(); err != nil {
		return nil, err
	}
	// The keys of the records stand in the file as they are.
	if !bytes.Contains(data, []byte("iso_code")) && !bytes.Contains(data, []byte("continent")) {
		return nil, errNoCountries
	}
	return &DB{reader: reader}, nil
}

// Built is when the database was made.
func (db *DB) Built() time.Time { return db.reader.Metadata.BuildTime() }

// Place is the ISO 3166-1 code of the country that an address is in, and the two letters of the continent (AF, AN, AS,
// EU, NA, OC, SA), as far as the database knows them; empty where it does not. An IPv4-mapped address is that of IPv4
// (row P14).
func (db *DB) Place(a netip.Addr) (country, continent string, r Result) {
	a = a.Unmap()
	switch {
	case db == nil:
		return "", "", Failed
	case !a.IsValid(), a.IsPrivate(), a.IsLoopback(), a.IsLinkLocalUnicast(), a.Is6() && db.reader.Metadata.IPVersion == 4:
		return "", "", Unknown
	}
	found := db.reader.Lookup(a.WithZone(""))
	if err := found.Err(); err != nil {
		return "", "", Failed
	}
	if !found.Found() {
		return "", "", Unknown
	}
	if err := errors.Join(found.DecodePath(&country, "country", "iso_code"), found.DecodePath(&continent, "continent", "code")); err != nil {
		return "", "", Failed
	}
	if country == "" && continent == "" {
		return "", "", Unknown
	}
	return country, continent, Found
}
