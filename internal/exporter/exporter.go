package exporter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/handover"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/web"
)

const (
	daemonTimeout = time.Second // for the snapshot
	bindRetry     = 10 * time.Second
)

// Main loads the configuration and serves until ctx ends; hup asks for the log file to be opened anew. For its error
// see program.ExitCode.
func Main(ctx context.Context, configPath string, hup <-chan os.Signal) error {
	o, err := config.LoadObservability(configPath)
	if err != nil {
		return &program.ConfigError{Err: err}
	}
	if o.ObservationPath == "" {
		return &program.ConfigError{Err: fmt.Errorf("%s: observability.observation-path: is not set; add it here and restart the daemon",
			cmp.Or(configPath, config.DefaultPath))}
	}
	o.LogPath = o.ExporterLogPath
	log, file, err := program.OpenLog(o, o.LogLevel, nil)
	if err != nil {
		return &program.ConfigError{Err: fmt.Errorf("log-path-metrics-exporter: %w; make the folder, or let this user write the file", err)}
	}
	if file != nil {
		defer file.Close()
	}
	log = logging.Target(log, logtarget.Exporter)
	rotation, stop := context.WithCancel(ctx)
	var rotating sync.WaitGroup
	rotating.Go(func() { rotate(rotation, hup, file, log) })
	defer rotating.Wait()
	defer stop()
	ln, err := listen(ctx, o.MetricsExporterListen, log)
	if err != nil || ln == nil {
		return err
	}
	log.Info().Msgf("starting ntp-metrics-exporter on %v", ln.Addr())
	handover.TheManager().Ready()
	return serve(ctx, ln, o.ObservationPath, log)
}

// rotate owns nothing: each hup opens the log file anew, if there is one. It stops when ctx ends.
func rotate(ctx context.Context, hup <-chan os.Signal, file *logging.File, log zerolog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			if file == nil {
				log.Info().Msg("SIGHUP has nothing to do: there is no log file, and the configuration needs a restart")
				continue
			}
			program.Reopen(file, log)
			log.Info().Msg("SIGHUP opens the log file anew; the configuration needs a restart")
		}
	}
}

// listen binds the address. One that this host does not have yet, as early in a boot, is waited for; the result
// is nil if ctx ended meanwhile.
func listen(ctx context.Context, at netip.AddrPort, log zerolog.Logger) (net.Listener, error) {
	for {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at.String())
		switch {
		case err == nil:
			return ln, nil
		case ctx.Err() != nil:
			return nil, nil
		case !errors.Is(err, syscall.EADDRNOTAVAIL):
			return nil, program.Bound(fmt.Errorf("observability.metrics-exporter-listen: %w", err), "it")
		}
		log.Warn().Err(err).Msgf("waiting for the address, next try in %v", bindRetry)
		select {
		case <-time.After(bindRetry):
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// serve owns the listener. It stops when ctx ends and then lets answers under way finish.
func serve(ctx context.Context, ln net.Listener, path string, log zerolog.Logger) error {
	read := func(ctx context.Context) (*observe.Snapshot, error) {
		ctx, cancel := context.WithTimeout(ctx, daemonTimeout)
		defer cancel()
		return observe.Read(ctx, path)
	}
	return web.Serve(ctx, ln, handler(read, log), log)
}
