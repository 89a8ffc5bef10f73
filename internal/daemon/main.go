package daemon

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/assoc"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/privdrop"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/system"
)

// Options are the command line.
type Options struct {
	ConfigPath     string // empty: the default path
	LogLevel       string // empty: the configuration's
	NoClockControl bool
}

// Main loads the configuration, sets up the log and runs the daemon until ctx ends. For its error see
// program.ExitCode.
func Main(ctx context.Context, o Options, hup <-chan os.Signal) error {
	level, haveLevel, err := program.ParseLevel(o.LogLevel)
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
		level = cfg.Observability.LogLevel
	}
	log, file, err := openLog(cfg.Observability, level)
	if err != nil {
		return err
	}
	if file != nil {
		defer file.Close()
	}
	warnings = append(warnings, program.AtStart(cfg.Examine(program.Machine(time.Now())))...)
	program.Greet(logging.Target(log, logtarget.Config), haveLevel && cfg.Observability.LogLevelSet, warnings)
	d, err := New(cfg, RealDeps(log))
	if err != nil {
		return err
	}
	d.levelFixed, d.observeOnly, d.logFile = haveLevel, o.NoClockControl, file
	dropPrivileges(log, d.steers && cfg.Synchronization.Clock == config.ClockSystem)
	return d.Run(ctx, hup)
}

// openLog opens the log. The level is zerolog's global one, so that a reload can change it both ways.
func openLog(o config.Observability, level zerolog.Level) (zerolog.Logger, *logging.File, error) {
	log, file, err := program.OpenLog(o, zerolog.TraceLevel, nil)
	if err != nil {
		return log, nil, fmt.Errorf("open log-path: %w", err)
	}
	zerolog.SetGlobalLevel(level)
	return log, file, nil
}

// message wraps an event of our own for the inbox.
func message(ev system.Event) assoc.Message { return assoc.Message{Event: ev} }

// target returns a logger whose lines name the part of the program that speaks.
func target(log zerolog.Logger, name string) *zerolog.Logger {
	l := logging.Target(log, name)
	return &l
}

// dropPrivileges gives up what is not needed once sockets, files and clock are open; setsClock: the host's clock is steered.
func dropPrivileges(log zerolog.Logger, setsClock bool) {
	keep := []privdrop.Capability{privdrop.NetBindService}
	if setsClock {
		keep = append(keep, privdrop.SysTime)
	}
	if err := privdrop.Keep(keep...); err != nil {
		target(log, logtarget.System).Debug().Err(err).Msg("privileges kept")
	}
}
