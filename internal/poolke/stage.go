package poolke

import (
	"context"
	"errors"
	"time"
)

// stage is where the pool is in its life. Only accepting changes it, and every user of a readiness check reads it.
//
//	starting  nothing is accepted yet
//	serving   users are accepted and served
//	draining  told to stop: not ready, so that balancers choose others; users are still accepted for Config.DrainDelay,
//	          then the listener is closed, those under way finish within Config.DrainTimeout, and kept connections to
//	          time sources end with close_notify
type stage int32

// The stages.
const (
	starting stage = iota
	serving
	draining
)

// String is the word for status and readiness checks.
func (s stage) String() string { return [...]string{"starting", "serving", "draining"}[s] }

// currentStage is where the pool is.
func (p *Pool) currentStage() stage { return stage(p.stage.Load()) }

// lifetime is the ends of a run, in their order.
type lifetime struct {
	stop   context.Context         // ended by order: what changes what users get ends
	order  context.CancelCauseFunc // to stop, with errSucceeded, errBug or none
	live   context.Context         // ended by end, behind the last user or as soon as a successor serves: what serves users and their operator ends
	end    context.CancelFunc
	served context.Context // ended by done, behind the last user, whoever serves the next ones
	done   context.CancelFunc
}

// newLifetime begins a run; the end of ctx is the order to stop, and no more than that.
func newLifetime(ctx context.Context) (l lifetime) {
	l.stop, l.order = context.WithCancelCause(ctx)
	l.live, l.end = context.WithCancel(context.WithoutCancel(ctx))
	l.served, l.done = context.WithCancel(context.WithoutCancel(ctx))
	return l
}

// over is all ends at once, behind the last user. It may be called again.
func (l *lifetime) over() {
	l.order(nil)
	l.end()
	l.done()
}

// accepting begins to serve: the context that it returns ends when no new users are to be accepted any more, which is
// Config.DrainDelay after stop has ended, or at once if a successor accepts them.
func (p *Pool) accepting(stop context.Context) context.Context {
	p.stage.Store(int32(serving))
	accept, quit := context.WithCancel(context.WithoutCancel(stop))
	context.AfterFunc(stop, func() {
		defer quit()
		p.stage.Store(int32(draining))
		cfg := &p.snap.Load().cfg
		ev := p.log.Info().Str("timeout", cfg.DrainTimeout.String())
		if errors.Is(context.Cause(stop), errSucceeded) {
			ev.Msg("a successor serves, users under way may finish")
			return
		}
		p.deps.Manager.Stopping()
		ev.Str("delay", cfg.DrainDelay.String()).Msg("stopping: not ready any more, users under way may finish")
		if cfg.DrainDelay > 0 {
			time.Sleep(cfg.DrainDelay)
		}
	})
	return accept
}
