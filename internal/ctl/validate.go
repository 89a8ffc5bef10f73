package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v3"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/program"
)

// longestText is more than config reads of one file, in bytes; that there is more is then its problem to report.
const longestText = 8 << 20

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

// check loads a configuration as the daemon would.
func check(path string) ([]config.Warning, error) {
	_, warnings, err := config.Load(path)
	if path != "" && config.IsPool(err) {
		_, warnings, err = config.LoadPool(path)
	}
	return warnings, err
}

// checkText reads a configuration for another machine, on which the files that it names are.
func checkText(path string) ([]config.Warning, error) {
	if path == "" {
		path = config.DefaultPath
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, longestText))
	if err != nil {
		return nil, err
	}
	_, warnings, err := config.Parse(path, text)
	if config.IsPool(err) {
		_, warnings, err = config.ParsePool(path, text)
	}
	return warnings, err
}

// validate prints everything that is to be said about a configuration: one line each on standard error. The error
// carries 78 for a file that the daemon refuses and 1 for one with warnings.
func validate(e *Env, path string, offline bool) error {
	load, verdict := check, "Config looks good"
	if offline {
		load, verdict = checkText, "Config looks good, as far as its text goes: files that it names were not looked at"
	}
	warnings, err := load(path)
	code := 0
	for _, w := range warnings {
		row := w.Check.Check()
		switch {
		case w.Info:
			fmt.Fprintf(e.Err, "note: %v\n", w)
			continue
		case row.Daemon == config.Down:
			fmt.Fprintf(e.Err, "%s: %v (runs: %s)\n", row.Name, w, row.Then)
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
