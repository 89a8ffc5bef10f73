package daemon

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/durable"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/system"
)

// stateKeeper owns the drift file.
type stateKeeper struct {
	dir    string // empty: nothing is kept
	boot   string
	log    zerolog.Logger
	drifts <-chan drift

	written drift
	at      time.Time // monotonic time of the last write
	failed  bool
	unread  bool // the file is there and could not be read: it is left alone until it can be
}

// load returns the stored drift; ok is false without one that can be trusted. A bad file costs one warning (K14).
func (s *stateKeeper) load(now time.Time) (d drift, ok bool) {
	if s.dir == "" {
		return drift{}, false
	}
	path := filepath.Join(s.dir, driftName)
	b, _, err := durable.ReadFile(path, maxDriftFile)
	if err == nil {
		d, err = parseDrift(b, now)
	}
	switch {
	case err == nil:
		if d.Boot != s.boot || s.boot == "" {
			d.StartupSpent, d.Spent = false, system.Spent{} // another boot, another allowance
		}
		return d, true
	case errors.Is(err, errDrift), errors.Is(err, durable.ErrTooLarge): // nothing is lost with it
		target(s.log, logtarget.System).Warn().Str("path", path).Err(err).Msg("stored frequency ignored, starting from the kernel's")
	case !errors.Is(err, fs.ErrNotExist):
		s.unread = true
		target(s.log, logtarget.System).Warn().Str("path", path).Err(err).
			Msg("stored frequency not readable, starting from the kernel's; the file is left alone until it can be read")
	}
	return drift{}, false
}

// run owns the drift file: it writes what the timekeeper offers, no more often than once a minute, and the last
// offer when ctx ends. It is a goroutine of its own because a disk may block and the timekeeper must not.
func (s *stateKeeper) run(ctx context.Context) error {
	var latest *drift
	for {
		select {
		case d := <-s.drifts:
			latest = &d
			if s.due(d, time.Now()) {
				s.write(d)
				latest = nil
			}
		case <-ctx.Done():
			select {
			case d := <-s.drifts:
				latest = &d
			default:
			}
			if latest != nil {
				s.write(*latest)
			}
			return nil
		}
	}
}

// due keeps the disk quiet: a changed frequency is written once a minute, an unchanged one once an hour, and the
// first one, like what changes the allowances for steps, at once.
func (s *stateKeeper) due(d drift, now time.Time) bool {
	if s.at.IsZero() || d.StartupSpent != s.written.StartupSpent || d.Spent != s.written.Spent {
		return true
	}
	age := now.Sub(s.at)
	moved := math.Abs(d.Frequency-s.written.Frequency) > max(s.written.Sigma, 1e-9)
	return age >= driftRefresh || age >= driftSpacing && moved
}

func (s *stateKeeper) write(d drift) {
	if s.dir == "" {
		return
	}
	d.Boot = s.boot
	path := filepath.Join(s.dir, driftName)
	if s.unread && !s.readable(path) {
		s.written, s.at = d, time.Now()
		return
	}
	err := durable.WriteFile(path, d.marshal())
	if err != nil && !s.failed {
		target(s.log, logtarget.System).Error().Str("path", path).Err(err).Msg("could not store the frequency; the old file is unharmed")
	}
	s.failed = err != nil
	s.written, s.at = d, time.Now()
}

// readable reports whether a file that could not be read can be now, or is gone. What is in it is older than what
// would be written.
func (s *stateKeeper) readable(path string) bool {
	_, _, err := durable.ReadFile(path, maxDriftFile)
	s.unread = err != nil && !errors.Is(err, durable.ErrTooLarge) && !errors.Is(err, fs.ErrNotExist)
	return !s.unread
}

// openState locks the state directory. A directory that another daemon uses is left to it, and this one says so
// and runs without state (design: several daemons on one host work).
func (d *Daemon) openState() error {
	d.state = &stateKeeper{log: d.log, boot: bootID()}
	dir := d.cfg.State.Directory
	if dir == "" {
		return nil
	}
	log := logging.Target(d.log, logtarget.System)
	lock, err := durable.Lock(dir)
	switch {
	case err == nil:
		d.state.dir, d.unlock = dir, func() { _ = lock.Close() }
	case errors.Is(err, durable.ErrLocked):
		log.Warn().Str("path", dir).Msg("another daemon uses the state directory; running without stored frequency and keys")
	default:
		log.Warn().Str("path", dir).Err(err).Msg("no state directory; the frequency and the cookie keys will not survive a restart")
	}
	return nil
}
