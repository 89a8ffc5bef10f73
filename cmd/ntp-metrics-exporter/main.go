// SPDX-License-Identifier: Apache-2.0 OR MIT

// ntp-metrics-exporter serves the metrics of ntp-daemon to Prometheus.
package main

import (
	"context"
	"os"

	"ntp-daemon/internal/exporter"
	"ntp-daemon/internal/program"
)

const usage = `Usage: ntp-metrics-exporter [-c FILE]

Serves the metrics of a running ntp-daemon or nts-pool-ke over HTTP, by default on 127.0.0.1:9975.

  -c, --config FILE    the daemon's configuration, default /etc/ntp-daemon/ntp.toml
  -h, --help           show this text
  -v, --version        show the version

Signals: HUP opens the log file anew; TERM and INT stop in order.
Paths: /metrics (and /), /livez, /readyz.
Keys: [observability] observation-path, metrics-exporter-listen, log-path-metrics-exporter.
Exit codes: 0 stopped in order, 64 usage, 69 the address is in use, 70 our own mistake,
71 a resource limit is too low, 77 no permission, 78 configuration.
`

func main() {
	var path string
	p := program.Program{
		Name: "ntp-metrics-exporter", Usage: usage,
		Options: []program.Option{{Short: 'c', Long: "config", Value: &path}},
		Work:    func(ctx context.Context, hup <-chan os.Signal) error { return exporter.Main(ctx, path, hup) },
	}
	os.Exit(p.Run(os.Args[1:]))
}
