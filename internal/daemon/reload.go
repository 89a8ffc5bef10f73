package daemon

import (
	"context"
	"fmt"
	"os"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/server"
)

// reloadLoop owns nothing: on SIGHUP it loads the configuration again and swaps, as a validated whole, what can be
// swapped: the log level, access lists, certificates, keys and who may ask as a pool. The log file is opened anew. It stops when ctx ends.
func (d *Daemon) reloadLoop(ctx context.Context, hup <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			d.notify.reloading()
			d.reload()
			d.notify.ready()
		}
	}
}

func (d *Daemon) reload() {
	log := logging.Target(d.log, logtarget.Config)
	// First and whatever becomes of the rest: whoever renamed the log wants it under its name again.
	program.Reopen(d.logFile, log)
	next, _, err := config.Load(d.cfg.Path)
	var swaps []func()
	if err == nil {
		swaps, err = d.prepareSwaps(next)
	}
	if err != nil {
		log.Error().Err(err).Msg("reload refused, everything stays as it was")
		return
	}
	if len(next.KEServers) != len(d.ke) {
		log.Warn().Msg("the list of nts-ke-server tables changed; that needs a restart")
	}
	if len(next.Servers) != len(d.servers) {
		log.Warn().Msg("the list of server tables changed; that needs a restart")
	}
	for _, swap := range swaps {
		swap()
	}
	for _, p := range d.parts() {
		p.Again()
	}
	for _, s := range d.cfg.Sources {
		s.Roots.Forget() // trusted roots are read anew at the next key exchange
	}
	if !d.levelFixed {
		zerolog.SetGlobalLevel(next.Observability.LogLevel)
	}
	log.Info().Msg("reloaded: log level, access lists, certificates, pool authorisations; everything else needs a restart")
}

// prepareSwaps reads and checks all that a reload would put into use, for the listeners that are in both
// configurations, and changes nothing.
func (d *Daemon) prepareSwaps(next *config.Config) (swaps []func(), err error) {
	for _, k := range d.ke {
		for _, c := range next.KEServers {
			if c.Listen != k.address {
				continue
			}
			swap, err := k.prepare(c, d.believed())
			switch {
			case err == nil:
			case k.cert.Load() == nil: // it is down: there is nothing that could stay as it is
				swap = func() { k.cfg.Store(&c) }
			default:
				return nil, err
			}
			swaps = append(swaps, swap)
		}
	}
	for _, l := range d.servers {
		for _, s := range next.Servers {
			if s.Listen != l.address {
				continue
			}
			lists, err := server.NewAccess(s.Deny, &s.Allow)
			if err != nil {
				return nil, fmt.Errorf("server %s: %w", s.Listen, err)
			}
			swaps = append(swaps, func() { l.access.Store(lists) })
		}
	}
	return swaps, nil
}
