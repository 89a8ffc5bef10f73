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
// swapped: the log level, certificates, keys and who may ask as a pool. It stops when ctx ends.
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
	zerolog.SetGlobalLevel(levels[next.Observability.LogLevel])
	log.Info().Msg("reloaded: log level, certificates, pool authorisations; everything else needs a restart")
}
