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
