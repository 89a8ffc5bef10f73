package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/server"
)

// reloader puts a changed configuration into use on SIGHUP, as a validated whole: sources, access lists, certificates, keys,
// who may ask as a pool, and the log level. The log file is opened anew.
type reloader struct {
	d       *Daemon
	sources *sources
	inUse   config.Config // what is in force: the start's, with what was taken over since
}

func newReloader(d *Daemon, s *sources) *reloader {
	r := &reloader{d: d, sources: s, inUse: *d.cfg}
	r.inUse.Servers = slices.Clone(r.inUse.Servers)
	return r
}

// run owns the reloader and the set of sources. It stops when ctx ends.
func (r *reloader) run(ctx context.Context, hup <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			r.d.notify.reloading()
			r.reload(ctx)
			r.d.notify.ready()
		}
	}
}

func (r *reloader) reload(ctx context.Context) {
	d := r.d
	log := logging.Target(d.log, logtarget.Config)
	// First and whatever becomes of the rest: whoever renamed the log wants it under its name again.
	if d.logPart == nil || d.logPart.Down() == nil { // else it is tried again below
		program.Reopen(d.logFile, log)
	}
	next, warnings, err := config.Load(d.cfg.Path)
	for _, w := range warnings {
		if w.Check == config.CheckPoolCertificate && err == nil { // a pool that is known stays known
			err = errors.New(w.String())
		}
	}
	var swaps []func()
	var changed []string
	if err == nil {
		swaps, changed, err = r.prepare(next)
	}
	if err != nil {
		log.Error().Err(err).Msg("reload refused, everything stays as it was")
		return
	}
	program.Greet(log, false, warnings)
	if d.observeOnly {
		next.Synchronization.ClockControl = false
	}
	restart := needRestart(&r.inUse, next)
	for _, swap := range swaps {
		swap()
	}
	if !d.levelFixed && next.Observability.LogLevel != zerolog.GlobalLevel() {
		zerolog.SetGlobalLevel(next.Observability.LogLevel)
		changed = append(changed, "log level "+next.Observability.LogLevel.String())
	}
	r.inUse.Observability.LogLevel, r.inUse.Observability.LogLevelSet = next.Observability.LogLevel, next.Observability.LogLevelSet
	changed = append(changed, r.takeSources(ctx, next.Sources)...)
	if len(next.Sources) > 0 && !d.steers && d.cfg.Synchronization.ClockControl {
		restart = append(restart, "the clock, which is not steered, because there were no sources at the start")
	}
	for _, p := range d.parts() {
		p.Again()
	}
	if len(changed) == 0 {
		changed = []string{"nothing has changed"}
	}
	log.Info().Msg("reloaded: " + strings.Join(changed, "; "))
	if len(restart) > 0 {
		log.Warn().Msg("changed, but not in use before a restart: " + strings.Join(restart, "; "))
	}
}

// takeSources starts what is new and ends what is gone, and says so.
func (r *reloader) takeSources(ctx context.Context, list []config.Source) (changed []string) {
	added, removed := r.sources.set(list)
	r.inUse.Sources = list
	if len(added) > 0 {
		changed = append(changed, "sources added: "+strings.Join(added, ", "))
	}
	if len(removed) > 0 {
		changed = append(changed, "sources removed: "+strings.Join(removed, ", "))
	}
	if len(changed) > 0 {
		r.sources.expect(ctx, expected(list))
	}
	return changed
}

// prepare reads and checks all that a reload puts into use for the listeners that are in both configurations, says what
// of it differs, and changes nothing.
func (r *reloader) prepare(next *config.Config) (swaps []func(), changed []string, err error) {
	for _, k := range r.d.ke {
		for _, c := range next.KEServers {
			if c.Listen != k.address {
				continue
			}
			swap, news, err := k.renew(c, r.d.believed())
			if err != nil {
				return nil, nil, err
			}
			swaps, changed = append(swaps, swap), append(changed, news...)
		}
	}
	for i, l := range r.d.servers {
		for _, s := range next.Servers {
			if s.Listen != l.address {
				continue
			}
			lists, err := server.NewAccess(s.Deny, &s.Allow)
			if err != nil {
				return nil, nil, fmt.Errorf("server %s: %w", s.Listen, err)
			}
			was := &r.inUse.Servers[i]
			swaps = append(swaps, func() {
				l.access.Store(lists)
				was.Allow, was.Deny = s.Allow, s.Deny
				r.d.followLists(l, *was)
			})
			if !reflect.DeepEqual(was.Allow, s.Allow) || !reflect.DeepEqual(was.Deny, s.Deny) {
				changed = append(changed, "access lists of server "+s.Listen.String())
			}
		}
	}
	return swaps, changed, nil
}

// needRestart names the tables that differ in what a reload does not take over.
func needRestart(was, next *config.Config) (list []string) {
	note := func(table string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			list = append(list, table)
		}
	}
	quiet := func(o config.Observability) config.Observability {
		o.LogLevel, o.LogLevelSet = 0, false
		return o
	}
	note("[observability]", quiet(was.Observability), quiet(next.Observability))
	note("[[server]]", fixedServers(was.Servers), fixedServers(next.Servers))
	note("[[nts-ke-server]]", fixedKE(was.KEServers), fixedKE(next.KEServers))
	note("[keyset]", was.Keyset, next.Keyset)
	note("[synchronization]", was.Synchronization, next.Synchronization)
	note("[state]", was.State, next.State)
	note("[process]", was.Process, next.Process)
	return list
}

// fixedServers leaves of each table what is settled at the start.
func fixedServers(list []config.Server) (fixed []config.Server) {
	for _, s := range list {
		s.Allow, s.Deny = server.Rule{}, server.Rule{}
		fixed = append(fixed, s)
	}
	return fixed
}

func fixedKE(list []config.KEServer) (fixed []config.KEServer) {
	for _, c := range list {
		c.CertificateChainPath, c.PrivateKeyPath = "", ""
		c.PoolTokens, c.PoolCertificatePaths, c.PoolCertificates = nil, nil, nil
		fixed = append(fixed, c)
	}
	return fixed
}
