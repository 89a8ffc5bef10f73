package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/rs/zerolog"
)

// group runs the daemon's goroutines: the first error ends them all and becomes the group's cause.
type group struct {
	ctx    context.Context
	parent context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	log    zerolog.Logger // of panics
}

func newGroup(parent context.Context, log zerolog.Logger) *group {
	ctx, cancel := context.WithCancelCause(parent)
	return &group{ctx: ctx, parent: parent, cancel: cancel, log: log}
}

// start runs one goroutine. An error names it and ends the group; a panic is an error, too (row L09).
func (g *group) start(name string, run func(context.Context) error) {
	g.wg.Go(func() { g.guard(g.ctx, name, run) })
}

// guard runs a goroutine for whose end the group does not wait, and which may outlive it with a context of its own.
func (g *group) guard(ctx context.Context, name string, run func(context.Context) error) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("bug: stopping after a panic")
			g.cancel(fmt.Errorf("%s: bug: panic: %v", name, p))
		}
	}()
	if err := run(ctx); err != nil {
		g.cancel(fmt.Errorf("%s: %w", name, err))
	}
}

// wait waits for every goroutine and returns the first error, nil after an end that the parent asked for.
func (g *group) wait() error {
	g.wg.Wait()
	defer g.cancel(nil)
	cause := context.Cause(g.ctx)
	if g.parent.Err() != nil && errors.Is(cause, context.Cause(g.parent)) {
		return nil
	}
	return cause
}
