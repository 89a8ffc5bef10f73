// ntp-daemon keeps the clock of this machine right and serves time to others, with and without NTS.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"ntp-daemon/internal/cliargs"
	"ntp-daemon/internal/daemon"
	"ntp-daemon/internal/version"
)

const usage = `Usage: ntp-daemon [-c FILE] [-l LEVEL] [--no-clock-control]

Keeps the system clock right and serves time to others.

  -c, --config FILE        configuration, default /etc/ntp-daemon/ntp.toml
  -l, --log-level LEVEL    trace, debug, info, warn or error; overrides the configuration
      --no-clock-control   measure, serve and report, but never touch the clock
  -h, --help               show this text
  -v, --version            show the version

Signals: HUP reloads certificates, access lists and the log level, and opens the log file anew;
TERM and INT stop in order.
Exit codes: 0 stopped in order, 64 usage, 69 a needed service is absent, 70 a step limit or
our own mistake, 71 operating system, 77 no permission, 78 configuration.
`

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var o daemon.Options
	var help, ver bool
	err := cliargs.Parse(args, []cliargs.Option{
		{Short: 'c', Long: "config", Value: &o.ConfigPath},
		{Short: 'l', Long: "log-level", Value: &o.LogLevel},
		{Long: "no-clock-control", Set: &o.NoClockControl},
		{Short: 'h', Long: "help", Set: &help},
		{Short: 'v', Long: "version", Set: &ver},
	})
	switch {
	case err != nil:
		fmt.Fprintf(os.Stderr, "ntp-daemon: %v; see ntp-daemon --help\n", err)
		return daemon.ExitUsage
	case help:
		fmt.Print(usage)
		return 0
	case ver:
		fmt.Fprintf(os.Stderr, "ntp-daemon %s\n", version.Version)
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // a closed log pipe must not end timekeeping (row L08)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	if err := daemon.Main(ctx, o, hup); err != nil {
		fmt.Fprintf(os.Stderr, "ntp-daemon: %v\n", err)
		return daemon.ExitCode(err)
	}
	return 0
}
