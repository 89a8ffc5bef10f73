package poolke

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ntp-daemon/internal/assoc"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/locate"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/poolmonitor"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
)

const (
	// referencePoll is the longest interval between two polls of a reference, 64 s.
	referencePoll ntp.PollExp = 6
	// referenceAge is how long a measurement is believed: three polls and a little.
	referenceAge = 200 * time.Second
	// referenceStart is how long references may take before their silence means something.
	referenceStart = 30 * time.Second
)

// references are the [[source]] blocks of a pool: what the clocks of its time sources are compared with. They are
// associations of the daemon on the monitor's scale; nobody steers a clock by them.
type references struct {
	scale   scale
	sources []config.Source
	resolve locate.Resolver

	mu    sync.Mutex
	known map[ntp.SourceID]*referenceState
}

// referenceState is the latest of one association.
type referenceState struct {
	reading  poolmonitor.Reading
	measured bool
	fault    bool // the latest poll gave no measurement
}

// run keeps the associations until ctx ends; it owns what is known of them.
func (r *references) run(ctx context.Context, m *monitor) {
	inbox, gone := make(chan assoc.Message), make(chan struct{})
	var next atomic.Uint64
	deps := assoc.Deps{
		Clock: r.scale, Map: r.scale.Map, Resolve: here{r.resolve}, Rand: rand.Reader, Log: m.p.deps.Log, Inbox: inbox,
		NextID: func() ntp.SourceID { return ntp.SourceID(next.Add(1)) }, Claims: assoc.NewClaims(), Time: m.p.deps.Now, Gone: gone,
	}
	var tasks sync.WaitGroup
	for i, src := range r.sources {
		src.PollMin, src.PollMax = min(src.PollMin, referencePoll), min(src.PollMax, referencePoll)
		src.PollInitial = min(src.PollInitial, referencePoll)
		src.Interleaved = source.InterleaveNever // a probe is compared with samples of the same moment, not of the poll before
		tasks.Go(func() {
			defer m.contain(func() {})
			if err := assoc.Supervise(ctx, src, i+1, deps); err != nil && ctx.Err() == nil {
				m.p.log.Error().Str("source", src.Name()).Str("error", err.Error()).Msg("a reference of the monitor has ended, the others are compared with; correct its [[source]] and restart")
			}
		})
	}
	go func() { tasks.Wait(); close(gone) }()
	for {
		select {
		case msg := <-inbox:
			r.hear(msg.Event, time.Now())
		case <-gone:
			return
		}
	}
}

// hear enters what an association says.
func (r *references) hear(e system.Event, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := e.(type) {
	case system.Added:
		r.known[e.ID] = &referenceState{}
	case system.Removed:
		delete(r.known, e.ID)
	case system.Measured:
		if s := r.known[e.Source]; s != nil && fitness(&e.Measurement) == poolmonitor.Good {
			s.reading, s.measured = reading(&e.Measurement), true
			s.reading.At = now
		}
	case system.Status:
		if s := r.known[e.ID]; s != nil {
			s.fault = e.Fault != ""
		}
	}
}

// conditions is what the monitor wants to know of them.
func (r *references) conditions(now time.Time) (c poolmonitor.Conditions) {
	r.mu.Lock()
	defer r.mu.Unlock()
	answering := 0
	for _, s := range r.known {
		fresh := s.measured && now.Sub(s.reading.At) <= referenceAge
		if fresh {
			c.Sources = append(c.Sources, s.reading)
		}
		if fresh && !s.fault {
			answering++
		}
	}
	c.Silent = len(r.sources) > 0 && answering == 0 && now.Sub(r.scale.start) > referenceStart
	return c
}

// here is a resolver that takes the addresses of this host for what they are: the daemon beside the pool may be its reference,
// because the pool sets no clock that could run in circles.
type here struct{ locate.Resolver }

// Lookup is that of the resolver, with those addresses.
func (h here) Lookup(ctx context.Context, host string, port uint16) (resolve.Answer, error) {
	a, err := h.Resolver.Lookup(ctx, host, port)
	kept := a.Refused[:0]
	for _, refused := range a.Refused {
		if refused.Reason == resolve.Loopback || refused.Reason == resolve.Own {
			a.Addrs = append(a.Addrs, netip.AddrPortFrom(refused.Addr, port))
		} else {
			kept = append(kept, refused)
		}
	}
	a.Refused = kept
	if errors.Is(err, resolve.ErrNoUsable) && len(a.Addrs) > 0 {
		err = nil
	}
	return a, err
}
