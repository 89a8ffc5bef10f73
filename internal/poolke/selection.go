package poolke

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/geo"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/printable"
)

// selection counts what the choice of time sources came to. Any number of users write it at once.
type selection struct {
	honoured, ignored, unknown atomic.Uint64    // names that users denied
	lookups                    [3]atomic.Uint64 // of users' countries, by geo.Result
}

// count enters one user's choice.
func (s *selection) count(denial *pool.Denial, c *pool.Candidates) {
	if denial.Known+denial.Unknown > 0 {
		s.unknown.Add(uint64(denial.Unknown))
		known := &s.honoured
		if c.DenyIgnored {
			known = &s.ignored
		}
		known.Add(uint64(denial.Known))
	}
}

// choose is the list of time sources to try for one user: who came from remote by the name reached, does not want
// those that req denies and would like the one that it names (pool.Directory.Pick has the rules).
func (p *Pool) choose(snap *snapshot, remote netip.Addr, reached string, req *record.Request) []*upstream {
	d := snap.directory
	var denial pool.Denial
	var again []int32
	if denied := pool.NewDenied(req.Deny); denied.Len() > 0 || req.Server != "" {
		p.mu.Lock()
		denial = d.Denial(denied, &p.aliases)
		if req.Server != "" {
			again = d.Bearing(req.Server, &p.aliases)
		}
		p.mu.Unlock()
	}
	family := pool.FamilyOf(remote)
	c := d.Pick(pool.Ask{
		Mode: snap.cfg.Selection, Turn: p.turn.Add(1) - 1, Draw: chance, Place: p.place(snap, remote), Family: family, Bucket: d.Bucket(reached), Denial: denial, Again: again,
		Health:  func(i int) pool.Health { return snap.upstreams[i].health(family) },
		Latency: func(i int) time.Duration { return expected(snap.upstreams[i].rtt(), snap.upstreams[i].inflight()) },
	})
	p.selection.count(&denial, &c)
	if c.HealthIgnored && p.monitor != nil {
		p.monitor.allOut.Add(1)
	}
	order := make([]*upstream, len(c.Order))
	for k, i := range c.Order {
		order[k] = snap.upstreams[i]
	}
	if len(order) > 0 {
		order[0].drawn(c.Region)
	}
	return order
}

// expected is how long the answer of a time source is waited for: as long as usual, and once more for each request that is
// under way, so that a near time source that is busy is not preferred to a free one. 0: not known.
func expected(rtt time.Duration, inFlight int) time.Duration {
	return rtt * time.Duration(1+max(inFlight, 0))
}

// countries is the database of countries for a snapshot. If its file cannot be used, the one that was in use stays, and else
// there is none: users are then served from all of the list, as nobody is refused for want of a map
// (docs/rules/pool.md#geography). Why is told at the start, when somebody asks for a reload, and when it is another reason: the files
// are read again whenever one of them changes.
func (p *Pool) countries(c *Config, old *snapshot) (db *geo.DB, unread string) {
	if c.GeoPath == "" || c.Selection != pool.Geographic {
		return nil, ""
	}
	var was *geo.DB
	var told string
	if old != nil && old.cfg.GeoPath == c.GeoPath {
		was, told = old.countries, old.unread
	}
	db, err := geo.Open(c.GeoPath, was)
	if err != nil {
		level := zerolog.WarnLevel
		if unread = printable.Text(err.Error()); c.again && unread == told {
			level = zerolog.DebugLevel
		}
		p.log.WithLevel(level).Str("e", unread).Bool("old_one_stays", was != nil).Msg("the database of countries cannot be used")
		return was, unread
	}
	if age := p.deps.Now().Sub(db.Built()); db != was && age > geo.Stale {
		p.log.Warn().Str("path", c.GeoPath).Str("built", db.Built().UTC().Format(time.DateOnly)).Msg("the database of countries is old")
	}
	return db, ""
}

// place is where the user is, if that matters.
func (p *Pool) place(snap *snapshot, remote netip.Addr) (place pool.Place) {
	if snap.cfg.Selection != pool.Geographic {
		return place
	}
	country, continent, result := snap.countries.Place(remote)
	p.selection.lookups[result].Add(1)
	place.Country, _ = pool.CanonicalRegion(country)
	place.Continent = pool.Continent(continent)
	return place
}

// chance is a number that nobody can guess, or users could choose their time sources.
func chance() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// health is what is known of the time source for users of a family.
func (u *upstream) health(f pool.Family) pool.Health {
	switch {
	case !u.usable(f):
		return pool.Unfit
	case u.open():
		return pool.Resting
	}
	return pool.Fit
}

// drawn counts that the time source came first for a user, and from which region.
func (u *upstream) drawn(region string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.selected == nil {
		u.selected = make(map[string]uint64)
	}
	u.selected[region]++
}

// places counts the look-ups of users' countries, by what became of them.
func (s *selection) places() map[string]uint64 {
	m := make(map[string]uint64, len(s.lookups))
	for _, r := range geo.Results() {
		m[r.String()] = s.lookups[r].Load()
	}
	return m
}

// denied counts the names that users denied, by what became of them.
func (s *selection) denied() map[string]uint64 {
	return map[string]uint64{"honoured": s.honoured.Load(), "ignored": s.ignored.Load(), "unknown": s.unknown.Load()}
}

// built is when the database of countries in use was made, Unix seconds; 0 without one.
func (s *snapshot) built() int64 {
	if s.countries == nil {
		return 0
	}
	return s.countries.Built().Unix()
}
