package assoc

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
)

const (
	// deniedHold is how long a server that denied us is left alone (docs/rules/client.md#denied-hold).
	deniedHold = 4 * time.Hour
	// unreachableHold is how long an address that proved dead is not tried again while there are others.
	unreachableHold = time.Hour
	// triedHold is the same where all addresses belong to one server: long enough to try each of them.
	triedHold = 10 * time.Minute
	// shortageHold is the wait after an answer that holds nothing new: the pool is smaller than what is wanted
	// (docs/rules/client.md#pool-back-off).
	shortageHold = 15 * time.Minute
	// knownAge is how long the unused addresses of a look-up remain candidates.
	knownAge = time.Hour
	// idle is a wait that only an event ends.
	idle = 24 * time.Hour
)

// goal says what a search is for.
type goal uint8

const (
	fill    goal = iota // one source more
	replace             // another server for one that is unreachable
	rekey               // fresh keys for one that works or did
	confirm             // the same for one whose certificate was judged before the clock was set
)

// keys reports whether the goal is keys for a member that there is.
func (g goal) keys() bool { return g == rekey || g == confirm }

// purpose is the goal of a search and the member it is about; 0 with fill.
type purpose struct {
	goal goal
	id   ntp.SourceID
}

// supervisor keeps the sources of one [[source]] block.
type supervisor struct {
	src     config.Source
	spawner int // n of SpawnerId(n) in the logs
	d       Deps
	log     zerolog.Logger

	members []*member   // in the order of their start
	failed  failedNames // mode nts-pool
	blocked blocklist
	known   []netip.AddrPort // mode pool: candidates left from the latest look-up
	knownAt time.Time

	retry  backoff   // after failures
	growAt time.Time // no search for more or other servers before; keys are renewed all the same

	failedStep string    // step of the last failure that was logged loudly
	failedTold time.Time // and when
	searching  bool      // a search is under way
	warned     string    // refused addresses as last logged

	quiet *logging.Limiter // for our own bugs; tasks use it, too

	reports chan report
	results chan found
	broken  chan error     // a task ended by a bug
	tasks   sync.WaitGroup // tasks and the search
}

// Supervise runs the sources of one [[source]] block until ctx ends, and returns when everything it started has
// ended: nil; at once an error if the source cannot be run; an error as soon as a bug ends one of its tasks.
// spawner is the number of the block in the logs, from 1.
func Supervise(ctx context.Context, src config.Source, spawner int, d Deps) error {
	if err := check(&src); err != nil {
		return err
	}
	s := &supervisor{
		src: src, spawner: spawner, d: d.withDefaults(), reports: make(chan report), results: make(chan found, 1), broken: make(chan error, 1),
		quiet: logging.NewLimiter(panicQuiet),
		retry: backoff{schedule: lookupSchedule},
	}
	s.log = logging.Target(d.Log, logtarget.Spawn).With().Str("spawner", s.label()).Str("source", src.Name()).Logger()
	if src.Mode.NTS() {
		s.retry.schedule = keyExchangeSchedule
	}
	return s.run(ctx)
}

// check refuses what could only end in a busy loop or a panic; the configuration has better words for it.
func check(src *config.Source) error {
	switch {
	case src.Host == "" || src.Port == 0:
		return errors.New("source needs a host and a port")
	case src.Mode.Plural() && src.Count < 1:
		return fmt.Errorf("source %s: count must be at least 1", src.Name())
	case !slices.Contains(source.Modes(), src.Mode):
		return fmt.Errorf("source %s: unknown mode %s", src.Name(), src.Mode)
	}
	return nil
}

// count is how many sources the block keeps.
func (s *supervisor) count() int {
	if s.src.Mode.Plural() {
		return s.src.Count
	}
	return 1
}

// label names the supervisor as the reference suite's logs do.
func (s *supervisor) label() string { return fmt.Sprintf("SpawnerId(%d)", s.spawner) }

// run owns the list of members, the retry schedule and what failed; tasks talk to it through reports, the one
// search under way through results. It stops when ctx ends, or with the error of a task, and leaves nothing behind
// that runs.
func (s *supervisor) run(ctx context.Context) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer s.tasks.Wait() // after a panic as well, which is for the caller
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	settled := s.d.Bootstrap.done()
	for ctx.Err() == nil {
		timer.Reset(s.plan(ctx, time.Now()))
		select {
		case <-ctx.Done():
		case <-settled:
			settled = nil // once is enough: plan looks itself
		case r := <-s.reports:
			s.heard(ctx, time.Now(), r)
		case f := <-s.results:
			s.searching = false
			s.apply(ctx, time.Now(), f)
		case err = <-s.broken:
			stop()
		case <-timer.C:
		}
	}
	s.tasks.Wait()
	for _, m := range s.members {
		s.d.Claims.release(m.addr)
		select { // a reader that outlives us may care; one that does not must not hold us up
		case s.d.Inbox <- Message{Event: system.Removed{ID: m.id, Reason: "stopped"}}:
		default:
		}
	}
	return err
}

// plan starts the next search if one is wanted and due, and returns how long to wait otherwise.
func (s *supervisor) plan(ctx context.Context, now time.Time) time.Duration {
	for !s.searching {
		p, ok := s.wanted()
		if !ok {
			return idle
		}
		if wait := s.dueAt(p.goal).Sub(now); wait > 0 {
			return wait
		}
		if !p.goal.keys() && s.placeKnown(ctx, now, p) {
			continue
		}
		s.searching = true
		denied := s.denied(now, p)
		s.tasks.Go(func() { s.results <- s.search(ctx, p, denied) })
	}
	return idle
}

// search runs one search; a panic in it is one that failed (L09).
func (s *supervisor) search(ctx context.Context, p purpose, denied []string) (f found) {
	f.purpose = p
	defer s.contain(&f)
	return search(ctx, &s.src, &s.d, p, denied)
}

// dueAt is when a search with that goal may start; zero: at once.
func (s *supervisor) dueAt(g goal) time.Time {
	switch {
	case g == confirm:
		return time.Time{} // it happens once for each source, and until then a stranger may have a say
	case !g.keys() && s.growAt.After(s.retry.at):
		return s.growAt
	}
	return s.retry.at
}

// wanted says what is missing, most urgent first: certainty, keys, then sources, then better servers.
func (s *supervisor) wanted() (purpose, bool) {
	if m := s.unconfirmed(); m != nil {
		return purpose{confirm, m.id}, true
	}
	standing := 0
	for _, m := range s.members {
		if !s.isReplacement(m) {
			standing++
		}
		if m.need == source.NeedKeyExchange && m.replacement == nil {
			return purpose{rekey, m.id}, true
		}
	}
	if standing < s.count() {
		return purpose{goal: fill}, true
	}
	for _, m := range s.members {
		if m.need == source.NeedReplace && m.replacement == nil {
			return purpose{replace, m.id}, true
		}
	}
	return purpose{}, false
}

// denied lists the names that a pool is asked not to return, as it wrote them: those held, then those that failed; at
// most 64, as many as a pool reads. A source that needs keys would rather stay.
func (s *supervisor) denied(now time.Time, p purpose) []string {
	if s.src.Mode != source.ModeNTSPool {
		return nil
	}
	var names []string
	for _, m := range s.members {
		if !slices.ContainsFunc(names, sameName(m.name)) { // a server that moved has its replacement beside it
			names = append(names, m.name)
		}
	}
	names = append(names, s.failed.latest(now)...)
	if m := s.find(p.id); m != nil && p.goal.keys() {
		names = slices.DeleteFunc(names, sameName(m.name))
	}
	return names[:min(len(names), record.MaxDeny)]
}

// heard takes in what a task says about its source.
func (s *supervisor) heard(ctx context.Context, now time.Time, r report) {
	m := s.find(r.id)
	if m == nil || r.sessionNumber != m.sessionNumber {
		return
	}
	before := m.need
	m.need = r.need
	if r.good && !m.good {
		m.good = true
		s.retry.succeed()
		s.failedStep = ""
		s.proven(ctx, now, m)
	}
	switch {
	case r.need.Final():
		s.refused(ctx, now, m, r.need)
	case r.need == source.NeedNothing:
		if m.replacement != nil && before != source.NeedNothing {
			s.end(ctx, m.replacement, "not needed")
		}
	case before == source.NeedNothing && !m.good:
		// It never worked with these keys or at this address, so finding it was one more failure.
		s.retry.fail(now, uniform(s.d.Rand))
		if s.isReplacement(m) {
			s.discard(ctx, now, m, s.deadHold(), "unreachable")
		}
	}
}

// deadHold is how long an address that did not answer is left out.
func (s *supervisor) deadHold() time.Duration {
	if s.src.Mode.Plural() {
		return unreachableHold
	}
	return triedHold
}

// proven ends the member in whose place m was started.
func (s *supervisor) proven(ctx context.Context, now time.Time, m *member) {
	for _, old := range s.members {
		if old.replacement != m {
			continue
		}
		if old.need == source.NeedReplace {
			s.discard(ctx, now, old, s.deadHold(), "unreachable")
		} else {
			s.end(ctx, old, "replaced by a server at another address")
		}
		return
	}
}

// refused ends a source whose server wants none of us, or is not to be believed, and keeps away for hours.
func (s *supervisor) refused(ctx context.Context, now time.Time, m *member, need source.Need) {
	hold := withJitter(deniedHold, uniform(s.d.Rand))
	if !m.good {
		s.retry.fail(now, uniform(s.d.Rand))
	}
	s.discard(ctx, now, m, hold, need.String())
	single := !s.src.Mode.Plural()
	if single {
		s.growAt = now.Add(hold)
	}
	if need == source.NeedReject {
		s.log.Warn().Stringer("addr", m.addr).Stringer("retry_in", hold.Round(time.Second)).Msg("source rejected: " + need.String())
	} else if single {
		s.log.Warn().Stringer("addr", m.addr).Stringer("retry_in", hold.Round(time.Second)).Msg("server denied service")
	}
}

// discard ends a member and remembers its address, and its name for the pool, as bad.
func (s *supervisor) discard(ctx context.Context, now time.Time, m *member, hold time.Duration, reason string) {
	s.blocked.add(m.addr, now.Add(hold))
	s.end(ctx, m, reason)
	if s.src.Mode == source.ModeNTSPool && !s.named(m.name) {
		s.failed.add(now, m.name)
	}
}

// find returns the member with that identity, nil if it is gone.
func (s *supervisor) find(id ntp.SourceID) *member {
	for _, m := range s.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

// isReplacement reports whether m stands in for another member.
func (s *supervisor) isReplacement(m *member) bool {
	return slices.ContainsFunc(s.members, func(o *member) bool { return o.replacement == m })
}

// named reports whether a running member has that server name.
func (s *supervisor) named(name string) bool {
	is := sameName(name)
	return slices.ContainsFunc(s.members, func(o *member) bool { return is(o.name) })
}
