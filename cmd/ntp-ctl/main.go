// SPDX-License-Identifier: Apache-2.0 OR MIT

// ntp-ctl looks at and looks after ntp-daemon.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"ntp-daemon/internal/ctl"
)

func main() { os.Exit(run(os.Args)) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return ctl.Main(ctx, args, ctl.RealEnv())
}
