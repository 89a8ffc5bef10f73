// SPDX-License-Identifier: Apache-2.0 OR MIT

// nts-pool-ke is the key exchange front end of an NTS pool: users get cookies of one of its time sources.
package main

import (
	"context"
	"os"
	"runtime"

	"ntp-daemon/internal/poolke"
	"ntp-daemon/internal/program"
)

const usage = `Usage: nts-pool-ke -c FILE [-l LEVEL | --check]

Distributes the users of an NTS pool over its time sources.

  -c, --config FILE        configuration, required
  -l, --log-level LEVEL    trace, debug, info, warn or error; overrides the configuration
      --check              say everything that is wrong with the configuration and
                           the files that it names, and start nothing
  -h, --help               show this text
  -v, --version            show the version

The files that the configuration names are read again when they change.
Signals: HUP reads the configuration and those files again, and opens the log file anew;
TERM and INT stop in order, which lets users under way finish; the second ends at once.
Exit codes: 0 stopped in order, 64 usage, 70 the pool cannot run,
71 a resource limit is too low, 78 configuration.
`

// threads is what a pool has at its busiest in addition to one for each processor (9 measured on two).
const threads = 8

func main() {
	o := poolke.Options{Drop: true}
	p := program.Program{
		Name: "nts-pool-ke", Usage: usage,
		Options: []program.Option{
			{Short: 'c', Long: "config", Value: &o.ConfigPath},
			{Short: 'l', Long: "log-level", Value: &o.LogLevel},
			{Long: "check", Set: &o.Check},
		},
		Threads: runtime.NumCPU() + threads,
		Work:    func(ctx context.Context, hup <-chan os.Signal) error { return poolke.Main(ctx, o, hup, nil) },
		Exit:    poolke.ExitCode,
		Drains:  true,
	}
	os.Exit(p.Run(os.Args[1:]))
}
