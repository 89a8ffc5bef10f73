package poolke

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/printable"
	"ntp-daemon/internal/program"
)

// reloads is what became of the reloads so far, for those who watch the pool.
type reloads struct {
	mu      sync.Mutex // guards what follows
	number  uint64     // that took effect
	since   time.Time  // when the last of them did, or the pool began
	refused uint64
	reason  string // why the last one was refused; empty if it took effect
}

// note enters the result of one that changed something, or nothing; news is whether the last one ended otherwise, or was refused
// for another reason.
func (r *reloads) note(now time.Time, changed bool, err error) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		news, r.reason = r.reason != "", ""
		if changed {
			r.number, r.since = r.number+1, now
		}
		return news
	}
	reason := printable.Text(summary(err))
	news = reason != r.reason
	r.refused, r.reason = r.refused+1, reason
	return news
}

// observed is what readers see.
func (r *reloads) observed(now time.Time) observe.PoolReload {
	r.mu.Lock()
	defer r.mu.Unlock()
	return observe.PoolReload{Generation: r.number + 1, Age: now.Sub(r.since).Seconds(), Refused: r.refused, Reason: r.reason}
}

// summary is an error of a reload in one line. Of many problems of a configuration it is the first.
func summary(err error) string {
	ps, ok := errors.AsType[config.Problems](err)
	switch {
	case !ok || len(ps) == 0:
		return strings.Join(strings.Split(err.Error(), "\n"), "; ")
	case len(ps) == 1:
		return ps[0].String()
	}
	return fmt.Sprintf("%v; and %d more problems, which nts-pool-ke --check tells", ps[0], len(ps)-1)
}

// reloadLoop owns the replacement of the snapshot: when it is asked to, with the configuration as it is now, and when a file
// that the configuration names has changed, with the configuration as it was. It also warns of a certificate that expires. It
// stops when ctx ends.
func (p *Pool) reloadLoop(ctx context.Context) {
	expiry := program.NewExpiryWatch(p.log)
	ticker := time.NewTicker(program.ExpiryInterval)
	defer ticker.Stop()
	watch := newFileWatch(p.snap.Load().cfg.files())
	looks := time.NewTicker(watchInterval)
	defer looks.Stop()
	for {
		cfg := &p.snap.Load().cfg
		expiry.Look(cfg.CertificatePath, cfg.Certificate.Leaf, time.Now(), p.deps.Now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			continue
		case now := <-looks.C:
			if p.deps.Again == nil || !watch.look(now) {
				continue
			}
			p.attempt(false, func() (Config, error) { return p.deps.Again(cfg.source) })
		case <-p.deps.Reload:
			p.attempt(true, p.deps.Load)
		}
		watch.follow(p.snap.Load().cfg.files())
	}
}

// attempt makes one reload and tells what became of it. Of one that nobody asked for and that changed nothing there is
// nothing to tell.
func (p *Pool) attempt(asked bool, load func() (Config, error)) {
	old := p.snap.Load()
	if asked {
		p.deps.Manager.Reloading()
		defer p.deps.Manager.Ready()
	}
	err := p.reload(load)
	next := p.snap.Load()
	changes := next.changes(old)
	news := p.reloads.note(time.Now(), asked || len(changes) > 0, err)
	switch {
	case err != nil && (asked || news):
		p.log.Error().Str("error", summary(err)).Msg("reload refused, the old configuration stays in use")
	case err == nil && !asked && len(changes) == 0 && news:
		p.log.Info().Msg("the files are those in use again")
	case err != nil, !asked && len(changes) == 0:
		p.log.Debug().Err(err).Msg("files were read again, to no effect")
	default:
		if len(changes) == 0 {
			changes = []string{"nothing"}
		}
		p.log.Info().Int("servers", next.directory.Len()).Str("changed", strings.Join(changes, "; ")).Msg("configuration reloaded")
	}
}

// reload loads the configuration and puts it into use. A panic in that is a bug that costs this reload (row L09).
func (p *Pool) reload(load func() (Config, error)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("bug: panic: %v", v)
			p.log.Error().Str("panic", fmt.Sprint(v)).Bytes("stack", debug.Stack()).Msg("bug: reload ended by a panic")
		}
	}()
	c, err := load()
	if err != nil {
		return err
	}
	return p.Swap(c)
}

// Swap replaces list, certificates, keys of monitors, trusted load balancers and time limits for all users who come from now
// on, or nothing if the configuration is faulty. The listen address, the connection limits and the observation socket stay
// as they were.
func (p *Pool) Swap(c Config) error {
	old := p.snap.Load()
	if err := worse(old.cfg.Roots.Pool, c.Roots.Pool, time.Now()); err != nil {
		return fmt.Errorf("trusted roots: %w", err)
	}
	s, err := p.snapshot(c, old)
	if err != nil {
		return err
	}
	p.monitor.adopt(s)
	p.snap.Store(s)
	s.retire(old)
	p.mu.Lock()
	p.aliases.Keep(s.directory)
	p.mu.Unlock()
	return nil
}

// worse is the error of something that cannot be used now and could be before.
func worse[T any](was, next func(time.Time) (T, error), now time.Time) error {
	_, err := next(now)
	if err != nil {
		if _, before := was(now); before != nil {
			return nil // nothing is lost
		}
	}
	return err
}

// files are what the configuration was made from, besides its own text, and when they began to be read; none if nobody
// loaded it from files.
func (c *Config) files() (list []string, read time.Time) {
	if c.source == nil {
		return nil, c.read
	}
	return c.source.Files(), c.read
}
