package ctl

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v3"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/program"
)

// poolTable is the table that makes a file one of nts-pool-ke.
const poolTable = "nts-pool-ke-server"

func validateCommand(e *Env) *cli.Command {
	return &cli.Command{
		Name: "validate", Usage: "check a configuration of ntp-daemon or nts-pool-ke, certificates included",
		Action: func(_ context.Context, c *cli.Command) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return validate(e, c.String("config"))
		},
	}
}

// validate loads a configuration as the daemon would and prints everything that is to be said about it: one line
// each on standard error. The error carries 78 for a file that the daemon refuses and 1 for one with warnings.
func validate(e *Env, path string) error {
	_, warnings, err := config.Load(path)
	if path != "" && isPool(err) {
		_, warnings, err = config.LoadPool(path)
	}
	bad := false
	for _, w := range warnings {
		word := "warning"
		if w.Info {
			word = "note"
		}
		bad = bad || !w.Info
		fmt.Fprintf(e.Err, "%s: %v\n", word, w)
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
	case bad:
		return done(ExitFailed)
	}
	fmt.Fprintln(e.Err, "Config looks good")
	return nil
}

// isPool reports whether the loader of ntp-daemon found the table of nts-pool-ke.
func isPool(err error) bool {
	var ps config.Problems
	if !errors.As(err, &ps) {
		return false
	}
	for _, p := range ps {
		if p.Key == poolTable {
			return true
		}
	}
	return false
}
