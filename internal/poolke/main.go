package poolke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/program"
)

// Options are the command line.
type Options struct {
	ConfigPath string // required
	LogLevel   string // empty: the configuration's
	Drop       bool   // give up all capabilities when the address is open; not in a test, whose own they are
}

// ExitCode is our part of program.ExitCode: whatever ends a pool that was told rightly what to do is 70, as with the first
// program of this name (docs/rules/compatibility.md).
func ExitCode(error) int { return program.ExitSoftware }

// needRestart names what differs from the start and is not taken over by a reload.
func needRestart(was, next *config.Pool) (list []string) {
	if was.Listen != next.Listen {
		list = append(list, "listen")
	}
	if was.PerClient != next.PerClient {
		list = append(list, "connections-per-client")
	}
	if was.Process != next.Process {
		list = append(list, "[process]")
	}
	if !reflect.DeepEqual(was.Observability, next.Observability) {
		list = append(list, "[observability]")
	}
	return list
}

// Main loads the configuration, sets up the log and serves until ctx ends; hup asks for a reload. out
// is where the log goes unless the configuration names a file; nil is the standard output.
func Main(ctx context.Context, o Options, hup <-chan os.Signal, out io.Writer) error {
	level, haveLevel, err := program.ParseLevel(o.LogLevel)
	if err != nil {
		return err
	}
	if o.ConfigPath == "" {
		return &program.ConfigError{Err: errors.New("no configuration path specified; name one with -c FILE")}
	}
	cfg, warnings, err := config.LoadPool(o.ConfigPath)
	if err != nil {
		return err
	}
	if !haveLevel {
		level = cfg.Observability.LogLevel
	}
	log, file, err := program.OpenLog(cfg.Observability, level, out)
	if err != nil {
		return &program.ConfigError{Err: fmt.Errorf("open log-path: %w", err)}
	}
	if file != nil {
		defer file.Close()
	}
	warnings = append(warnings, program.AtStart(cfg.Examine(program.Machine(time.Now())))...)
	to := logging.Target(log, logtarget.PoolKE)
	program.Greet(to, haveLevel && cfg.Observability.LogLevelSet, warnings)
	conf, err := FromConfig(cfg, time.Now())
	if err != nil {
		return err
	}
	deps := Deps{Log: log, Reload: hup, Load: loader(o.ConfigPath, cfg, file, to)}
	if o.Drop {
		deps.Listening = dropper(o.ConfigPath, cfg, to)
	}
	p, err := New(conf, deps)
	if err != nil {
		return &program.ConfigError{Err: fmt.Errorf("%s: %w", o.ConfigPath, err)}
	}
	if err := p.Run(ctx); err != nil {
		//lint:ignore ST1005 the wording of the reference pool, which its users' scripts know
		return fmt.Errorf("Abnormal termination of NTS KE server: %w", err)
	}
	return nil
}

// loader reads the configuration of a reload, says what of it is not in use before a restart, and opens the log file anew.
func loader(path string, was *config.Pool, file *logging.File, log zerolog.Logger) func() (Config, error) {
	return func() (Config, error) {
		program.Reopen(file, log) // whatever becomes of the rest
		next, warnings, err := config.LoadPool(path)
		if err != nil {
			return Config{}, err
		}
		conf, err := FromConfig(next, time.Now())
		if err != nil {
			return Config{}, err
		}
		program.Greet(log, false, warnings)
		if list := needRestart(was, next); len(list) > 0 {
			log.Warn().Msg("changed, but not in use before a restart: " + strings.Join(list, "; "))
		}
		return conf, nil
	}
}

// dropper gives up, once the pool listens, what root can do: nothing is opened later that needs a capability.
func dropper(path string, cfg *config.Pool, log zerolog.Logger) func(error) error {
	return func(missing error) error {
		drop := program.Privileges{
			Process: cfg.Process, LogPath: cfg.Observability.LogPath, Missing: missing,
			Reads: append([]string{path, cfg.CertificateChainPath, cfg.PrivateKeyPath, cfg.Roots.File()}, cfg.TokenFiles...),
		}
		_, err := drop.Drop(log)
		return err
	}
}
