package metrics

import (
	"maps"
	"slices"
	"strconv"

	"ntp-daemon/internal/observe"
)

// pool are the families of nts-pool-ke, for its own admin listener, for ntp-metrics-exporter and for ntp-ctl. The only name in a
// label is that of a time source; there are as many as the configuration lists.
var pool = []family{
	{"ntspool_build_info", "Always 1; version and commit are those of the program.", gauge, none,
		func(s *observe.Snapshot, emit emitter) {
			emit(1, label{"version", s.Program.Version}, label{"commit", s.Program.BuildCommit})
		}},
	{"ntspool_uptime_seconds", "Time since the pool started.", gauge, seconds, uptime},
	{"ntspool_ready", "Whether users should be sent to this pool: it serves, its certificate is valid, and a time source can be handed out.", gauge, none,
		func(s *observe.Snapshot, emit emitter) { emit(one(s.Pool.Ready)) }},

	{"ntspool_sessions_total", "Key exchanges by how they ended, and whether a monitor asked that named its time source.", counter, none,
		func(s *observe.Snapshot, emit emitter) {
			byName(s.Pool.Outcomes, "outcome", emit, label{"monitor", "false"})
			byName(s.Pool.Monitors, "outcome", emit, label{"monitor", "true"})
		}},
	durations("ntspool_session_seconds", "How long users' key exchanges took, from accept to the last byte, whatever their outcome.",
		func(s *observe.Snapshot, each func(*observe.Durations, ...label)) { each(&s.Pool.SessionSeconds) }),
	durations("ntspool_stage_seconds", "How long the stages of a key exchange took: proxy (the balancer's header), tls, read (the request), select (the choice of time sources), support (asking one of them what it can do, where that is not known), cookies (the one that gets the keys), write.",
		func(s *observe.Snapshot, each func(*observe.Durations, ...label)) {
			for _, stage := range slices.Sorted(maps.Keys(s.Pool.StageSeconds)) {
				d := s.Pool.StageSeconds[stage]
				each(&d, label{"stage", stage})
			}
		}),
	durations("ntspool_upstream_seconds", "How long time sources took for a user's cookies, connecting included.",
		func(s *observe.Snapshot, each func(*observe.Durations, ...label)) { each(&s.Pool.UpstreamSeconds) }),
	{"ntspool_aead_total", "Users served by the number of the AEAD algorithm they got.", counter, none,
		func(s *observe.Snapshot, emit emitter) { byName(s.Pool.Algorithms, "id", emit) }},
	{"ntspool_protocol_total", "Users served by the number of the next protocol they got.", counter, none,
		func(s *observe.Snapshot, emit emitter) { byName(s.Pool.Protocols, "id", emit) }},

	{"ntspool_connections", "Connections of users now: open, in_use (those that hold a place).", gauge, none,
		func(s *observe.Snapshot, emit emitter) { connectionsNow(&s.Pool.Connections, "state", emit) }},
	{"ntspool_connections_limit", "Most connections of users at one time.", gauge, none,
		func(s *observe.Snapshot, emit emitter) { emit(float64(s.Pool.Limits.Connections)) }},
	{"ntspool_connection_events_total", "Connections by what became of them: accepted, closed_full (every place taken), closed_prefix (too many from one network), evicted_idle (had not spoken), accept_errors, panics.", counter, none,
		func(s *observe.Snapshot, emit emitter) { connectionEvents(&s.Pool.Connections, emit) }},
	{"ntspool_cert_expiry_timestamp_seconds", "End of the certificate that users are shown, in seconds since 1970.", gauge, seconds,
		func(s *observe.Snapshot, emit emitter) { emit(float64(s.Pool.CertificateNotAfter)) }},
	{"ntspool_reload_generation", "Reloads that took effect, and one for the start.", gauge, none,
		func(s *observe.Snapshot, emit emitter) { emit(float64(s.Pool.Reload.Generation)) }},
	{"ntspool_reload_age_seconds", "Time since the configuration and its files in use were taken over.", gauge, seconds,
		func(s *observe.Snapshot, emit emitter) { emit(s.Pool.Reload.Age) }},
	{"ntspool_reload_errors_total", "Reloads that changed nothing, because a file was faulty.", counter, none,
		func(s *observe.Snapshot, emit emitter) { emit(float64(s.Pool.Reload.Refused)) }},
	{"ntspool_reload_failed", "Whether the last reload was refused, so that the files are others than those in use.", gauge, none,
		func(s *observe.Snapshot, emit emitter) { emit(one(s.Pool.Reload.Reason != "")) }},
	{"ntspool_servers", "Time sources on the list in use; without any, every user is refused.", gauge, none,
		func(s *observe.Snapshot, emit emitter) { emit(float64(len(s.Pool.Servers))) }},
	{"ntspool_deny_total", "Names of time sources that users did not want: honoured, ignored (every time source was denied), unknown.", counter, none,
		func(s *observe.Snapshot, emit emitter) { byName(s.Pool.Denied, "result", emit) }},
	{"ntspool_geo_lookups_total", "Look-ups of users' countries: found, unknown, error (there is no database).", counter, none,
		func(s *observe.Snapshot, emit emitter) { byName(s.Pool.Lookups, "result", emit) }},
	{"ntspool_geo_database_built_timestamp_seconds", "When the database of countries in use was made, in seconds since 1970; left out without one.", gauge, seconds,
		func(s *observe.Snapshot, emit emitter) {
			if s.Pool.CountriesBuilt != 0 {
				emit(float64(s.Pool.CountriesBuilt))
			}
		}},

	{"ntspool_selected_total", "Users for whom the time source was drawn first, by the region that it was drawn from: a country, a continent, or @ for all of the list.", counter, none,
		func(s *observe.Snapshot, emit emitter) {
			eachServer(s, func(r *observe.PoolServer, at label) { byName(r.Selected, "region", emit, at) })
		}},
	{"ntspool_upstream_requests_total", "Users' exchanges with the time source by how they ended.", counter, none,
		func(s *observe.Snapshot, emit emitter) {
			eachServer(s, func(r *observe.PoolServer, at label) { byName(r.Exchanges, "outcome", emit, at) })
		}},
	{"ntspool_upstream_in_flight", "Requests to the time source under way now.", gauge, none,
		timeSources(everyServer, func(r *observe.PoolServer) float64 { return float64(r.InFlight) })},
	{"ntspool_upstream_connections", "Connections to the time source that are kept and wait for a request.", gauge, none,
		timeSources(everyServer, func(r *observe.PoolServer) float64 { return float64(r.Idle) })},
	{"ntspool_upstream_handshakes_total", "TLS handshakes with the time source, in full and such that resumed a session.", counter, none,
		func(s *observe.Snapshot, emit emitter) {
			eachServer(s, func(r *observe.PoolServer, at label) {
				emit(float64(r.Opened), at, label{"kind", "full"})
				emit(float64(r.Resumed), at, label{"kind", "resumed"})
			})
		}},
	{"ntspool_upstream_reuse_total", "Requests to the time source on connections that were kept, which need no handshake.", counter, none,
		timeSources(everyServer, func(r *observe.PoolServer) float64 { return float64(r.Reused) })},
	{"ntspool_server_lists_age_seconds", "Time since the time source told what it can do; left out before.", gauge, seconds,
		timeSources(func(r *observe.PoolServer) bool { return r.ListsAge > 0 }, func(r *observe.PoolServer) float64 { return r.ListsAge })},
	{"ntspool_server_cert_expiry_timestamp_seconds", "End of the certificate that the time source showed last, in seconds since 1970; left out before.", gauge, seconds,
		timeSources(func(r *observe.PoolServer) bool { return r.CertificateNotAfter != 0 }, func(r *observe.PoolServer) float64 { return float64(r.CertificateNotAfter) })},
	{"ntspool_server_odd_cookies_total", "Answers of the time source with cookies too many, of several lengths, or of one that some users cannot use.", counter, none,
		timeSources(everyServer, func(r *observe.PoolServer) float64 { return float64(r.OddCookies) })},
	{"ntspool_server_up", "Whether users are handed out to the time source: its breaker is not open and the monitor, if there is one, has not taken it out.", gauge, none,
		timeSources(everyServer, func(r *observe.PoolServer) float64 { return one(r.Usable()) })},
	{"ntspool_server_rtt_seconds", "Time from a request to the answer of the time source, smoothed; left out before the first.", gauge, seconds,
		timeSources(func(r *observe.PoolServer) bool { return r.RTT > 0 }, func(r *observe.PoolServer) float64 { return r.RTT })},
	{"ntspool_server_failures", "Failures of the time source in a row.", gauge, none,
		timeSources(everyServer, func(r *observe.PoolServer) float64 { return float64(r.Failures) })},
	{"ntspool_server_known", "Whether what the time source can do is known, else it is asked when the next user comes.", gauge, none,
		timeSources(everyServer, func(r *observe.PoolServer) float64 { return one(r.Known) })},
	{"ntspool_breaker_state", "1 for the state that the breaker of the time source is in: closed, open (left alone because it failed repeatedly), trial (it answers again, and one failure opens it).", gauge, none,
		func(s *observe.Snapshot, emit emitter) {
			eachServer(s, func(r *observe.PoolServer, at label) {
				for _, state := range []string{observe.BreakerClosed, observe.BreakerOpen, observe.BreakerTrial} {
					emit(one(r.Breaker == state), at, label{"state", state})
				}
			})
		}},
}

// monitored are the families of the part of nts-pool-ke that probes its time sources.
var monitored = []family{
	{"ntspool_monitor_rounds_total", "Looks of the monitor at all time sources.", counter, none,
		monitor(func(m *observe.PoolMonitor) float64 { return float64(m.Rounds) })},
	{"ntspool_monitor_void_rounds_total", "Of those, the ones in which so many failed that the fault was taken to be ours, and was not held against anybody.", counter, none,
		monitor(func(m *observe.PoolMonitor) float64 { return float64(m.VoidRounds) })},
	{"ntspool_monitor_round_age_seconds", "Time since the monitor's latest look at all time sources ended; left out before the first.", gauge, seconds,
		func(s *observe.Snapshot, emit emitter) {
			if m := s.Pool.Monitor; m != nil && m.RoundAge >= 0 {
				emit(float64(m.RoundAge))
			}
		}},
	{"ntspool_monitor_reference_voices", "How many sources or time sources agree on the time that offsets are measured from; 0: offsets are not judged.", gauge, none,
		monitor(func(m *observe.PoolMonitor) float64 { return float64(m.ReferenceVoices) })},
	{"ntspool_monitor_clock_offset_seconds", "Clock of this host less the monitor's reference.", gauge, seconds,
		monitor(func(m *observe.PoolMonitor) float64 { return m.ClockOffset })},
	{"ntspool_monitor_all_out_total", "Users for whom every time source was out, so that all were tried.", counter, none,
		monitor(func(m *observe.PoolMonitor) float64 { return float64(m.AllOut) })},
	{"ntspool_monitor_store_errors_total", "Times that the scores could not be written to their file.", counter, none,
		monitor(func(m *observe.PoolMonitor) float64 { return float64(m.StoreErrors) })},
	{"ntspool_server_score", "Score of the time source for users of the address family, -100 to 20; above 10 it may enter.", gauge, none,
		views(func(v *observe.MonitorView) (float64, bool) { return v.Score, true })},
	{"ntspool_server_view_usable", "Whether users of the address family are handed out to the time source.", gauge, none,
		views(func(v *observe.MonitorView) (float64, bool) { return one(v.Usable), true })},
	{"ntspool_server_offset_seconds", "Clock of the time source less the monitor's reference, in its latest answer.", gauge, seconds,
		views(func(v *observe.MonitorView) (float64, bool) { return v.Offset, v.Answered >= 0 })},
	{"ntspool_server_root_distance_seconds", "By how much the time source may be off as far as it and the path can tell, in its latest answer.", gauge, seconds,
		views(func(v *observe.MonitorView) (float64, bool) { return v.Distance, v.Answered >= 0 })},
	{"ntspool_server_delay_seconds", "Round trip of the time source's latest answer over NTP.", gauge, seconds,
		views(func(v *observe.MonitorView) (float64, bool) { return v.Delay, v.Answered >= 0 })},
	{"ntspool_server_probe_failures", "Failed probes of the time source in a row.", gauge, none,
		views(func(v *observe.MonitorView) (float64, bool) { return float64(v.Failures), true })},
	{"ntspool_server_aead_usable", "Whether users get the AEAD algorithm that the time source advertises: its cookies were tried over NTP and worked.", gauge, none,
		func(s *observe.Snapshot, emit emitter) {
			eachServer(s, func(r *observe.PoolServer, at label) {
				if r.Monitored == nil {
					return
				}
				for _, a := range r.Monitored.Algorithms {
					emit(one(a.Usable), at, label{"id", strconv.Itoa(int(a.Algorithm))})
				}
			})
		}},
}

// eachServer visits the time sources with their label, the stable id. A list may hold one without id twice; a series may not be
// there twice, so that the second becomes "name#2".
func eachServer(s *observe.Snapshot, visit func(r *observe.PoolServer, at label)) {
	distinct := distinctNames()
	for i := range s.Pool.Servers {
		r := &s.Pool.Servers[i]
		visit(r, label{"server", distinct(r.ID)})
	}
}

// distinctNames gives the second of equal names "#2", and so on: a series may not be there twice.
func distinctNames() func(string) string {
	seen := make(map[string]int)
	return func(name string) string {
		if seen[name]++; seen[name] > 1 {
			name += "#" + strconv.Itoa(seen[name])
		}
		return name
	}
}

// everyServer takes every time source.
func everyServer(*observe.PoolServer) bool { return true }

// timeSources makes a family with a sample for every time source of a pool for which there is one.
func timeSources(has func(*observe.PoolServer) bool, value func(*observe.PoolServer) float64) func(*observe.Snapshot, emitter) {
	return func(s *observe.Snapshot, emit emitter) {
		eachServer(s, func(r *observe.PoolServer, at label) {
			if has(r) {
				emit(value(r), at)
			}
		})
	}
}

// monitor makes a family of one sample that is left out where time sources are not probed.
func monitor(value func(*observe.PoolMonitor) float64) func(*observe.Snapshot, emitter) {
	return func(s *observe.Snapshot, emit emitter) {
		if s.Pool.Monitor != nil {
			emit(value(s.Pool.Monitor))
		}
	}
}

// views makes a family with a sample for every time source and address family of users for which there is one.
func views(value func(*observe.MonitorView) (float64, bool)) func(*observe.Snapshot, emitter) {
	return func(s *observe.Snapshot, emit emitter) {
		eachServer(s, func(r *observe.PoolServer, at label) {
			if r.Monitored == nil {
				return
			}
			for j := range r.Monitored.Views {
				if v, ok := value(&r.Monitored.Views[j]); ok {
					emit(v, at, label{"family", r.Monitored.Views[j].Family})
				}
			}
		})
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

// connectionsNow emits how many connections there are and how many of them hold a permit, under the label of that name.
func connectionsNow(c *observe.Connections, name string, emit emitter, at ...label) {
	emit(float64(c.Open), append(at[:len(at):len(at)], label{name, "open"})...)
	emit(float64(c.InUse), append(at[:len(at):len(at)], label{name, "in_use"})...)
}
