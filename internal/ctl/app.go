package ctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"ntp-daemon/internal/program"
	"ntp-daemon/internal/version"
)

const description = `Exit codes: 0 yes or done, 1 no (not synchronised in time, no majority, warnings found),
64 usage, 69 no daemon or server answers, 70 the clock refused,
71 a resource limit is too low, 77 no permission, 78 configuration.`

// Main runs one command line, args[0] being the program's name, and returns the exit code.
func Main(ctx context.Context, args []string, e Env) int {
	root := app(&e)
	err := root.Run(ctx, commandFirst(splitShortOptions(args), root))
	if err != nil && err.Error() != "" {
		fmt.Fprintf(e.Err, "ntp-ctl: %v\n", err)
	}
	return codeOf(err)
}

// app is the tree of commands.
func app(e *Env) *cli.Command {
	root := &cli.Command{
		Name:        "ntp-ctl",
		Usage:       "look at and look after ntp-daemon and nts-pool-ke",
		Description: description,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "the daemon's configuration `FILE` (default /etc/ntp-daemon/ntp.toml)"},
			&cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "show the version", Local: true},
		},
		Commands: []*cli.Command{statusCommand(e), waitSyncCommand(e), validateCommand(e), queryCommand(e), forceSyncCommand(e), poolCommand(e)},
		Before: func(ctx context.Context, c *cli.Command) (context.Context, error) {
			if c.Bool("version") { // wins over every command
				fmt.Fprintf(e.Err, "ntp-ctl %s\n", version.Version)
				return ctx, done(0)
			}
			return ctx, nil
		},
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return unknownCommand(c)
			}
			return cli.ShowRootCommandHelp(c)
		},
		HideVersion: true, HideHelpCommand: true, UseShortOptionHandling: true,
		EnableShellCompletion: true,
		Reader:                e.In, Writer: e.Out, ErrWriter: e.Err,
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
	}
	house(root)
	return root
}

// house gives a command and those below it what the library would do its own way.
func house(c *cli.Command) {
	c.OnUsageError = usageError
	c.UseShortOptionHandling = true
	c.HideHelpCommand = true
	for _, sub := range c.Commands {
		house(sub)
	}
}

// usageError makes one line of what the library says about the command line.
func usageError(_ context.Context, c *cli.Command, err error, _ bool) error {
	var e *exitError
	if errors.As(err, &e) {
		return err
	}
	return fail(program.ExitUsage, "%s; see %s --help", clean(err.Error()), c.FullName())
}

func unknownCommand(c *cli.Command) error {
	name := c.Args().First()
	var names []string
	for _, sub := range c.VisibleCommands() {
		names = append(names, sub.Name)
	}
	hint := "use " + strings.Join(names, ", ")
	if s := cli.SuggestCommand(c.VisibleCommands(), name); s != "" && s != "help" {
		hint = "did you mean " + s + "?"
	}
	return fail(program.ExitUsage, "unknown command %q; %s", clean(name), hint)
}

// noArguments refuses words that a command does not take.
func noArguments(c *cli.Command) error {
	if c.Args().Present() {
		return fail(program.ExitUsage, "%s takes no argument %q; see %s --help", c.Name, clean(c.Args().First()), c.FullName())
	}
	return nil
}

// socketFlag names the observation socket without a configuration.
func socketFlag() cli.Flag {
	return &cli.StringFlag{Name: "socket", Aliases: []string{"s"}, Usage: "read the observation socket at `PATH` instead of the one in the configuration"}
}

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON"} }

func statusCommand(e *Env) *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show the daemon's state, its sources and its servers",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Aliases: []string{"f"}, Value: formatPlain, Usage: "plain, prometheus or json"},
			jsonFlag(), socketFlag(),
		},
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := noArguments(c); err != nil {
				return err
			}
			format := c.String("format")
			if c.Bool("json") {
				format = formatJSON
			}
			if !slices.Contains([]string{formatPlain, formatPrometheus, formatJSON}, format) {
				return fail(program.ExitUsage, "format %q is not known; use plain, prometheus or json", format)
			}
			path, err := socketPath(c.String("socket"), c.String("config"))
			if err != nil {
				return err
			}
			return status(ctx, e, path, format)
		},
	}
}

func waitSyncCommand(e *Env) *cli.Command {
	return &cli.Command{
		Name: "wait-sync", Usage: "wait until the daemon is synchronised and, if asked, within limits",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "timeout", Aliases: []string{"t"}, Value: time.Minute, Usage: "give up after `TIME`, 0 never"},
			&cli.DurationFlag{Name: "max-offset", Value: -1, HideDefault: true, Usage: "wait for an offset below `TIME`, for example 1ms, in three readings in a row"},
			&cli.StringFlag{Name: "max-frequency", Usage: "wait for a frequency error below `RATE`, for example 1ppm, in three readings in a row"},
			socketFlag(),
		},
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := noArguments(c); err != nil {
				return err
			}
			l := syncLimits{offset: -1, frequency: -1}
			if d := c.Duration("max-offset"); c.IsSet("max-offset") {
				if d < 0 {
					return fail(program.ExitUsage, "--max-offset is negative")
				}
				l.offset = d.Seconds()
			}
			if c.IsSet("max-frequency") {
				f, err := parseFrequency(c.String("max-frequency"))
				if err != nil {
					return fail(program.ExitUsage, "--max-frequency: %w", err)
				}
				l.frequency = f
			}
			path, err := socketPath(c.String("socket"), c.String("config"))
			if err != nil {
				return err
			}
			if d := c.Duration("timeout"); d > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, d)
				defer cancel()
			}
			s, err := waitSync(ctx, e, path, l)
			if err != nil {
				return err
			}
			return write(e.Out, []byte(summary(s)+"\n"))
		},
	}
}
