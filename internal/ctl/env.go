package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"ntp-daemon/internal/clock"
	"ntp-daemon/internal/locate"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/resolve"
)

// ExitFailed is the exit code of ntp-ctl beside the suite's: the answer is no (not synchronised, no majority, warnings
// found).
const ExitFailed = 1

// Stepper is the clock as far as force-sync uses it.
type Stepper interface {
	Step(d time.Duration) (ntp.LedgerEntry, error)
}

// Env is the outside world of a command.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	InIsTerm bool // whether questions can be asked
	Colour   bool // whether Out shows colours
	Now      func() time.Time

	Finder    locate.Finder                                    // of servers, as the daemon finds them
	OpenClock func() (Stepper, error)                          // the machine's clock, for writing
	Sleep     func(ctx context.Context, d time.Duration) error // nil when d has passed
}

// RealEnv is the outside world of a process.
func RealEnv() Env {
	return Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		InIsTerm: term.IsTerminal(int(os.Stdin.Fd())),
		Colour:   term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		Now:      time.Now,
		Finder:   locate.Finder{Resolve: resolve.New(resolve.Config{}), Exchange: ke.Exchange},
		OpenClock: func() (Stepper, error) {
			k, _, err := clock.OpenKernel()
			return k, err
		},
		Sleep: sleep,
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exitError is an error with the exit code that it ends the program with.
type exitError struct {
	code int
	err  error // nil: everything was said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// fail is an error that ends the program with the code.
func fail(code int, format string, args ...any) error {
	return &exitError{code: code, err: fmt.Errorf(format, args...)}
}

// done ends the program with the code and no further word.
func done(code int) error { return &exitError{code: code} }

// codeOf is the exit code of a command's error.
func codeOf(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, context.Canceled):
		return ExitFailed
	}
	return program.ExitUsage // what the command line library itself found
}
