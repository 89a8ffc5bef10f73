package program

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"ntp-daemon/internal/rlimit"
	"ntp-daemon/internal/version"
)

// Program is one of the daemons.
type Program struct {
	Name    string
	Usage   string                                                // the text of --help
	Options []Option                                              // all but help and version
	Threads int                                                   // what it needs at its busiest; 0: its resource limits are not looked at
	Work    func(ctx context.Context, hup <-chan os.Signal) error // hup hears of SIGHUP
	Exit    func(error) int                                       // see ExitCode
	Drains  bool                                                  // stopping may take a while; a second TERM or INT ends the process at once
}

// Run does what the command line, without the program's name, asks for and returns the exit code. TERM and INT end
// the context of Work.
func (p *Program) Run(args []string) int {
	var help, ver bool
	err := parseArgs(args, append(p.Options,
		Option{Short: 'h', Long: "help", Set: &help}, Option{Short: 'v', Long: "version", Set: &ver}))
	switch {
	case err != nil:
		err = &UsageError{fmt.Sprintf("%v; see %s --help", err, p.Name)}
	case help:
		fmt.Print(p.Usage)
	case ver:
		fmt.Fprintf(os.Stderr, "%s %s\n", p.Name, version.Version)
	default:
		err = p.work()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
	}
	return ExitCode(err, p.Exit)
}

func (p *Program) work() error {
	if p.Threads > 0 {
		if err := rlimit.Check(p.Threads); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if p.Drains {
		context.AfterFunc(ctx, stop) // the default action again, which is the end
	}
	signal.Ignore(syscall.SIGPIPE) // a closed log pipe must not end the service (row L08)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return p.Work(ctx, hup)
}
