package poolke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/rlimit"
)

// Exit codes of nts-pool-ke (nts-pool.md A1; usage is the suite's 64 where the seed had 1).
const (
	ExitUsage    = 64
	ExitSoftware = 70 // everything that ends a running pool
	ExitConfig   = 78
)

// Options are the command line.
type Options struct {
	ConfigPath string // required
	LogLevel   string // empty: the configuration's
}

// UsageError is a mistake on the command line.
type UsageError struct{ Text string }

// Error returns the text.
func (e *UsageError) Error() string { return e.Text }

// ConfigError wraps what is wrong with the configuration beyond its own text: a certificate, the list.
type ConfigError struct{ Err error }

// Error returns the text of the cause.
func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// ExitCode maps the error of Main to the code that a service manager understands.
func ExitCode(err error) int {
	var (
		usage    *UsageError
		problems config.Problems
		notBuilt *config.NotBuilt
		cfg      *ConfigError
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &problems), errors.As(err, &notBuilt), errors.As(err, &cfg):
		return ExitConfig
	}
	return ExitSoftware
}

// threads is what a pool has at its busiest in addition to one for each processor (9 measured on two).
const threads = 8

// Main loads the configuration, sets up the log and serves until ctx ends; hup asks for a reload. out
// is where the log goes unless the configuration names a file; nil is the standard output.
func Main(ctx context.Context, o Options, hup <-chan os.Signal, out io.Writer) error {
	level, err := logging.ParseLevel(o.LogLevel)
	if err != nil && o.LogLevel != "" {
		return &UsageError{err.Error()}
	}
	if err := rlimit.Check(runtime.NumCPU() + threads); err != nil {
		return err
	}
	if o.ConfigPath == "" {
		return &ConfigError{errors.New("no configuration path specified; name one with -c FILE")}
	}
	cfg, warnings, err := config.LoadPool(o.ConfigPath)
	if err != nil {
		return err
	}
	if o.LogLevel == "" {
		level = levels[cfg.Observability.LogLevel]
	}
	log, done, err := openLog(&cfg.Observability, level, out)
	if err != nil {
		return err
	}
	defer done()
	greet(logging.Target(log, logTarget), cfg, warnings, o)
	load := func() (Config, error) {
		again, _, err := config.LoadPool(o.ConfigPath)
		if err != nil {
			return Config{}, err
		}
		return FromConfig(again, time.Now())
	}
	conf, err := FromConfig(cfg, time.Now())
	if err != nil {
		return err
	}
	p, err := New(conf, Deps{Log: log, Reload: hup, Load: load})
	if err != nil {
		return &ConfigError{fmt.Errorf("%s: %w", o.ConfigPath, err)}
	}
	if err := p.Run(ctx); err != nil {
		return fmt.Errorf("Abnormal termination of NTS KE server: %w", err) //nolint:staticcheck // the seed's wording
	}
	return nil
}

// levels and formats translate the configuration's words.
var (
	levels = map[config.LogLevel]zerolog.Level{
		config.LevelTrace: zerolog.TraceLevel, config.LevelDebug: zerolog.DebugLevel, config.LevelInfo: zerolog.InfoLevel,
		config.LevelWarn: zerolog.WarnLevel, config.LevelError: zerolog.ErrorLevel,
	}
	formats = map[config.LogFormat]logging.Format{
		config.FormatAuto: logging.Auto, config.FormatConsole: logging.Console,
		config.FormatJSON: logging.JSON, config.FormatJournal: logging.Journal,
	}
)

// openLog opens the log's destination; a file is appended to, never truncated.
func openLog(o *config.Observability, level zerolog.Level, out io.Writer) (zerolog.Logger, func(), error) {
	done := func() {}
	if o.LogPath != "" {
		f, err := os.OpenFile(o.LogPath, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
		if err != nil {
			return zerolog.Logger{}, nil, &ConfigError{fmt.Errorf("open log-path: %w", err)}
		}
		out, done = f, func() { _ = f.Close() }
	}
	opts := logging.Options{Level: level, Format: formats[o.LogFormat], Out: out}
	if o.ANSIColors != nil {
		opts.Color = *o.ANSIColors
	}
	return logging.New(opts), done, nil
}

// greet writes what the author of the configuration should know.
func greet(log zerolog.Logger, cfg *config.Pool, warnings []config.Warning, o Options) {
	if o.LogLevel != "" && cfg.Observability.LogLevelSet {
		log.Info().Msg("Log level override from command line arguments is active")
	}
	for _, w := range warnings {
		if w.Info {
			log.Info().Msg(w.String())
		} else {
			log.Warn().Msg(w.String())
		}
	}
}
