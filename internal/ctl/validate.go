package ctl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v3"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/program"
)

func validateCommand(e *Env) *cli.Command {
	return &cli.Command{
		Name: "validate", Usage: "check a configuration of ntp-daemon or nts-pool-ke, certificates included",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "offline", Usage: "check the text alone: not the files that it names, nor anything else of this machine"}},
		Action: func(_ context.Context, c *cli.Command) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return validate(e, c.String("config"), c.Bool("offline"))
		},
	}
}

// check loads a configuration as the daemon would, and looks at this machine unless only the text counts.
func check(path string, offline bool, m config.Machine) (warnings []config.Warning, isPool bool, err error) {
	load, loadPool := config.Load, config.LoadPool
	if offline {
		load, loadPool = config.LoadText, config.LoadPoolText
	}
	var cfg *config.Config
	cfg, warnings, err = load(path)
	examine := (&config.Pool{}).Examine
	if cfg != nil {
		examine = cfg.Examine
	}
	if path != "" && config.IsPool(err) {
		isPool = true
		var pool *config.Pool
		if pool, warnings, err = loadPool(path); pool != nil {
			examine = pool.Examine
		}
	}
	if offline {
		return warnings, isPool, err
	}
	return append(warnings, examine(m)...), isPool, err
}

// validate prints everything that is to be said about a configuration: one line each on standard error. The error
// carries the exit code of the gravest check that failed (config.Checks).
func validate(e *Env, path string, offline bool) error {
	verdict := "Config looks good"
	if offline {
		verdict = "Config looks good, as far as its text goes: files that it names, and this machine, were not looked at"
	}
	warnings, isPool, err := check(path, offline, program.Machine(time.Now()))
	code := 0
	for _, w := range warnings {
		row := w.Check.Check()
		effect := row.Daemon
		if isPool {
			effect = row.Pool
		}
		switch {
		case w.Info:
			fmt.Fprintf(e.Err, "note: %v\n", w)
			continue
		case effect == config.Down:
			fmt.Fprintf(e.Err, "%s: %v (runs: %s)\n", row.Name, w, row.Then)
		case effect == config.Ends:
			fmt.Fprintf(e.Err, "%s: %v (the program ends with %d)\n", row.Name, w, row.Exit)
		default:
			fmt.Fprintf(e.Err, "warning: %v\n", w)
		}
		code = max(code, row.Validate)
	}
	var notBuilt *config.NotBuilt
	switch {
	case errors.As(err, &notBuilt):
		fmt.Fprintf(e.Err, "%v\n", err)
		fmt.Fprintln(e.Err, "The configuration is valid, but the daemon stops with it: it asks for what is not built yet.")
		return done(program.ExitConfig)
	case err != nil:
		fmt.Fprintf(e.Err, "%v\n", err)
		return done(program.ExitConfig)
	case code != 0:
		return done(code)
	}
	fmt.Fprintln(e.Err, verdict)
	return nil
}
