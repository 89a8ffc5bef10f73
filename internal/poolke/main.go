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
	program.Greet(logging.Target(log, logtarget.PoolKE), haveLevel && cfg.Observability.LogLevelSet, warnings)
	load := func() (Config, error) {
		program.Reopen(file, logging.Target(log, logtarget.PoolKE)) // whatever becomes of the rest
		again, warnings, err := config.LoadPool(o.ConfigPath)
		if err != nil {
			return Config{}, err
		}
		next, err := FromConfig(again, time.Now())
		if err == nil {
			program.Greet(logging.Target(log, logtarget.PoolKE), false, warnings)
			if list := needRestart(cfg, again); len(list) > 0 {
				logTo := logging.Target(log, logtarget.PoolKE)
				logTo.Warn().Msg("changed, but not in use before a restart: " + strings.Join(list, "; "))
			}
		}
		return next, err
	}
	conf, err := FromConfig(cfg, time.Now())
	if err != nil {
		return err
	}
	listening := func(missing error) error {
		if !o.Drop {
			return nil
		}
		drop := program.Privileges{ // nothing is opened later that needs a capability
			Process: cfg.Process, LogPath: cfg.Observability.LogPath, Missing: missing,
			Reads: append([]string{o.ConfigPath, cfg.CertificateChainPath, cfg.PrivateKeyPath, cfg.Roots.File()}, cfg.TokenFiles...),
		}
		_, err := drop.Drop(logging.Target(log, logtarget.PoolKE))
		return err
	}
	p, err := New(conf, Deps{Log: log, Reload: hup, Load: load, Listening: listening})
	if err != nil {
		return &program.ConfigError{Err: fmt.Errorf("%s: %w", o.ConfigPath, err)}
	}
	if err := p.Run(ctx); err != nil {
		//lint:ignore ST1005 the wording of the reference pool, which its users' scripts know
		return fmt.Errorf("Abnormal termination of NTS KE server: %w", err)
	}
	return nil
}
