package metrics

import (
	"maps"
	"slices"

	"ntp-daemon/internal/observe"
)

// own are the families that only this suite has.
var own = []family{
	{"ntp_daemon_synchronized", "Whether the clock follows a consensus of sources.", gauge, none,
		system(func(s *observe.Snapshot) float64 { return one(s.Suite.Synchronized) })},
	{"ntp_daemon_state", "Always 1; state is synchronised, hold-over, local, unsynchronised or refused, clock is system, virtual or observed.", gauge, none,
		func(s *observe.Snapshot, emit emitter) {
			emit(1, label{"state", s.Suite.State}, label{"clock", s.Suite.Clock})
		}},
	{"ntp_daemon_offset_seconds", "Estimated true time less our clock.", gauge, seconds,
		estimate(func(s *observe.Suite) float64 { return s.Offset })},
	{"ntp_daemon_offset_uncertainty_seconds", "Standard deviation of the estimated offset.", gauge, seconds,
		estimate(func(s *observe.Suite) float64 { return s.Uncertainty })},
	{"ntp_daemon_frequency_correction_ratio", "Correction of the clock's rate in force, a slew included.", gauge, ratio,
		system(func(s *observe.Snapshot) float64 { return s.Suite.Frequency })},
	{"ntp_daemon_frequency_error_ratio", "Estimated rate error of the corrected clock; positive: it runs fast.", gauge, ratio,
		estimate(func(s *observe.Suite) float64 { return s.FrequencyError })},
	{"ntp_daemon_frequency_uncertainty_ratio", "Standard deviation of the estimated rate error.", gauge, ratio,
		estimate(func(s *observe.Suite) float64 { return s.FrequencyUncertainty })},
	{"ntp_daemon_steps_total", "Steps that the daemon made.", counter, none,
		system(func(s *observe.Snapshot) float64 { return float64(s.Suite.Steps) })},
	{"ntp_daemon_refused_steps_total", "Times that the clock was left alone because a step exceeded the limit of that name.", counter, none,
		func(s *observe.Snapshot, emit emitter) { byName(s.Suite.RefusedSteps, "limit", emit) }},
	{"ntp_daemon_unauthenticated_steps_seconds", "Sum of the sizes of the last day's steps, after the start, for which most sources had no NTS.", gauge, seconds,
		system(func(s *observe.Snapshot) float64 { return s.Suite.UnauthenticatedSteps })},
	{"ntp_daemon_clock_unset", "Whether the clock shows a time that is past, so that it is not served.", gauge, none,
		system(func(s *observe.Snapshot) float64 { return one(s.Suite.ClockUnset) })},
	{"ntp_daemon_selected_sources", "Sources that the clock follows.", gauge, none,
		system(func(s *observe.Snapshot) float64 { return float64(s.Suite.Selected) })},
	{"ntp_daemon_candidate_sources", "Sources that have a vote on the clock.", gauge, none,
		system(func(s *observe.Snapshot) float64 { return float64(s.Suite.Candidates) })},
	{"ntp_daemon_consensus_lost_total", "Times that the agreement of the sources was lost.", counter, none,
		system(func(s *observe.Snapshot) float64 { return float64(s.Suite.ConsensusLost) })},
	{"ntp_daemon_loops_detected_total", "Times that a source was found to follow this daemon.", counter, none,
		system(func(s *observe.Snapshot) float64 { return float64(s.Suite.LoopsDetected) })},
	{"ntp_daemon_dropped_samples_total", "Good answers of sources that were not used, because the clock was stepped meanwhile (over_step) or a leap second was near (in_leap).", counter, none,
		func(s *observe.Snapshot, emit emitter) {
			emit(float64(s.Suite.InLeap), label{"reason", "in_leap"})
			emit(float64(s.Suite.WrongEpoch), label{"reason", "over_step"})
		}},
	{"ntp_daemon_source_stratum", "Stratum that the source claims.", gauge, none,
		sources(measured, func(r *observe.Source) float64 { return float64(r.Stratum) })},
	{"ntp_daemon_source_reach", "Which of the last eight polls were answered, as a number of eight bits, the latest in bit 0.", gauge, none,
		sources(always, func(r *observe.Source) float64 { return float64(r.Reach) })},
	{"ntp_daemon_source_selected", "Whether the source takes part in steering the clock.", gauge, none,
		sources(always, func(r *observe.Source) float64 { return one(Selected(r)) })},
	{"ntp_daemon_source_jitter_seconds", "Standard deviation of the offset in a single exchange with the source.", gauge, seconds,
		sources(measured, func(r *observe.Source) float64 { return r.Jitter })},
	{"ntp_daemon_source_interleaved", "Whether the latest reply of the source told when the one before it left (interleaved mode, RFC 9769).", gauge, none,
		sources(always, func(r *observe.Source) float64 { return one(r.Interleaved) })},
	{"ntp_daemon_source_interleaved_replies_total", "Replies of the source that told when the one before them left.", counter, none,
		sources(always, func(r *observe.Source) float64 { return float64(r.InterleavedReplies) })},
	{"ntp_daemon_key_exchange_total", "Connections to the NTS key exchange server by outcome.", counter, none,
		func(s *observe.Snapshot, emit emitter) { byName(s.Suite.KeyExchange, "outcome", emit) }},
	{"ntp_daemon_key_exchange_connections_total", "Connections to the key exchange by what became of them: accepted, closed_full (every place taken), closed_prefix (too many from one network), evicted_idle (had not spoken), accept_errors, panics.", counter, none,
		keyExchanges(func(r *observe.KeyExchangeServer, emit emitter, at label) { connectionEvents(&r.Connections, emit, at) })},
	{"ntp_daemon_key_exchange_active_connections", "Connections to the key exchange now: open, in_use (those that hold a place), kept (for pools).", gauge, none,
		keyExchanges(func(r *observe.KeyExchangeServer, emit emitter, at label) {
			connectionsNow(&r.Connections, "kind", emit, at)
			emit(float64(r.Kept), at, label{"kind", "kept"})
		})},
	{"ntp_daemon_key_exchange_exports_total", "TLS sessions that a client's keys were made from.", counter, none,
		keyExchanges(func(r *observe.KeyExchangeServer, emit emitter, at label) { emit(float64(r.KeyExports), at) })},
	{"ntp_daemon_key_exchange_cpu_total", "Seconds of processor time of the threads of the key exchange; 0 where it has none of its own.", counter, none,
		keyExchanges(func(r *observe.KeyExchangeServer, emit emitter, at label) { emit(r.CPU, at) })},
	{"ntp_daemon_key_exchange_budget_used_up_total", "Times that handshakes had to wait because handshake-cpu-percent was used up.", counter, none,
		keyExchanges(func(r *observe.KeyExchangeServer, emit emitter, at label) { emit(float64(r.OverBudget), at) })},
	{"ntp_daemon_key_exchange_certificate_expiry_timestamp_seconds", "End of the certificate that the key exchange shows, in seconds since 1970; left out while there is none.", gauge, seconds,
		keyExchanges(func(r *observe.KeyExchangeServer, emit emitter, at label) {
			if r.CertificateNotAfter != 0 {
				emit(float64(r.CertificateNotAfter), at)
			}
		})},
	{"ntp_daemon_missing_sources", "Sources that are configured and have no address: the name is not known, or the key exchange fails.", gauge, none,
		func(s *observe.Snapshot, emit emitter) {
			distinct := distinctNames()
			for i := range s.Suite.Missing {
				emit(float64(s.Suite.Missing[i].Count), label{"name", distinct(s.Suite.Missing[i].Name)})
			}
		}},
	{"ntp_daemon_nts_pool_sources", "Sources from an NTS pool, or from the SRV records of a domain: wanted, and held now.", gauge, none,
		ntsPools(func(p *observe.NTSPool, emit emitter, at label) {
			emit(float64(p.Want), at, label{"kind", "wanted"})
			emit(float64(len(p.Members)), at, label{"kind", "held"})
		})},
	{"ntp_daemon_nts_pool_failed_servers", "Servers of an NTS pool that failed of late and are left out for half an hour to an hour.", gauge, none,
		ntsPools(func(p *observe.NTSPool, emit emitter, at label) { emit(float64(len(p.Failed)), at) })},
	{"ntp_daemon_nts_pool_search_wait_seconds", "Time until the next search for a server of an NTS pool; left out while none is wanted.", gauge, seconds,
		ntsPools(func(p *observe.NTSPool, emit emitter, at label) {
			if p.Wait >= 0 {
				emit(p.Wait, at)
			}
		})},
	{"ntp_daemon_part_up", "Whether a listener or socket is up; one that is down is tried again.", gauge, none,
		func(s *observe.Snapshot, emit emitter) {
			for i := range s.Suite.Parts {
				emit(one(s.Suite.Parts[i].Up), label{"part", s.Suite.Parts[i].Name})
			}
		}},
	{"ntp_daemon_server_verdicts_total", "Packets to the NTP server by what became of them.", counter, none,
		func(s *observe.Snapshot, emit emitter) { byName(s.Suite.Verdicts, "verdict", emit) }},
	{"ntp_daemon_server_dropped_packets_total", "Packets that the kernel dropped before the server saw them, nearly always for a full receive buffer; not among the received ones.", counter, none,
		servers(func(r *observe.Server) uint64 { return r.Dropped })},
	{"ntp_daemon_server_answers_per_second", "Answers of the NTP server with time in the last whole second.", gauge, none,
		servers(func(r *observe.Server) uint64 { return r.AnswersPerSecond })},
	{"ntp_daemon_server_transmit_stamps_total", "Answers of which the kernel told when they left: one of 251, and one each second.", counter, none,
		servers(func(r *observe.Server) uint64 { return r.TransmitStamps })},
	{"ntp_daemon_server_transmit_error_seconds", "How far the transmit times in the answers of late were from when the answers left: 0.5 and 0.99 of them were better.", gauge, seconds,
		transmitErrors},
	{"ntp_daemon_server_interleaved_answers_total", "Answers of the NTP server that told when the one before them left (interleaved mode, RFC 9769).", counter, none,
		servers(func(r *observe.Server) uint64 { return r.Interleaved })},
	{"ntp_daemon_server_fast_path_active", "Whether plain requests are answered in the network driver now (ntp-xdp), for servers with xdp.", gauge, none,
		func(s *observe.Snapshot, emit emitter) {
			fastPaths(s, func(r *observe.Server, f *observe.FastPath) {
				emit(one(f.Mode != "" && f.Reason == ""), label{"listen_address", r.Address}, label{"interface", f.Interface})
			})
		}},
	{"ntp_daemon_server_fast_path_packets_total", "Packets that ntp-xdp saw: answered in the network driver, which the server's families count too, or left to the sockets because there was nothing to answer from (resting), by the access lists (listed), or as no plain request (other).", counter, none,
		func(s *observe.Snapshot, emit emitter) {
			fastPaths(s, func(r *observe.Server, f *observe.FastPath) {
				for _, o := range []struct {
					name string
					n    uint64
				}{{"answered", f.Answered}, {"resting", f.Resting}, {"listed", f.Listed}, {"other", f.Other}} {
					emit(float64(o.n), label{"listen_address", r.Address}, label{"outcome", o.name})
				}
			})
		}},
	{"ntp_daemon_keyset_stored", "Whether the cookie keys are in their file and survive a restart.", gauge, none,
		func(s *observe.Snapshot, emit emitter) {
			if s.Suite.KeySetAge > 0 {
				emit(one(s.Suite.KeySetStored))
			}
		}},
	{"ntp_daemon_keyset_age_seconds", "Time since the cookie key was changed.", gauge, seconds,
		func(s *observe.Snapshot, emit emitter) {
			if s.Suite.KeySetAge > 0 {
				emit(s.Suite.KeySetAge)
			}
		}},
	{"ntp_daemon_virtual_offset_seconds", "Machine's clock less the virtual clock, in trials.", gauge, seconds,
		truth(func(v *observe.VirtualTruth) float64 { return v.Offset })},
	{"ntp_daemon_virtual_frequency_ratio", "Remaining rate error of the virtual clock, in trials.", gauge, ratio,
		truth(func(v *observe.VirtualTruth) float64 { return v.Frequency })},
}

// transmitErrors leaves out a server without stamps.
func transmitErrors(s *observe.Snapshot, emit emitter) {
	for i := range s.Servers {
		if e := s.Servers[i].TransmitError; e != nil {
			emit(e.Half, label{"listen_address", s.Servers[i].Address}, label{"share", "0.5"})
			emit(e.Most, label{"listen_address", s.Servers[i].Address}, label{"share", "0.99"})
		}
	}
}

// estimate makes a family of one sample that is left out while there is no estimate.
func estimate(value func(*observe.Suite) float64) func(*observe.Snapshot, emitter) {
	return func(s *observe.Snapshot, emit emitter) {
		if s.Suite.EstimateKnown {
			emit(value(&s.Suite))
		}
	}
}

// truth makes a family that exists with a virtual clock only.
func truth(value func(*observe.VirtualTruth) float64) func(*observe.Snapshot, emitter) {
	return func(s *observe.Snapshot, emit emitter) {
		if v := s.Suite.VirtualTruth; v != nil {
			emit(value(v))
		}
	}
}

// keyExchanges makes a family with samples for every listen address of the key exchange.
func keyExchanges(samples func(r *observe.KeyExchangeServer, emit emitter, at label)) func(*observe.Snapshot, emitter) {
	return func(s *observe.Snapshot, emit emitter) {
		for i := range s.Suite.KeyExchangeServers {
			r := &s.Suite.KeyExchangeServers[i]
			samples(r, emit, label{"listen_address", r.Address})
		}
	}
}

// ntsPools makes a family with samples for every NTS pool that sources come from.
func ntsPools(samples func(p *observe.NTSPool, emit emitter, at label)) func(*observe.Snapshot, emitter) {
	return func(s *observe.Snapshot, emit emitter) {
		distinct := distinctNames()
		for i := range s.Suite.Pools {
			p := &s.Suite.Pools[i]
			samples(p, emit, label{"name", distinct(p.Name)})
		}
	}
}

// byName emits a table of counters in the order of their names, which follow the labels of all of them.
func byName(counts map[string]uint64, name string, emit emitter, at ...label) {
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		emit(float64(counts[key]), append(at[:len(at):len(at)], label{name, key})...)
	}
}

// Selected reports whether the source's role is one that steers the clock.
func Selected(r *observe.Source) bool {
	return r.Role == observe.RoleSelected || r.Role == observe.RolePeer
}

// fastPaths visits the servers that have one.
func fastPaths(s *observe.Snapshot, visit func(*observe.Server, *observe.FastPath)) {
	for i := range s.Servers {
		if f := s.Servers[i].FastPath; f != nil {
			visit(&s.Servers[i], f)
		}
	}
}
