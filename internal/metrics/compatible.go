package metrics

import (
	"math"
	"strconv"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
)

// pollWithoutSources is what the deprecated system poll interval shows without sources: 2^4 s.
const pollWithoutSources = 16

// compatible are the families of ntpd-rs 1.9 in its order (docs/rules/control.md#metrics).
var compatible = []family{
	{"ntp_uptime_seconds", "Time since the daemon started.", gauge, seconds, uptime},
	{"ntp_system_poll_interval_seconds", "Shortest poll interval of all sources (deprecated, see the sources).", gauge, seconds,
		system(systemPoll)},
	{"ntp_system_accumulated_steps_seconds", "Sum of the sizes of all steps after the start.", gauge, seconds,
		system(func(s *observe.Snapshot) float64 { return s.System.AccumulatedSteps })},
	{"ntp_system_accumulated_steps_threshold_seconds", "Sum of steps beyond which the clock is left alone (panic-action), -1 without limit.", gauge, seconds,
		system(func(s *observe.Snapshot) float64 {
			if s.System.AccumulatedStepsThreshold == nil {
				return -1
			}
			return *s.System.AccumulatedStepsThreshold
		})},
	{"ntp_system_leap_indicator", "Leap second at the end of the month: 0 none, 1 a 61st second, 2 no 60th second, 3 unknown, 4 unsynchronised.", gauge, none,
		system(func(s *observe.Snapshot) float64 { return leapCode(s.System.LeapIndicator) })},
	{"ntp_system_root_delay_seconds", "Round trip to the primary reference.", gauge, seconds,
		system(func(s *observe.Snapshot) float64 { return s.System.RootDelay })},
	{"ntp_system_root_dispersion_seconds", "Uncertainty of the clock against the primary reference, now.", gauge, seconds,
		system(RootDispersion)},
	{"ntp_system_stratum", "Distance from the primary reference in servers.", gauge, none,
		system(func(s *observe.Snapshot) float64 { return float64(s.System.Stratum) })},

	{"ntp_source_poll_interval_seconds", "Poll interval of the source.", gauge, seconds,
		sources(always, func(r *observe.Source) float64 { return pollSeconds(r.PollInterval) })},
	{"ntp_source_unanswered_polls", "Polls without an answer since the last answer, at most 8.", gauge, none,
		sources(always, func(r *observe.Source) float64 { return float64(r.UnansweredPolls) })},
	{"ntp_source_nts_cookies_available", "NTS cookies left for the source.", gauge, none,
		sources(func(r *observe.Source) bool { return r.NTSCookies != nil }, func(r *observe.Source) float64 { return float64(*r.NTSCookies) })},
	{"ntp_source_offset_seconds", "Time of the source less our time.", gauge, seconds,
		sources(measured, func(r *observe.Source) float64 { return r.Offset })},
	{"ntp_source_delay_seconds", "Round trip to the source.", gauge, seconds,
		sources(measured, func(r *observe.Source) float64 { return r.Delay })},
	{"ntp_source_uncertainty_seconds", "Standard deviation of the offset to the source.", gauge, seconds,
		sources(measured, func(r *observe.Source) float64 { return r.Uncertainty })},
	{"ntp_source_root_delay_seconds", "Root delay that the source claims.", gauge, seconds,
		sources(measured, func(r *observe.Source) float64 { return r.RemoteDelay })},
	{"ntp_source_root_dispersion_seconds", "Root dispersion that the source claims.", gauge, seconds,
		sources(measured, func(r *observe.Source) float64 { return r.RemoteUncertainty })},

	{"ntp_server_received_packets_total", "Packets received.", counter, none,
		stats(func(c *observe.ServerStats) uint64 { return c.Received })},
	{"ntp_server_accepted_packets_total", "Packets answered with the time.", counter, none,
		stats(func(c *observe.ServerStats) uint64 { return c.Accepted })},
	{"ntp_server_denied_packets_total", "Packets answered with a DENY kiss.", counter, none,
		stats(func(c *observe.ServerStats) uint64 { return c.Denied })},
	{"ntp_server_ignored_packets_total", "Packets not answered.", counter, none,
		stats(func(c *observe.ServerStats) uint64 { return c.Ignored })},
	{"ntp_server_rate_limited_packets_total", "Packets beyond the rate limit.", counter, none,
		stats(func(c *observe.ServerStats) uint64 { return c.RateLimited })},
	{"ntp_server_response_send_errors_total", "Answers that could not be sent.", counter, none,
		stats(func(c *observe.ServerStats) uint64 { return c.SendErrors })},
	{"ntp_server_nts_received_packets_total", "NTS packets received.", counter, none,
		stats(func(c *observe.ServerStats) uint64 { return c.NTSReceived })},
	{"ntp_server_nts_accepted_packets_total", "NTS packets answered with the time.", counter, none,
		stats(func(c *observe.ServerStats) uint64 { return c.NTSAccepted })},
	{"ntp_server_nts_denied_packets_total", "NTS packets answered with a DENY kiss.", counter, none,
		stats(func(c *observe.ServerStats) uint64 { return c.NTSDenied })},
	{"ntp_server_nts_rate_limited_packets_total", "NTS packets beyond the rate limit.", counter, none,
		stats(func(c *observe.ServerStats) uint64 { return c.NTSRateLimited })},
	{"ntp_server_nts_nak_packets_total", "NTS packets that did not verify and were answered with a NAK.", counter, none,
		stats(func(c *observe.ServerStats) uint64 { return c.NTSNAK })},
}

// uptime is also what names the build.
func uptime(s *observe.Snapshot, emit emitter) {
	emit(s.Program.UptimeSeconds, label{"version", s.Program.Version},
		label{"build_commit", s.Program.BuildCommit}, label{"build_commit_date", s.Program.BuildCommitDate})
}

// system makes a family of one sample without labels.
func system(value func(*observe.Snapshot) float64) func(*observe.Snapshot, emitter) {
	return func(s *observe.Snapshot, emit emitter) { emit(value(s)) }
}

// sources makes a family with a sample for every source that has the value.
func sources(has func(*observe.Source) bool, value func(*observe.Source) float64) func(*observe.Snapshot, emitter) {
	return func(s *observe.Snapshot, emit emitter) {
		for i := range s.Sources {
			if r := &s.Sources[i]; has(r) {
				emit(value(r), label{"name", r.Name}, label{"address", r.Address},
					label{"id", strconv.FormatUint(r.ID, 10)})
			}
		}
	}
}

func always(*observe.Source) bool { return true }

// measured leaves out what is not known yet; ntpd-rs shows the largest duration instead.
func measured(r *observe.Source) bool { return r.Measured }

// stats makes a family with a sample for every listen address from its counters.
func stats(value func(*observe.ServerStats) uint64) func(*observe.Snapshot, emitter) {
	return servers(func(r *observe.Server) uint64 { return value(&r.Stats) })
}

// servers makes a family with a sample for every listen address.
func servers(value func(*observe.Server) uint64) func(*observe.Snapshot, emitter) {
	return func(s *observe.Snapshot, emit emitter) {
		for i := range s.Servers {
			emit(float64(value(&s.Servers[i])), label{"listen_address", s.Servers[i].Address})
		}
	}
}

func pollSeconds(exp int8) float64 { return math.Ldexp(1, int(exp)) }

func systemPoll(s *observe.Snapshot) float64 {
	if len(s.Sources) == 0 {
		return pollWithoutSources
	}
	least := s.Sources[0].PollInterval
	for i := range s.Sources {
		least = min(least, s.Sources[i].PollInterval)
	}
	return pollSeconds(least)
}

// leapCode is the number of the metric for the word of the snapshot.
func leapCode(name string) float64 {
	switch name {
	case "NoWarning":
		return 0
	case "Leap61":
		return 1
	case "Leap59":
		return 2
	case "Unsynchronized":
		return 4
	}
	return 3
}

// RootDispersion extrapolates the variance of the snapshot to its own time, in seconds
// (docs/rules/control.md#root-dispersion). Without a base time there is nothing to extrapolate, and the bound that the
// daemon serves is returned.
func RootDispersion(s *observe.Snapshot) float64 {
	y := &s.System
	if y.RootVarianceBaseTime.Timestamp == 0 {
		return s.Suite.RootDispersion
	}
	t := ntp.Timestamp(s.Program.Now.Timestamp).Sub(ntp.Timestamp(y.RootVarianceBaseTime.Timestamp)).Seconds()
	t = max(t, 0)
	v := y.RootVarianceBase + t*(y.RootVarianceLinear+t*(y.RootVarianceQuadratic+t*y.RootVarianceCubic))
	return math.Sqrt(max(v, 0))
}
