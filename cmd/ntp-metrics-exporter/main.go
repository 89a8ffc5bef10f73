// ntp-metrics-exporter serves the metrics of ntp-daemon to Prometheus.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"ntp-daemon/internal/cliargs"
	"ntp-daemon/internal/exporter"
	_ "ntp-daemon/internal/rlimit" // the early look at the limits
	"ntp-daemon/internal/version"
)

const usage = `Usage: ntp-metrics-exporter [-c FILE]

Serves the metrics of a running ntp-daemon over HTTP, by default on 127.0.0.1:9975.

  -c, --config FILE    the daemon's configuration, default /etc/ntp-daemon/ntp.toml
  -h, --help           show this text
  -v, --version        show the version

Paths: /metrics (and /), /livez, /readyz.
Keys: [observability] observation-path, metrics-exporter-listen, log-path-metrics-exporter.
Exit codes: 0 stopped in order, 64 usage, 69 the address is in use, 70 our own mistake,
77 no permission, 78 configuration.
`

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var path string
	var help, ver bool
	err := cliargs.Parse(args, []cliargs.Option{
		{Short: 'c', Long: "config", Value: &path},
		{Short: 'h', Long: "help", Set: &help},
		{Short: 'v', Long: "version", Set: &ver},
	})
	switch {
	case err != nil:
		fmt.Fprintf(os.Stderr, "ntp-metrics-exporter: %v; see ntp-metrics-exporter --help\n", err)
		return exporter.ExitUsage
	case help:
		fmt.Print(usage)
		return 0
	case ver:
		fmt.Fprintf(os.Stderr, "ntp-metrics-exporter %s\n", version.Version)
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // a closed log pipe must not end the service
	if err := exporter.Main(ctx, path); err != nil {
		fmt.Fprintf(os.Stderr, "ntp-metrics-exporter: %v\n", err)
		return exporter.ExitCode(err)
	}
	return 0
}
