package ctl

import (
	"context"
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
	load := config.Load
	if offline {
		load = config.LoadText
	}
	cfg, warnings, err := load(path)
	switch {
	case path != "" && config.IsPool(err) && offline:
		_, warnings, err = config.LoadPoolText(path)
		return warnings, true, err
	case path != "" && config.IsPool(err):
		warnings, err = config.CheckPool(path, m)
		return warnings, true, err
	case cfg != nil && !offline:
		warnings = append(warnings, cfg.Examine(m)...)
	}
	return warnings, false, err
}

// validate prints everything that is to be said about a configuration: one line each on standard error. The error
// carries the exit code of the gravest check that failed (config.Checks).
func validate(e *Env, path string, offline bool) error {
	verdict := "Config looks good"
	if offline {
		verdict = "Config looks good, as far as its text goes: files that it names, and this machine, were not looked at"
	}
	warnings, isPool, err := check(path, offline, program.Machine(time.Now()))
	if v := program.Tell(e.Err, warnings, err, isPool); v.Code != 0 {
		return done(v.Code)
	}
	fmt.Fprintln(e.Err, verdict)
	return nil
}
