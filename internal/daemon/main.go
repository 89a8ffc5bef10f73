package daemon

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/rs/zerolog"
	"golang.org/x/term"

	"ntp-daemon/internal/assoc"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/privdrop"
	"ntp-daemon/internal/rlimit"
	"ntp-daemon/internal/system"
)

// Options are the command line.
type Options struct {
	ConfigPath     string // empty: the default path
	LogLevel       string // empty: the configuration's
	NoClockControl bool
}

// threads is what a daemon has at its busiest, in addition to two for each processor: the runtime's own, the step
// watcher, look-ups (12 measured on two processors).
const threads = 10

// Main loads the configuration, sets up the log and runs the daemon until ctx ends. See ExitCode for its error.
func Main(ctx context.Context, o Options, hup <-chan os.Signal) error {
	level, haveLevel, err := parseLevel(o.LogLevel)
	if err == nil {
		err = rlimit.Check(2*runtime.NumCPU() + threads)
	}
	if err != nil {
		return err
	}
	cfg, warnings, err := config.Load(o.ConfigPath)
	if err != nil {
		return err
	}
	if o.NoClockControl {
		cfg.Synchronization.ClockControl = false
	}
	if !haveLevel {
		level = levels[cfg.Observability.LogLevel]
	}
	log, file, err := openLog(cfg.Observability, level)
	if err != nil {
		return err
	}
	if file != nil {
		defer file.Close()
	}
	greet(log, cfg, warnings, haveLevel)
	d, err := New(cfg, RealDeps(log))
	if err != nil {
		return err
	}
	d.levelFixed, d.logFile = haveLevel, file
	dropPrivileges(log, d.steers)
	return d.Run(ctx, hup)
}

// levels translates the configuration's.
var levels = map[config.LogLevel]zerolog.Level{
	config.LevelTrace: zerolog.TraceLevel, config.LevelDebug: zerolog.DebugLevel, config.LevelInfo: zerolog.InfoLevel,
	config.LevelWarn: zerolog.WarnLevel, config.LevelError: zerolog.ErrorLevel,
}

var formats = map[config.LogFormat]logging.Format{
	config.FormatAuto: logging.Auto, config.FormatConsole: logging.Console,
	config.FormatJSON: logging.JSON, config.FormatJournal: logging.Journal,
}

func parseLevel(s string) (zerolog.Level, bool, error) {
	if s == "" {
		return zerolog.InfoLevel, false, nil
	}
	l, err := logging.ParseLevel(s)
	if err != nil {
		return l, false, &UsageError{err.Error()}
	}
	return l, true, nil
}

// openLog opens the log's destination; a file is appended to, never truncated. The level is zerolog's global one, so
// that a reload can change it both ways. The file is nil without log-path.
func openLog(o config.Observability, level zerolog.Level) (zerolog.Logger, *logging.File, error) {
	var out io.Writer
	var file *logging.File
	if o.LogPath != "" {
		f, err := logging.OpenFile(o.LogPath)
		if err != nil {
			return zerolog.Logger{}, nil, fmt.Errorf("open log-path: %w", err)
		}
		out, file = f, f
	}
	zerolog.SetGlobalLevel(level)
	opts := logging.Options{Level: zerolog.TraceLevel, Format: formats[o.LogFormat], Out: out}
	opts.Color = out == nil && term.IsTerminal(int(os.Stdout.Fd()))
	if o.ANSIColors != nil {
		opts.Color = *o.ANSIColors
	}
	return logging.New(opts), file, nil
}

// greet writes the first lines: the file in use, an override, and what the configuration's author should know.
func greet(log zerolog.Logger, cfg *config.Config, warnings []config.Warning, override bool) {
	l := logging.Target(log, "ntpd::daemon::config")
	if override && cfg.Observability.LogLevelSet {
		l.Info().Msg("Log level override from command line arguments is active")
	}
	for _, w := range warnings {
		if w.Info {
			l.Info().Msg(w.String())
		} else {
			l.Warn().Msg(w.String())
		}
	}
}

// message wraps an event of our own for the inbox.
func message(ev system.Event) assoc.Message { return assoc.Message{Event: ev} }

// target returns a logger whose lines name the part of the program that speaks.
func target(log zerolog.Logger, name string) *zerolog.Logger {
	l := logging.Target(log, name)
	return &l
}

// dropPrivileges gives up what is not needed once sockets, files and clock are open.
func dropPrivileges(log zerolog.Logger, steers bool) {
	keep := []privdrop.Capability{privdrop.NetBindService}
	if steers {
		keep = append(keep, privdrop.SysTime)
	}
	if err := privdrop.Keep(keep...); err != nil {
		target(log, "ntpd::daemon::system").Debug().Err(err).Msg("privileges kept")
	}
}
