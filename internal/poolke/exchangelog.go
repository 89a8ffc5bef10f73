package poolke

import (
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/printable"
)

// failuresPerMinute bounds the lines about failed exchanges, of each outcome; what is above is counted.
const failuresPerMinute = 30

// exchangeLog is one user's way into the log. Every line about an exchange goes through it, so that log-exchanges is
// decided here alone:
//
//	all        the lines of the first program, and at debug how it ended
//	failures   one line for each exchange that failed, at most failuresPerMinute of an outcome
//	summary    none; minuteLoop writes one line a minute about all users
//
// In the last two a step costs a comparison. At debug level how each exchange ended is written in every style.
type exchangeLog struct {
	style    config.LogExchanges
	log      *zerolog.Logger
	failures *failureLimit
}

// exchangeLog is that of a user who is served from s.
func (p *Pool) exchangeLog(s *snapshot) exchangeLog {
	return exchangeLog{style: s.cfg.LogExchanges, log: &p.log, failures: &p.failures}
}

// step writes a step of an exchange that goes well.
func (l exchangeLog) step(what string) {
	if l.style == config.LogAll {
		l.log.Info().Msg(what)
	}
}

// asking is the step that names a time source.
func (l exchangeLog) asking(b *pool.Backend) {
	if l.style == config.LogAll {
		l.log.Info().Msgf("checking supported algorithms for '%s'", b)
	}
}

// unusable says that a candidate was passed over.
func (l exchangeLog) unusable(b *pool.Backend, cause error) {
	if ev := l.log.Debug(); ev != nil {
		ev.Stringer("server", b).Str("e", printable.Text(cause.Error())).Msg("time source is not usable")
	}
}

// info and warn write why an exchange goes wrong, where that is one of the first program's lines; the cause may be nil.
func (l exchangeLog) info(what string, cause error) { l.trouble(zerolog.InfoLevel, what, cause) }
func (l exchangeLog) warn(what string, cause error) { l.trouble(zerolog.WarnLevel, what, cause) }

func (l exchangeLog) trouble(level zerolog.Level, what string, cause error) {
	if l.style != config.LogAll {
		return
	}
	ev := l.log.WithLevel(level)
	if cause != nil {
		ev.Str("e", printable.Text(cause.Error()))
	}
	ev.Msg(what)
}

// end writes how an exchange ended, after what time, and with which time source it was tried last, if with any.
func (l exchangeLog) end(peer netip.Addr, last *pool.Backend, out Outcome, took time.Duration, cause error) {
	level := zerolog.DebugLevel
	if l.style == config.LogFailures && out != Served && out != HealthCheck && l.failures.allow(out) {
		level = out.level()
	}
	ev := l.log.WithLevel(level)
	if ev == nil {
		return
	}
	ev.Stringer("peer", network(peer)).Stringer("outcome", out).Float64("ms", milliseconds(took))
	if last != nil {
		ev.Stringer("server", last)
	}
	if cause == nil {
		ev.Msg("NTS Pool KE completed")
		return
	}
	ev.Str("e", printable.Text(cause.Error()))
	if outOfTime(cause) {
		ev.Msg("NTS Pool KE timed out")
		return
	}
	ev.Msg("NTS Pool KE failed")
}

// level is that of the line about a failed exchange: a warning if the pool or its time sources failed, else the user did.
func (o Outcome) level() zerolog.Level {
	switch o {
	case NoServer, ServerFailed, TimedOut:
		return zerolog.WarnLevel
	}
	return zerolog.InfoLevel
}

// failureLimit counts the lines of each outcome since reset was called, which happens once a minute.
type failureLimit struct {
	mu    sync.Mutex
	lines [outcomes]uint64
}

// allow reports whether one more line may be written.
func (f *failureLimit) allow(out Outcome) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines[out]++
	return f.lines[out] <= failuresPerMinute
}

// reset begins a new minute and returns what the one before left unsaid.
func (f *failureLimit) reset() (unsaid [outcomes]uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, n := range f.lines {
		unsaid[i] = max(n, failuresPerMinute) - failuresPerMinute
	}
	f.lines = [outcomes]uint64{}
	return unsaid
}
