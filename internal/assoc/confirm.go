package assoc

import (
	"context"
	"slices"
	"time"
)

// unconfirmed returns a member whose keys came under a certificate that was judged as of the floor, once the clock is
// set; nil if there is none.
func (s *supervisor) unconfirmed() *member {
	if !s.d.Bootstrap.Settled() {
		return nil
	}
	for _, m := range s.members {
		if m.provisional {
			return m
		}
	}
	return nil
}

// confirm takes in the key exchange that was repeated for m by the clock. Who fails it, for whatever reason, is
// believed no more: the certificate may be one that was stolen and has expired since.
func (s *supervisor) confirm(ctx context.Context, now time.Time, f *found, m *member) {
	if ctx.Err() != nil {
		return // the exchange failed because we stop
	}
	if f.Session == nil {
		s.log.Warn().Err(f.err).Msg("key exchange could not be repeated now that the clock is set, its sources are dropped")
		for _, o := range slices.Clone(s.members) { // the same host vouched for all of them
			if o.provisional {
				s.end(ctx, o, "certificate not confirmed")
			}
		}
		s.servers.fail(now, uniform(s.d.Rand))
		return
	}
	if s.sameServer(m, f) && (f.err != nil || slices.Contains(f.Addrs, m.addr)) {
		m.renew(f)
		s.log.Info().Stringer("source_id", m.id).Stringer("addr", m.addr).Msg("certificate confirmed by the clock that was set")
		return
	}
	// The host is who it claims to be. That it named this server when the clock was wrong is not known.
	s.end(ctx, m, "not confirmed")
	if f.err != nil {
		s.searchFailed(now, f)
		return
	}
	s.fill(ctx, now, f)
}
