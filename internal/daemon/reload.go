package daemon

import (
	"context"
	"os"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
)

// reloadLoop owns nothing: on SIGHUP it loads the configuration again and swaps, as a validated whole, what can be
// swapped: the log level, access lists, certificates, keys and who may ask as a pool. It stops when ctx ends.
func (d *Daemon) reloadLoop(ctx context.Context, hup <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			d.reload()
		}
	}
}

func (d *Daemon) reload() {
	log := logging.Target(d.log, "ntpd::daemon::config")
	next, _, err := config.Load(d.cfg.Path)
	if err != nil {
		log.Error().Err(err).Msg("reload refused, everything stays as it was")
		return
	}
	if len(next.KEServers) != len(d.ke) {
		log.Warn().Msg("the list of nts-ke-server tables changed; that needs a restart")
	}
	for _, k := range d.ke {
		for _, c := range next.KEServers {
			if c.Listen != k.cfg.Listen {
				continue
			}
			if err := k.load(c, time.Now()); err != nil {
				log.Error().Err(err).Msg("reload refused for this listener, it keeps its certificate")
			}
		}
	}
	d.reloadAccess(next)
	zerolog.SetGlobalLevel(levels[next.Observability.LogLevel])
	log.Info().Msg("reloaded: log level, access lists, certificates, pool authorisations; everything else needs a restart")
}

// reloadAccess swaps the access lists of every listen address that is in both configurations.
func (d *Daemon) reloadAccess(next *config.Config) {
	if len(next.Servers) != len(d.servers) {
		target(d.log, "ntpd::daemon::config").Warn().Msg("the list of server tables changed; that needs a restart")
	}
	for _, l := range d.servers {
		for _, s := range next.Servers {
			if s.Listen != l.address {
				continue
			}
			lists, err := access(s)
			if err != nil {
				target(d.log, "ntpd::daemon::config").Error().Err(err).Msg("access lists stay as they were")
				continue
			}
			l.access.Store(lists)
		}
	}
}
