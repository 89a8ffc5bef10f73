package metrics

import "ntp-daemon/internal/observe"

// pool are the families of nts-pool-ke.
var pool = []family{
	{"nts_pool_uptime_seconds", "Time since the pool started.", gauge, seconds, uptime},
	{"nts_pool_users_total", "Users by how their key exchange ended.", counter, none,
		func(s *observe.Snapshot, emit emitter) { byName(s.Pool.Outcomes, "outcome", emit) }},
	{"nts_pool_connections_total", "Connections by what became of them: accepted, closed_full (every place taken), closed_prefix (too many from one network), evicted_idle (had not spoken), accept_errors, panics.", counter, none,
		func(s *observe.Snapshot, emit emitter) { connectionEvents(&s.Pool.Connections, emit) }},
	{"nts_pool_active_connections", "Connections now: open, in_use (those that hold a place).", gauge, none,
		func(s *observe.Snapshot, emit emitter) { connectionsNow(&s.Pool.Connections, emit) }},
	{"nts_pool_certificate_expiry_timestamp_seconds", "End of the certificate that users and time sources are shown, in seconds since 1970.", gauge, seconds,
		func(s *observe.Snapshot, emit emitter) { emit(float64(s.Pool.CertificateNotAfter)) }},
	{"nts_pool_server_exchanges_total", "Users' exchanges with the time source by how they ended.", counter, none,
		func(s *observe.Snapshot, emit emitter) {
			for i := range s.Pool.Servers {
				byName(s.Pool.Servers[i].Exchanges, "outcome", emit, label{"server", s.Pool.Servers[i].Server})
			}
		}},
	{"nts_pool_server_breaker_open", "Whether the time source is left alone because it failed repeatedly.", gauge, none,
		timeSources(func(r *observe.PoolServer) float64 { return one(r.Breaker == observe.BreakerOpen) })},
	{"nts_pool_server_failures", "Failures of the time source in a row.", gauge, none,
		timeSources(func(r *observe.PoolServer) float64 { return float64(r.Failures) })},
	{"nts_pool_server_known", "Whether what the time source can do is known, else it is asked when the next user comes.", gauge, none,
		timeSources(func(r *observe.PoolServer) float64 { return one(r.Known) })},
}

// timeSources makes a family with a sample for every time source of a pool.
func timeSources(value func(*observe.PoolServer) float64) func(*observe.Snapshot, emitter) {
	return func(s *observe.Snapshot, emit emitter) {
		for i := range s.Pool.Servers {
			emit(value(&s.Pool.Servers[i]), label{"server", s.Pool.Servers[i].Server})
		}
	}
}

// connectionEvents emits the counters of an accept loop. Only accepted and the two that begin with closed exclude each
// other.
func connectionEvents(c *observe.Connections, emit emitter, at ...label) {
	for _, e := range []struct {
		event string
		n     uint64
	}{
		{"accepted", c.Accepted}, {"closed_full", c.Full}, {"closed_prefix", c.Prefix},
		{"evicted_idle", c.Evicted}, {"accept_errors", c.Errors}, {"panics", c.Panics},
	} {
		emit(float64(e.n), append(at[:len(at):len(at)], label{"event", e.event})...)
	}
}

// connectionsNow emits how many connections there are and how many of them hold a permit.
func connectionsNow(c *observe.Connections, emit emitter, at ...label) {
	emit(float64(c.Open), append(at[:len(at):len(at)], label{"kind", "open"})...)
	emit(float64(c.InUse), append(at[:len(at):len(at)], label{"kind", "in_use"})...)
}
