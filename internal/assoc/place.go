package assoc

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/locate"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/source"
)

// errTaken says that an answer holds no address that may be used.
var errTaken = errors.New("every address is in use, ignored or was given up")

// errNameHeld says that what a pool returned adds nothing to what is held (docs/rules/client.md#pool-answers).
var errNameHeld = errors.New("pool returned a name that is already held")

// keylessHold is how long an address that gave no keys is asked last.
const keylessHold = time.Hour

// apply takes in what a search yielded.
func (s *supervisor) apply(ctx context.Context, now time.Time, f found) {
	s.warnRefused(&f)
	s.avoidFailed(now, &f)
	if f.purpose.goal == rotate {
		s.turn(now, f.err != nil)
	}
	for _, name := range f.Barren {
		if !s.named(name) && !s.reachedNobody(&f) {
			s.failed.add(now, name, uniform(s.d.Rand))
		}
	}
	m := s.find(f.purpose.id)
	if f.purpose.goal != fill && m == nil {
		return // ended meanwhile; what is wanted now is planned anew
	}
	switch {
	case f.purpose.goal == confirm:
		s.confirm(ctx, now, &f, m)
	case f.err != nil && f.Session != nil && m != nil && s.sameServer(m, &f):
		// The keys are good and the server is the one we know: its address need not be looked up to use them.
		m.renew(&f)
	case errors.Is(f.err, locate.ErrNoneLeft) && !f.purpose.goal.keys():
		s.nothingNew(now, f.err.Error())
	case f.err != nil:
		if f.Session != nil && s.chosen() && !s.named(f.Name) {
			s.failed.add(now, f.Name, uniform(s.d.Rand)) // the next exchange asks for another one
		}
		s.searchFailed(now, &f)
	case s.src.Mode == source.ModePool:
		s.known, s.knownAt = f.Addrs, now
		if !s.placeKnown(ctx, now, f.purpose) && f.purpose.goal != rotate {
			s.nothingNew(now, "pool has no further servers")
		}
	case f.purpose.goal == fill:
		s.fill(ctx, now, &f)
	default:
		s.refresh(ctx, now, &f, m)
	}
}

// fill starts one source more.
func (s *supervisor) fill(ctx context.Context, now time.Time, f *found) {
	if s.chosen() && s.named(f.Name) {
		s.nothingNew(now, errNameHeld.Error())
		return
	}
	if m := s.startAny(ctx, now, candidate{name: f.Name, session: f.Session, addrs: f.Addrs}); m != nil {
		m.provisional = f.provisional
		return
	}
	if s.chosen() {
		s.failed.add(now, f.Name, uniform(s.d.Rand)) // the next exchange asks for another one
		f.step, f.err = "placing "+strconv.Quote(f.Name), errTaken
		s.searchFailed(now, f)
		return
	}
	s.nothingNew(now, errTaken.Error())
}

// refresh gives member m what a search for it yielded: keys if it stays where it is, otherwise a replacement. A server
// that answers is kept as long as its address is still right; one that does not is left for any other address.
func (s *supervisor) refresh(ctx context.Context, now time.Time, f *found, m *member) {
	same := s.sameServer(m, f) && slices.Contains(f.Addrs, m.addr)
	if same && f.purpose.goal == rotate {
		return
	}
	if same && f.purpose.goal == rekey && f.Session != nil {
		m.renew(f)
		return
	}
	if s.chosen() && !s.sameServer(m, f) && s.named(f.Name) {
		if f.purpose.goal == rekey { // keys are wanted whatever the size of the pool, so the shortage does not hold it
			f.step, f.err = "renewal of keys", errNameHeld
			s.searchFailed(now, f)
			return
		}
		s.nothingNew(now, errNameHeld.Error())
		return
	}
	if replacement := s.startAny(ctx, now, candidate{f.Name, f.Session, f.Addrs, m.addr}); replacement != nil { // m.addr is in use
		replacement.provisional = f.provisional
		m.replacement = replacement
		return
	}
	if same && f.Session != nil {
		m.renew(f)
		return
	}
	// Nothing better: the source goes on trying where it is, and the gaps between our searches grow.
	s.backoff(f.purpose).fail(now, uniform(s.d.Rand))
}

// placeKnown starts a source at one of the addresses left from the latest look-up of a pool.
func (s *supervisor) placeKnown(ctx context.Context, now time.Time, p purpose) bool {
	if now.Sub(s.knownAt) > knownAge {
		s.known = nil
	}
	for len(s.known) > 0 {
		addr := s.known[0]
		s.known = s.known[1:]
		m := s.startAny(ctx, now, candidate{addrs: []netip.AddrPort{addr}})
		if m == nil {
			continue
		}
		if old := s.find(p.id); old != nil && p.goal != fill {
			old.replacement = m
		}
		return true
	}
	return false
}

// startAny starts a source at the first address that may be used, nil if there is none.
func (s *supervisor) startAny(ctx context.Context, now time.Time, c candidate) *member {
	for _, a := range c.addrs {
		if s.blocked.has(now, a) {
			continue
		}
		if m := s.start(ctx, a, c); m != nil {
			s.failed.remove(c.name)
			s.shortage.succeed()
			return m
		}
	}
	return nil
}

// moveOn goes from an address at which a server of a pool has never answered, and its cookies run low, to the next one that it
// has, with the same keys: one family may lead nowhere, and that is no fault of the server. False if there is none left. In the
// other modes the next search finds the same server and its addresses anyway.
func (s *supervisor) moveOn(ctx context.Context, now time.Time, m *member) bool {
	if !s.chosen() || m.sessionNumber != 0 || !s.silent(m) {
		return false
	}
	left := func(a netip.AddrPort) bool { return a != m.addr && !s.blocked.has(now, a) }
	if !slices.ContainsFunc(m.server.addrs, left) {
		return false
	}
	s.blocked.add(m.addr, now.Add(unreachableHold))
	var old *member
	for _, o := range s.members {
		if o.replacement == m {
			old = o
		}
	}
	s.end(ctx, m, "no answer at this address of the server")
	next := s.startAny(ctx, now, m.server)
	if next == nil {
		s.failed.add(now, m.name, uniform(s.d.Rand))
		return true
	}
	next.provisional, next.by, next.keys = m.provisional, m.by, m.keys
	if old != nil {
		old.replacement = next
	}
	return true
}

// sameServer reports whether a key exchange led to the server that m already uses.
func (s *supervisor) sameServer(m *member, f *found) bool {
	return pool.CanonicalName(m.name) == pool.CanonicalName(f.Name) && m.addr.Port() == f.Port
}

// failureQuiet is how long repeats of the same failure stay at debug level: the first is loud, and after that the
// operator is reminded now and then.
const failureQuiet = 15 * time.Minute

// searchFailed makes the next attempt wait longer, unless the last one reached nobody. Silence counts as nobody only
// while no source of this daemon answers (row L05): with one, the clock can wait, and a server that is slow because it is
// overloaded is spared (row C29).
func (s *supervisor) searchFailed(now time.Time, f *found) {
	repeated := s.failedStep == f.step && now.Sub(s.failedTold) < failureQuiet
	var wait time.Duration
	clock, u := s.backoff(f.purpose), uniform(s.d.Rand)
	switch alone := !s.d.Statuses.answering(); {
	case noNetwork(f.err), alone && silentNames(f.err):
		wait = clock.failUnreachable(now, unreachableMost, u)
	case alone && silentServer(f.err):
		wait = clock.failUnreachable(now, silentMost, u)
	default:
		wait = clock.fail(now, u)
	}
	if !f.purpose.goal.keys() {
		s.why = f.step + " failed: " + f.err.Error()
	}
	level := zerolog.DebugLevel
	if !repeated {
		level = zerolog.WarnLevel
		s.failedStep, s.failedTold = f.step, now
	}
	ev := s.log.WithLevel(level).Err(f.err)
	if remedy := s.d.Bootstrap.remedy(s.d.Time(), f.err); remedy != "" {
		ev = ev.Str("remedy", remedy)
	}
	ev.Stringer("retry_in", wait.Round(time.Second)).Msgf("%s failed", f.step)
}

// reachedNobody reports whether a search says more of our own path than of the servers: it brought nothing but silence, and no source of
// this daemon answers either.
func (s *supervisor) reachedNobody(f *found) bool {
	return f.Session == nil && (noNetwork(f.err) || !s.d.Statuses.answering() && (silentNames(f.err) || silentServer(f.err)))
}

// noNetwork reports whether err says that this host has no network.
func noNetwork(err error) bool { return hasErrno(err, syscall.ENETUNREACH, syscall.ENETDOWN) }

// silentNames reports whether err is a look-up that no name server answered: none in time, or none is there.
func silentNames(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && (dns.IsTimeout || hasErrno(err, syscall.ECONNREFUSED, syscall.EHOSTUNREACH))
}

// silentServer reports whether err is a connection that nobody answered.
func silentServer(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial" && (op.Timeout() || hasErrno(err, syscall.EHOSTUNREACH))
}

// hasErrno finds an error of the system. Of one that ended a look-up the Go resolver keeps the text only.
func hasErrno(err error, list ...syscall.Errno) bool {
	for _, errno := range list {
		dns, ok := errors.AsType[*net.DNSError](err)
		if errors.Is(err, errno) || ok && strings.Contains(dns.Err, errno.Error()) {
			return true
		}
	}
	return false
}

// nothingNew makes the search for more sources wait: the answer was fine and held nothing new.
func (s *supervisor) nothingNew(now time.Time, why string) {
	wait := s.shortage.fail(now, uniform(s.d.Rand))
	s.growAt, s.why = s.shortage.at, why
	have := 0
	for _, m := range s.members {
		if m.need != source.NeedReplace {
			have++
		}
	}
	s.log.Warn().Int("have", have).Int("want", s.count()).Stringer("retry_in", wait.Round(time.Second)).Msg(why)
}

// avoidFailed remembers which addresses of the key exchange server gave no keys, so that they are asked last for a while, and
// names each once for as long as another one gives them.
func (s *supervisor) avoidFailed(now time.Time, f *found) {
	for _, a := range f.Failed {
		if f.Session != nil && !s.keyless.has(now, a.Addr) {
			s.log.Warn().Stringer("addr", a.Addr).Err(a.Err).Msg("key exchange failed at this address, another one gave keys")
		}
		s.keyless.add(a.Addr, now.Add(keylessHold))
	}
}

// warnRefused logs addresses that a name must not stand for, once as long as they stay the same (C28).
func (s *supervisor) warnRefused(f *found) {
	text := ""
	for _, r := range f.Refused {
		text += r.Addr.String() + " (" + r.Reason.String() + ") "
	}
	if text != "" && text != s.warned {
		s.log.Warn().Str("refused", text).Msg("name stands for addresses that must not be asked for time")
	}
	s.warned = text
}
