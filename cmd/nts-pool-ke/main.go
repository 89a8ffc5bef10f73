// nts-pool-ke is the key exchange front end of an NTS pool: users get cookies of one of its time sources.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"ntp-daemon/internal/cliargs"
	"ntp-daemon/internal/poolke"
	"ntp-daemon/internal/version"
)

const usage = `Usage: nts-pool-ke -c FILE [-l LEVEL]

Distributes the users of an NTS pool over its time sources.

  -c, --config FILE        configuration, required
  -l, --log-level LEVEL    trace, debug, info, warn or error; overrides the configuration
  -h, --help               show this text
  -v, --version            show the version

Signals: HUP reloads the list of time sources and the certificate; TERM and INT stop in order.
Exit codes: 0 stopped in order, 64 usage, 70 the pool cannot run, 78 configuration.
`

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var o poolke.Options
	var help, ver bool
	err := cliargs.Parse(args, []cliargs.Option{
		{Short: 'c', Long: "config", Value: &o.ConfigPath},
		{Short: 'l', Long: "log-level", Value: &o.LogLevel},
		{Short: 'h', Long: "help", Set: &help},
		{Short: 'v', Long: "version", Set: &ver},
	})
	switch {
	case err != nil:
		fmt.Fprintf(os.Stderr, "nts-pool-ke: %v; see nts-pool-ke --help\n", err)
		return poolke.ExitUsage
	case help:
		fmt.Print(usage)
		return 0
	case ver:
		fmt.Fprintf(os.Stderr, "nts-pool-ke %s\n", version.Version)
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // a closed log pipe must not end the service
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	if err := poolke.Main(ctx, o, hup, nil); err != nil {
		fmt.Fprintf(os.Stderr, "nts-pool-ke: %v\n", err)
		return poolke.ExitCode(err)
	}
	return 0
}
