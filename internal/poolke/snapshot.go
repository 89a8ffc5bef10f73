package poolke

import (
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/geo"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/printable"
	"ntp-daemon/internal/secret"
)

// snapshot is what one exchange runs on from start to end, whatever is reloaded meanwhile. Only what
// the upstreams learn changes in it.
type snapshot struct {
	cfg       Config
	directory *pool.Directory
	upstreams []*upstream // one per backend of the directory, by index
	countries *geo.DB     // nil: none, or it could not be read
	unread    string      // why the file of countries could not be used last; empty: it could
}

// snapshot builds the next one. Connections to and knowledge of time sources that did not change are
// taken over from old, which may be nil; with other roots, limits or another certificate, the knowledge alone.
func (p *Pool) snapshot(c Config, old *snapshot) (*snapshot, error) {
	c = c.withDefaults()
	own, err := ownNames(c.Certificate)
	if err != nil {
		return nil, err
	}
	directory, err := pool.NewDirectory(c.Backends, own)
	if err != nil {
		return nil, fmt.Errorf("key-exchange-servers: %w", err)
	}
	s := &snapshot{cfg: c, directory: directory}
	s.countries, s.unread = p.countries(&c, old)
	known := map[string][]*upstream{}
	whole := false
	if old != nil {
		whole = old.sameSettings(&c, time.Now())
		for _, u := range old.upstreams {
			known[u.backend.String()] = append(known[u.backend.String()], u)
		}
	}
	for i := range directory.Len() {
		s.upstreams = append(s.upstreams, p.upstream(directory.At(i), &c, known, whole))
	}
	return s, nil
}

// sameSettings reports whether time sources see the same pool and are judged by the same roots and limits.
func (s *snapshot) sameSettings(c *Config, now time.Time) bool {
	return s.cfg.Roots.Equal(c.Roots, now) && s.cfg.shown().Leaf.Equal(c.shown().Leaf) &&
		s.cfg.ConnectTimeout == c.ConnectTimeout && s.cfg.AnswerTimeout == c.AnswerTimeout && s.cfg.SupportTTL == c.SupportTTL &&
		s.cfg.IdleTime == c.IdleTime && s.cfg.MaxAge == c.MaxAge
}

// changes names, for the log of a reload, what is in use now and was not in old. Nothing for the same.
func (s *snapshot) changes(old *snapshot) (list []string) {
	note := func(what string, changed bool) {
		if changed {
			list = append(list, what)
		}
	}
	note("certificate", !s.cfg.Certificate.Leaf.Equal(old.cfg.Certificate.Leaf))
	note("certificate for time sources", !s.cfg.shown().Leaf.Equal(old.cfg.shown().Leaf) && (s.cfg.ClientCertificate != nil || old.cfg.ClientCertificate != nil))
	note("monitoring keys", !slices.EqualFunc(s.cfg.MonitoringKeys, old.cfg.MonitoringKeys, func(a, b secret.Bytes) bool { return a.Equal(b) }))
	note("allowed-protocols", !slices.Equal(s.cfg.Protocols, old.cfg.Protocols))
	note("trusted roots", !s.cfg.Roots.Equal(old.cfg.Roots, time.Now()))
	note("trusted load balancers", !slices.Equal(s.cfg.ProxyPeers, old.cfg.ProxyPeers))
	note("database of countries", s.countries != old.countries)
	note("selection", s.cfg.Selection != old.cfg.Selection)
	note("log-exchanges", s.cfg.LogExchanges != old.cfg.LogExchanges)
	total := s.cfg.Timeout != old.cfg.Timeout
	note("key-exchange-timeout-ms", total)
	for i, limit := range []struct {
		key string
		of  func(*Config) time.Duration
	}{
		{"handshake-timeout-ms", func(c *Config) time.Duration { return c.HandshakeTimeout }},
		{"upstream-connect-timeout-ms", func(c *Config) time.Duration { return c.ConnectTimeout }},
		{"upstream-timeout-ms", func(c *Config) time.Duration { return c.AnswerTimeout }},
		{"support-cache-seconds", func(c *Config) time.Duration { return c.SupportTTL }},
		{"upstream-idle-seconds", func(c *Config) time.Duration { return c.IdleTime }},
		{"upstream-max-age-seconds", func(c *Config) time.Duration { return c.MaxAge }},
		{"drain-delay-ms", func(c *Config) time.Duration { return c.DrainDelay }},
	} {
		follows := total && i < 3 // the first three, where they are not written, are parts of the total
		note(limit.key, limit.of(&s.cfg) != limit.of(&old.cfg) && !follows)
	}
	note("timesource-timeout", s.cfg.SupportTimeout != old.cfg.SupportTimeout && s.cfg.SupportTimeout != s.cfg.AnswerTimeout)
	return append(list, s.listChanges(old)...)
}

// mostChanges is how many time sources the log of a reload names.
const mostChanges = 20

// listChanges names the time sources that are new, changed, gone, or have another share of the users.
func (s *snapshot) listChanges(old *snapshot) (list []string) {
	before := byName(old.directory)
	var others []*pool.Backend
	for i := range s.directory.Len() {
		b := s.directory.At(i)
		name := b.Name()
		j := slices.IndexFunc(before[name], func(o *pool.Backend) bool { return same(o, b) })
		switch {
		case j < 0:
			others = append(others, b)
			continue
		case !equalShare(before[name][j], b):
			list = append(list, "another share for "+b.String())
		}
		before[name] = slices.Delete(before[name], j, j+1)
	}
	for _, b := range others {
		if name := b.Name(); len(before[name]) > 0 {
			list = append(list, "changed "+b.String())
			before[name] = slices.Delete(before[name], 0, 1)
		} else {
			list = append(list, "new "+b.String())
		}
	}
	for i := range old.directory.Len() {
		b := old.directory.At(i)
		if slices.Contains(before[b.Name()], b) {
			list = append(list, "without "+b.String())
		}
	}
	if more := len(list) - mostChanges; more > 0 {
		list = append(list[:mostChanges:mostChanges], fmt.Sprintf("and %d more time sources", more))
	}
	return list
}

// byName finds the time sources of a list by name; those without an id may share one.
func byName(d *pool.Directory) map[string][]*pool.Backend {
	m := make(map[string][]*pool.Backend, d.Len())
	for i := range d.Len() {
		b := d.At(i)
		m[b.Name()] = append(m[b.Name()], b)
	}
	return m
}

// upstream takes a known one over, once, or makes a new one, which inherits from the known one unless whole.
func (p *Pool) upstream(b *pool.Backend, c *Config, known map[string][]*upstream, whole bool) *upstream {
	key := b.String()
	for i, u := range known[key] {
		if !same(u.backend, b) {
			continue
		}
		known[key] = slices.Delete(known[key], i, i+1)
		if whole {
			return u
		}
		fresh := p.newUpstream(b, c)
		fresh.inherit(u)
		return fresh
	}
	return p.newUpstream(b, c)
}

// newUpstream knows nothing of its time source yet.
func (p *Pool) newUpstream(b *pool.Backend, c *Config) *upstream {
	return &upstream{backend: b, ttl: c.SupportTTL, member: p.member(b, c, func(err error) {
		p.throttle.Event(&p.log, zerolog.WarnLevel, time.Now(), "address "+b.String()).Str("e", printable.Text(err.Error())).
			Msg("an address of a time source cannot be used, trying the next one")
	})}
}

// retire closes the kept connections of old that the new snapshot does not use. Requests under way
// on them end by themselves.
func (s *snapshot) retire(old *snapshot) {
	kept := make(map[*upstream]bool, len(s.upstreams))
	for _, u := range s.upstreams {
		kept[u] = true
	}
	for _, u := range old.upstreams {
		if !kept[u] {
			u.member.Close()
		}
	}
}

// close gives up every kept connection.
func (s *snapshot) close() {
	for _, u := range s.upstreams {
		u.member.Close()
	}
}
