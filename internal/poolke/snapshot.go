package poolke

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/nts/member"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/printable"
)

// snapshot is what one exchange runs on from start to end, whatever is reloaded meanwhile. Only what
// the upstreams learn changes in it.
type snapshot struct {
	cfg       Config
	directory *pool.Directory
	upstreams []*upstream // one per backend of the directory, by index
}

// snapshot builds the next one. Connections to and knowledge of time sources that did not change are
// taken over from old, which may be nil; with other roots or another certificate nothing is.
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
	var spare []*upstream
	if old != nil && old.sameSettings(&c, time.Now()) {
		spare = append(spare, old.upstreams...)
	}
	for i := range directory.Len() {
		s.upstreams = append(s.upstreams, p.upstream(directory.At(i), &c, spare))
	}
	return s, nil
}

// sameSettings reports whether time sources see the same pool and are judged by the same roots and limits.
func (s *snapshot) sameSettings(c *Config, now time.Time) bool {
	return s.cfg.Roots.Equal(c.Roots, now) && s.cfg.Certificate.Leaf.Equal(c.Certificate.Leaf) &&
		s.cfg.ConnectTimeout == c.ConnectTimeout && s.cfg.AnswerTimeout == c.AnswerTimeout && s.cfg.SupportTTL == c.SupportTTL
}

// changes names, for the log of a reload, what is in use now and was not in old.
func (s *snapshot) changes(old *snapshot) (list []string) {
	note := func(what string, changed bool) {
		if changed {
			list = append(list, what)
		}
	}
	note("certificate", !s.cfg.Certificate.Leaf.Equal(old.cfg.Certificate.Leaf))
	note("trusted roots", !s.cfg.Roots.Equal(old.cfg.Roots, time.Now()))
	note("trusted load balancers", !slices.Equal(s.cfg.ProxyPeers, old.cfg.ProxyPeers))
	note("key-exchange-timeout-ms", s.cfg.Timeout != old.cfg.Timeout)
	// lacking are the time sources of a that b has not, as they are written.
	lacking := func(what string, a, b *pool.Directory) {
		for i := range a.Len() {
			found := false
			for j := range b.Len() {
				found = found || same(a.At(i), b.At(j))
			}
			note(what+a.At(i).String(), !found)
		}
	}
	lacking("new ", s.directory, old.directory)
	lacking("without ", old.directory, s.directory)
	if list == nil {
		list = []string{"nothing"}
	}
	return list
}

// upstream takes a known one over, once, or makes a new one.
func (p *Pool) upstream(b *pool.Backend, c *Config, spare []*upstream) *upstream {
	for i, u := range spare {
		if u != nil && same(u.backend, b) {
			spare[i] = nil
			return u
		}
	}
	cert, roots := c.Certificate, c.Roots
	return &upstream{backend: b, ttl: c.SupportTTL, member: member.New(member.Config{
		Backend: *b, Roots: func() (*x509.CertPool, error) { return roots.Pool(time.Now()) },
		Untrusted: func(err error) { roots.Doubt(err, time.Now()) }, Certificate: func() *tls.Certificate { return cert },
		ConnectTimeout: c.ConnectTimeout, AnswerTimeout: c.AnswerTimeout,
		Time: p.deps.Now, Dial: p.deps.Dial,
		Failed: func(err error) {
			p.throttle.Event(&p.log, zerolog.WarnLevel, time.Now(), "address "+b.String()).Str("e", printable.Text(err.Error())).
				Msg("an address of a time source cannot be used, trying the next one")
		},
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
