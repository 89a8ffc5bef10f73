// SPDX-License-Identifier: Apache-2.0 OR MIT

// ntp-xdp answers plain NTP requests in the network driver for a running ntp-daemon.
package main

import (
	"context"
	"os"

	"ntp-daemon/internal/fastpath"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/xdp"
)

const usage = `Usage: ntp-xdp [-s SOCKET] [-m MODE]

Answers plain NTP requests in the network driver for a running ntp-daemon, on
the interfaces that xdp of its [[server]] tables names. Ends with the daemon.

  -s, --socket SOCKET  the daemon's [process] xdp-path,
                       default ` + fastpath.DefaultPath + `
  -m, --mode MODE      driver, or generic, which is behind the driver; default
                       what the driver can do
  -h, --help           show this text
  -v, --version        show the version

Needs Linux 6.1, the capabilities CAP_BPF and CAP_NET_ADMIN, and the daemon's
user or root. Signals: TERM and INT stop in order.
Exit codes: 0 stopped in order or with the daemon, 64 usage, 69 no daemon, one
that says nothing or has too long lists, no such interface, or another program
on it, 70 our own mistake, 71 the operating system refused something else,
77 no permission.
`

func main() {
	path, mode := fastpath.DefaultPath, ""
	p := program.Program{
		Name: "ntp-xdp", Usage: usage, Exit: xdp.ExitCode,
		Options: []program.Option{{Short: 's', Long: "socket", Value: &path}, {Short: 'm', Long: "mode", Value: &mode}},
		Work:    func(ctx context.Context, _ <-chan os.Signal) error { return xdp.Main(ctx, path, mode) },
	}
	os.Exit(p.Run(os.Args[1:]))
}
