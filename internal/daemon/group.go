package daemon

import (
	"context"
	"fmt"
	"sync"
)

// group runs the daemon's goroutines: the first error ends them all and becomes the group's cause.
type group struct {
	ctx    context.Context
	parent context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
}

func newGroup(parent context.Context) *group {
	ctx, cancel := context.WithCancelCause(parent)
	return &group{ctx: ctx, parent: parent, cancel: cancel}
}

// start runs one goroutine. An error names it and ends the group.
func (g *group) start(name string, run func(context.Context) error) {
	g.wg.Go(func() {
		if err := run(g.ctx); err != nil {
			g.cancel(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// wait waits for every goroutine and returns the first error, nil after an end that the parent asked for.
func (g *group) wait() error {
	g.wg.Wait()
	defer g.cancel(nil)
	if g.parent.Err() != nil {
		return nil
	}
	return context.Cause(g.ctx)
}
