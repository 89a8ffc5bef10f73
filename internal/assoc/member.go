package assoc

import (
	"context"
	"net/netip"
	"time"

	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
)

// maxStartDelay spreads the first polls of sources that start together, and of hosts that boot together (C36).
const maxStartDelay = 500 * time.Millisecond

// member is one running association as its supervisor sees it.
type member struct {
	id   ntp.SourceID
	addr netip.AddrPort
	name string // server name given by the key exchange; empty in the plain modes

	sessionNumber int         // of the session in use
	need          source.Need // as last reported for that session
	good          bool        // that session has had a good reply

	keys backoff // of the searches for fresh keys
	by   purpose // of the search that led to this session, or to the address

	provisional bool // that session's certificate was judged as of the floor, see Bootstrap

	replacement *member // started in its place, not proven yet; nil: none

	server candidate // as it was found

	swap chan *nts.Session
	poll chan struct{} // asks for a poll if the source is silent
	stop context.CancelFunc
	done chan struct{} // closed when the task has ended
}

// candidate is a server that a search has found, not yet one of our sources.
type candidate struct {
	name    string           // by the key exchange; empty in the plain modes
	session *nts.Session     // nil in the plain modes
	addrs   []netip.AddrPort // of this one server, most promising first
	instead netip.AddrPort   // of the member whose place it would take; invalid if it is one more
}

// claim takes addr for a server of ours, false if it is one already. What a pool chose must be new by all of its addresses;
// an operator may name one server twice, and then its addresses count.
func (s *supervisor) claim(addr netip.AddrPort, c *candidate) bool {
	if s.chosen() {
		return s.d.Claims.takeNew(addr, c.addrs, c.instead)
	}
	return s.d.Claims.take(addr, c.addrs)
}

// start puts an association with c at addr to work, or returns nil if that is in use elsewhere in this process.
func (s *supervisor) start(ctx context.Context, addr netip.AddrPort, c candidate) *member {
	if !s.claim(addr, &c) {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	m := &member{
		id: s.d.NextID(), addr: addr, name: c.name, server: c, keys: backoff{schedule: keyExchangeSchedule}, swap: make(chan *nts.Session, 1), poll: make(chan struct{}, 1), stop: cancel, done: make(chan struct{}),
	}
	log := logging.Target(s.d.Log, logtarget.System)
	log.Info().Stringer("source_id", m.id).Stringer("addr", addr).Str("spawner", s.label()).Msg("new source")
	t := &task{
		d: s.d, id: m.id, addr: addr, tell: s.reports, swap: m.swap, poll: m.poll, quiet: s.quiet,
		log:      log.With().Stringer("source_id", m.id).Stringer("addr", addr).Logger(),
		advice:   make(chan ntp.Advice, adviceDepth),
		report:   report{id: m.id},
		reported: report{id: m.id},
		buf:      make([]byte, ntp.MaxPacket),
		patience: newcomer,
		kissed:   make(map[source.Verdict]time.Time),
		src: source.New(source.Config{
			ID: m.id, Server: addr, Version: s.src.Version, Session: c.session, Burst: source.StartBurst,
			PollMin: s.src.PollMin, PollMax: s.src.PollMax, PollInitial: s.src.PollInitial,
			Interleaved: s.src.Interleaved,
			Delay:       time.Duration(uniform(s.d.Rand) * float64(maxStartDelay)),
		}, time.Now()),
	}
	s.d.Statuses.set(m.id, t.src.Status()) // before anybody hears of the source
	s.tasks.Go(func() {
		defer close(m.done)
		defer s.d.Statuses.remove(m.id)
		defer s.failOnPanic()
		t.post(ctx, Message{
			Event:  system.Added{ID: m.id, Name: s.src.Name(), Address: addr},
			Advice: t.advice,
		})
		t.run(ctx)
	})
	s.members = append(s.members, m)
	return m
}

// end stops an association, waits for its task and tells everybody why.
func (s *supervisor) end(ctx context.Context, m *member, reason string) {
	m.stop()
	<-m.done
	s.d.Claims.release(m.addr)
	s.forget(m)
	log := logging.Target(s.d.Log, logtarget.System)
	log.Info().Stringer("source_id", m.id).Stringer("addr", m.addr).Str("reason", reason).Msg("source removed")
	select {
	case s.d.Inbox <- Message{Event: system.Removed{ID: m.id, Reason: reason}}:
	case <-ctx.Done():
	}
}

// forget takes a member off the list and out of where it is the replacement of another one.
func (s *supervisor) forget(m *member) {
	kept := s.members[:0]
	for _, o := range s.members {
		if o == m {
			continue
		}
		if o.replacement == m {
			o.replacement = nil
		}
		kept = append(kept, o)
	}
	clear(s.members[len(kept):])
	s.members = kept
}

// renew puts the session of f into the running association; the latest wins.
func (m *member) renew(f *found) {
	select {
	case <-m.swap:
	default:
		m.sessionNumber++ // the task counts only the sessions that it takes out
	}
	m.swap <- f.Session
	m.need, m.good, m.provisional, m.by = source.NeedNothing, false, f.provisional, f.purpose
}
