package exporter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/program"
)

// Limits of the HTTP server (docs/rules/control.md#exporter).
const (
	maxConnections = 100
	headerTimeout  = time.Second     // from accept to the end of the header; also ends a slow loris
	requestTimeout = 2 * time.Second // for header and body, of which there should be none
	answerTimeout  = 5 * time.Second // from the header to the last byte, the daemon's part included
	daemonTimeout  = time.Second     // for the snapshot
	maxHeader      = 2048            // bytes; the library reads 4 KiB more before it refuses
	drainTimeout   = 2 * time.Second // for answers under way at the end
	bindRetry      = 10 * time.Second
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
		return fmt.Errorf("open log-path-metrics-exporter: %w", err)
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
	_, _ = sd.SdNotify(false, sd.SdNotifyReady)
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
			return nil, fmt.Errorf("observability.metrics-exporter-listen: %w", err)
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
	srv := &http.Server{
		Handler:           handler(read, log),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: answerTimeout,
		MaxHeaderBytes: maxHeader,
	}
	srv.SetKeepAlivesEnabled(false) // one request per connection, so that an idle one holds no permit
	srv.ErrorLog = quiet(log)
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		stopped <- errors.Join(srv.Shutdown(drain), srv.Close())
	})
	err := srv.Serve(netutil.LimitListener(ln, maxConnections))
	if errors.Is(err, http.ErrServerClosed) && !stop() {
		if err := <-stopped; err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("stop serving metrics: %w", err)
		}
		return nil
	}
	return fmt.Errorf("serve metrics: %w", err)
}
