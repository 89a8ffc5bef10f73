package poolke

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"ntp-daemon/internal/handover"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/program"
)

// errSucceeded is the end of a pool that another process serves in place of.
var errSucceeded = errors.New("a successor serves")

// inherit gets what other processes opened for this one: the service manager, and the running pool at the hand-over path.
func inherit(ctx context.Context, path string) (list []handover.Socket, running *handover.Running, err error) {
	list, err = handover.FromManager()
	if err != nil {
		return nil, nil, err
	}
	if path == "" {
		return list, nil, nil
	}
	running, err = handover.Take(ctx, path)
	if err != nil {
		handover.CloseAll(list)
		return nil, nil, fmt.Errorf("handover-path %s: %w; stop that process, or start this one as its user or root", path, err)
	}
	if running != nil {
		list = append(list, running.Sockets...)
	}
	return list, running, nil
}

// successor is the socket at which the process after this one takes over; nil if none is wanted. succeeded is called when it
// serves; when it returns nobody is accepted here any more.
func (p *Pool) successor(succeeded func()) *program.Part {
	path := p.snap.Load().cfg.HandoverPath
	if path == "" {
		return nil
	}
	var ln net.Listener
	return program.NewPart("the hand-over socket "+path, p.log, func() (err error) {
		ln, err = p.sockets.get(handoverSocket, atPath(path), func() (net.Listener, error) { return observe.Listen("handover-path", path, 0o600) })
		return err
	}, func(ctx context.Context) error {
		offer := handover.Offer{
			Sockets: func() []handover.Socket {
				p.sockets.leave() // already: this process may be told to end before the successor serves
				return p.sockets.given()
			},
			Serving: succeeded,
			Failed: func(err error) {
				p.sockets.stay()
				p.log.Warn().Str("e", err.Error()).Msg("a successor did not take over, this process goes on")
			},
		}
		_, err := offer.Serve(ctx, ln)
		return err
	})
}

// firstLooks is how long a successor waits for its first look at each time source: their connections and lists take two round
// trips around the world, and one that is dead need not be waited for.
const firstLooks = 2 * time.Second

// acquaint lets the predecessor serve on until each time source has been looked at, so that the first users of this process
// do not wait for that.
func (p *Pool) acquaint(ctx context.Context) {
	if p.deps.Running == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, firstLooks)
	defer cancel()
	poll := time.NewTicker(firstLooks / 200)
	defer poll.Stop()
	for !p.acquainted() {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

// acquainted reports whether each time source has been looked at.
func (p *Pool) acquainted() bool {
	for _, u := range p.snap.Load().upstreams {
		u.mu.Lock()
		unknown := u.looked.IsZero()
		u.mu.Unlock()
		if unknown {
			return false
		}
	}
	return true
}

// succession owns the places before and after this process: it tells the predecessor that users are served here, and
// then offers the sockets to a successor, until ctx ends.
func (p *Pool) succession(ctx context.Context, part *program.Part) {
	if r := p.deps.Running; r != nil {
		switch err := r.Serving(ctx); {
		case err != nil:
			p.log.Warn().Int("pid", r.PID).Str("e", err.Error()).Msg("the pool before this one does not say that it stops; end it if it still runs")
		default:
			p.log.Info().Int("pid", r.PID).Msg("took over from the pool before this one")
		}
	}
	if part != nil {
		_ = part.Run(ctx)
		part.Close() // if ctx ended before it ran
	}
}
