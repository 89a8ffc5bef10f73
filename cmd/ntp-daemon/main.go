// SPDX-License-Identifier: Apache-2.0 OR MIT

// ntp-daemon keeps the clock of this machine right and serves time to others, with and without NTS.
package main

import (
	"context"
	"os"
	"runtime"

	"ntp-daemon/internal/daemon"
	"ntp-daemon/internal/program"
)

const usage = `Usage: ntp-daemon [-c FILE] [-l LEVEL] [--no-clock-control]

Keeps the system clock right and serves time to others.

  -c, --config FILE        configuration, default /etc/ntp-daemon/ntp.toml
  -l, --log-level LEVEL    trace, debug, info, warn or error; overrides the configuration
      --no-clock-control   measure, serve and report, but never touch the clock
  -h, --help               show this text
  -v, --version            show the version

Signals: HUP reloads sources, certificates, access lists, the log level; opens the log file anew;
TERM and INT stop in order.
Exit codes: 0 stopped in order, 64 usage, 69 an address is taken, 70 a step limit or
our own mistake, 71 operating system, 77 no permission, 78 configuration.
`

// threads is what a daemon has at its busiest, in addition to two for each processor: the runtime's own, the step
// watcher, look-ups (12 measured on two processors).
const threads = 10

func main() {
	var o daemon.Options
	p := program.Program{
		Name: "ntp-daemon", Usage: usage,
		Options: []program.Option{
			{Short: 'c', Long: "config", Value: &o.ConfigPath},
			{Short: 'l', Long: "log-level", Value: &o.LogLevel},
			{Long: "no-clock-control", Set: &o.NoClockControl},
		},
		Threads: 2*runtime.NumCPU() + threads,
		Work:    func(ctx context.Context, hup <-chan os.Signal) error { return daemon.Main(ctx, o, hup) },
		Exit:    daemon.ExitCode,
	}
	os.Exit(p.Run(os.Args[1:]))
}
