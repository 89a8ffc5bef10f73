package exporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/observe"
)

// Exit codes (sysexits, as those of the daemons).
const (
	ExitUsage       = 64
	ExitUnavailable = 69 // the listen address is taken
	ExitSoftware    = 70
	ExitPermission  = 77
	ExitConfig      = 78
)

// Limits of the HTTP server (ntpd-rs.md 3.4).
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

const target = "ntp_metrics_exporter"

// Main loads the configuration and serves until ctx ends. See ExitCode for its error.
func Main(ctx context.Context, configPath string) error {
	cfg, _, err := config.Load(configPath)
	var notBuilt *config.NotBuilt
	if err != nil && !errors.As(err, &notBuilt) { // what the daemon lacks does not hurt its exporter
		return &configError{err}
	}
	o := cfg.Observability
	if o.ObservationPath == "" {
		return &configError{fmt.Errorf("%s: observability.observation-path: is not set; add it here and restart the daemon", cfg.Path)}
	}
	log, done, err := openLog(o)
	if err != nil {
		return err
	}
	defer done()
	log = logging.Target(log, target)
	ln, err := listen(ctx, o.MetricsExporterListen, log)
	if err != nil || ln == nil {
		return err
	}
	log.Info().Msgf("starting ntp-metrics-exporter on %v", ln.Addr())
	_, _ = sd.SdNotify(false, sd.SdNotifyReady)
	return serve(ctx, ln, o.ObservationPath, log)
}

// configError is a configuration that the exporter cannot use.
type configError struct{ error }

func (e *configError) Unwrap() error { return e.error }

// ExitCode maps the error of Main to the code that a service manager understands.
func ExitCode(err error) int {
	var bad *configError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &bad):
		return ExitConfig
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return ExitPermission
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, syscall.EADDRNOTAVAIL):
		return ExitUnavailable
	}
	return ExitSoftware
}

var levels = map[config.LogLevel]zerolog.Level{
	config.LevelTrace: zerolog.TraceLevel, config.LevelDebug: zerolog.DebugLevel, config.LevelInfo: zerolog.InfoLevel,
	config.LevelWarn: zerolog.WarnLevel, config.LevelError: zerolog.ErrorLevel,
}

var formats = map[config.LogFormat]logging.Format{
	config.FormatAuto: logging.Auto, config.FormatConsole: logging.Console,
	config.FormatJSON: logging.JSON, config.FormatJournal: logging.Journal,
}

// openLog opens the exporter's own log; a file is appended to.
func openLog(o config.Observability) (zerolog.Logger, func(), error) {
	var out io.Writer
	done := func() {}
	if o.ExporterLogPath != "" {
		f, err := os.OpenFile(o.ExporterLogPath, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
		if err != nil {
			return zerolog.Logger{}, nil, fmt.Errorf("open log-path-metrics-exporter: %w", err)
		}
		out, done = f, func() { _ = f.Close() }
	}
	opts := logging.Options{Level: levels[o.LogLevel], Format: formats[o.LogFormat], Out: out}
	if o.ANSIColors != nil {
		opts.Color = *o.ANSIColors
	}
	return logging.New(opts), done, nil
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
