package daemon

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/program"
	"ntp-daemon/internal/timekeeper"
)

// Row L09: a panic outside the packet path ends the daemon in order, with the exit code of our own mistakes.
func TestL09_PanicEndsInOrder(t *testing.T) {
	var log strings.Builder
	g := newGroup(t.Context(), zerolog.New(&log))
	others := false
	g.start("other", func(ctx context.Context) error { <-ctx.Done(); others = true; return nil })
	g.start("timekeeper", func(context.Context) error { panic("injected") })
	err := g.wait()
	if program.ExitCode(err, ExitCode) != program.ExitSoftware || !strings.Contains(err.Error(), "timekeeper") || !others {
		t.Errorf("%v", err)
	}
	if !strings.Contains(log.String(), "group_test.go") {
		t.Errorf("no stack in the log: %s", log.String())
	}
}

// The reason of the end stays the reason when the operator stops the daemon a moment later.
func TestGroup_FirstCauseWins(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := newGroup(ctx, zerolog.Nop())
	g.start("timekeeper", func(context.Context) error { return &timekeeper.RefusedError{Reason: "step"} })
	g.start("other", func(ctx context.Context) error { <-ctx.Done(); cancel(); return nil })
	if err := g.wait(); program.ExitCode(err, ExitCode) != program.ExitSoftware || !errors.As(err, new(*timekeeper.RefusedError)) {
		t.Errorf("%v", err)
	}
	g = newGroup(ctx, zerolog.Nop())
	g.start("other", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	if err := g.wait(); err != nil {
		t.Errorf("an end that was asked for: %v", err)
	}
}
