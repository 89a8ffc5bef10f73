package udp

import (
	"context"
	"fmt"
	"time"
)

// deadliner is a socket, or what waits for one.
type deadliner interface{ SetReadDeadline(time.Time) error }

// bindDeadline makes reads from pc end when ctx does. release undoes that and does not return before a deadline
// set by the end of ctx is in place, so that it cannot hit the next read.
func bindDeadline(ctx context.Context, pc deadliner) (release func(), err error) {
	deadline, _ := ctx.Deadline()
	if err := pc.SetReadDeadline(deadline); err != nil {
		return nil, fmt.Errorf("set deadline: %w", cause(err))
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = pc.SetReadDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-done
		}
	}, nil
}
