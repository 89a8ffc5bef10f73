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
	"ntp-daemon/internal/locate"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
)

const (
	// deniedHold is how long a server that denied us, authenticated, is left alone (docs/rules/client.md#denied-hold).
	deniedHold = 4 * time.Hour
	// unreachableHold is how long an address that proved dead is not tried again while there are others.
	unreachableHold = time.Hour
	// triedHold is the same where all addresses belong to one server: long enough to try each of them.
	triedHold = 10 * time.Minute
	// knownAge is how long the unused addresses of a look-up remain candidates.
	knownAge = time.Hour
	// memberLife is how long a member of a pool found by name serves until another one takes its place, if the name stands for
	// others: one at a time, at even distances. The address of a single server is looked up again every lookAgain. So no
	// answer of a name server, a forged one least of all, lasts for the life of the process (docs/rules/client.md#refresh).
	memberLife = 96 * time.Hour
	lookAgain  = 24 * time.Hour
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
	rotate              // what the name stands for now, for one that was found long ago and works
)

// keys reports whether the goal is keys for a member that there is.
func (g goal) keys() bool { return g == rekey || g == confirm }

// lanes are the kinds of searches of which one each may be under way: for keys, and for servers.
const lanes = 2

// lane is the kind of search that the goal asks for.
func (g goal) lane() int {
	if g.keys() {
		return 1
	}
	return 0
}

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
	keyless blocklist        // addresses that gave no keys, asked last for a while
	known   []netip.AddrPort // mode pool: candidates left from the latest look-up
	knownAt time.Time
	turnAt  time.Time // of the next look-up for a source that works, zero before there is one

	// Each kind of search has a clock and a place of its own, so that none waits for another (docs/rules/client.md#back-offs):
	// servers are found by this back-off, the keys of a member are renewed by the member's.
	servers   backoff
	shortage  backoff   // of answers that held nothing new
	growAt    time.Time // no search for more or other servers before
	searching [lanes]bool

	why        string    // what the last search for servers came to, for whoever looks
	failedStep string    // step of the last failure that was logged loudly
	failedTold time.Time // and when
	warned     string    // refused addresses as last logged

	quiet *logging.Limiter // for our own bugs; tasks use it, too

	reports chan report
	results chan found
	broken  chan error     // a task ended by a bug
	tasks   sync.WaitGroup // tasks and the searches
}

// Supervise runs the sources of one [[source]] block until ctx ends, and returns when everything it started has
// ended: nil; at once an error if the source cannot be run; an error as soon as a bug ends one of its tasks.
// spawner is the number of the block in the logs, from 1.
func Supervise(ctx context.Context, src config.Source, spawner int, d Deps) error {
	if err := check(&src); err != nil {
		return err
	}
	if src.SRV && d.Services == nil {
		d.Services = resolve.NewServices(resolve.ServicesConfig{Trusted: src.SRVResolvers, Rand: d.Rand})
	}
	s := &supervisor{
		src: src, spawner: spawner, d: d.withDefaults(), reports: make(chan report), results: make(chan found, lanes), broken: make(chan error, 1),
		quiet:   logging.NewLimiter(panicQuiet),
		servers: backoff{schedule: lookupSchedule}, shortage: backoff{schedule: shortageSchedule}, why: "name look-up is under way",
	}
	s.log = logging.Target(d.Log, logtarget.Spawn).With().Str("spawner", s.label()).Str("source", src.Name()).Logger()
	if src.Mode.NTS() {
		s.servers.schedule, s.why = keyExchangeSchedule, "key exchange is under way"
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

// chosen reports whether somebody else chooses the servers, a pool or the SRV records of a domain: each has a name then, and
// what failed under one name need not fail under the next.
func (s *supervisor) chosen() bool { return s.src.Mode == source.ModeNTSPool || s.src.SRV }

// label names the supervisor as the reference suite's logs do.
func (s *supervisor) label() string { return fmt.Sprintf("SpawnerId(%d)", s.spawner) }

// run owns the list of members, the retry schedules and what failed; tasks talk to it through reports, the searches
// under way, at most one for keys and one for servers, through results. It stops when ctx ends, or with the error of a task, and leaves nothing behind
// that runs.
func (s *supervisor) run(ctx context.Context) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer s.tasks.Wait() // after a panic as well, which is for the caller
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	settled, network := s.d.Bootstrap.done(), s.d.Network.next()
	defer s.d.Statuses.miss(s.spawner, Missing{})
	defer s.d.Statuses.pool(s.spawner, nil)
	for ctx.Err() == nil {
		timer.Reset(s.plan(ctx, time.Now()))
		s.showMissing(time.Now())
		s.showPool(time.Now())
		select {
		case <-ctx.Done():
		case <-settled:
			settled = nil // once is enough: plan looks itself
		case <-network:
			network = s.d.Network.next()
			s.hurry(time.Now())
		case r := <-s.reports:
			s.heard(ctx, time.Now(), r)
		case f := <-s.results:
			s.searching[f.purpose.goal.lane()] = false
			s.apply(ctx, time.Now(), f)
		case err = <-s.broken:
			stop()
		case <-timer.C:
		}
	}
	s.tasks.Wait()
	for _, m := range s.members {
		s.d.Claims.release(m.addr)
		s.farewell(Message{Event: system.Removed{ID: m.id, Reason: "stopped"}})
	}
	return err
}

// hurry ends the waits after failures, because the network has changed: searches may start at once, addresses that proved
// dead are tried again, and sources that are silent are polled. What a server asked for stays in force.
func (s *supervisor) hurry(now time.Time) {
	s.servers.hurry(now)
	if s.blocked.forgive() {
		s.growAt = time.Time{}
	}
	for _, m := range s.members {
		m.keys.hurry(now)
		select {
		case m.poll <- struct{}{}:
		default: // it has not seen the last one yet
		}
	}
}

// farewell tells that a source is gone. A reader that outlives us, as at a reload, must hear it; one that does not must not
// hold us up.
func (s *supervisor) farewell(msg Message) {
	if s.d.Gone != nil {
		select {
		case s.d.Inbox <- msg:
		case <-s.d.Gone:
		}
		return
	}
	select {
	case s.d.Inbox <- msg:
	default:
	}
}

// plan starts the searches that are wanted and due, and returns how long to wait for the next one.
func (s *supervisor) plan(ctx context.Context, now time.Time) time.Duration {
	wait := idle
	for again := true; again; {
		again, wait = false, idle
		for _, p := range s.wanted() {
			lane := p.goal.lane()
			if s.searching[lane] {
				continue
			}
			if w := s.dueAt(p).Sub(now); w > 0 {
				wait = min(wait, w)
				continue
			}
			if lane == fill.lane() && p.goal != rotate && s.placeKnown(ctx, now, p) {
				again = true // what is wanted has changed
				break
			}
			s.searching[lane] = true
			h := s.hints(now, p)
			s.tasks.Go(func() { s.results <- s.search(ctx, p, h) })
		}
	}
	return wait
}

// search runs one search; a panic in it is one that failed (L09).
func (s *supervisor) search(ctx context.Context, p purpose, h locate.Hints) (f found) {
	f.purpose, f.step = p, "search"
	defer s.contain(&f.err)
	return search(ctx, &s.src, &s.d, p, h, s.contain)
}

// dueAt is when a search may start; zero: at once.
func (s *supervisor) dueAt(p purpose) time.Time {
	switch {
	case p.goal == confirm:
		return time.Time{} // it happens once for each source, and until then a stranger may have a say
	case p.goal == rekey:
		return s.find(p.id).keys.at
	case p.goal == rotate:
		return s.turnAt
	case s.growAt.After(s.servers.at):
		return s.growAt
	}
	return s.servers.at
}

// turn puts the next look-up for a source that works off, by the usual distance or after a failure by an hour.
func (s *supervisor) turn(now time.Time, failed bool) {
	wait := lookAgain
	switch {
	case failed:
		wait = time.Hour
	case s.src.Mode.Plural():
		wait = memberLife / time.Duration(s.count())
	}
	s.turnAt = now.Add(withJitter(max(wait, time.Hour), uniform(s.d.Rand)))
}

// wanted lists what is missing, most urgent first: certainty, keys, then sources, then better servers.
func (s *supervisor) wanted() (list []purpose) {
	if m := s.unconfirmed(); m != nil {
		list = append(list, purpose{confirm, m.id})
	}
	for _, m := range s.members {
		if m.need == source.NeedKeyExchange && m.replacement == nil {
			list = append(list, purpose{rekey, m.id})
		}
	}
	if s.standing() < s.count() {
		list = append(list, purpose{goal: fill})
	}
	for _, m := range s.members {
		if m.need == source.NeedReplace && m.replacement == nil {
			list = append(list, purpose{replace, m.id})
		}
	}
	if len(list) == 0 && !s.src.Mode.NTS() && !s.turnAt.IsZero() && len(s.members) > 0 && s.standing() == len(s.members) {
		list = append(list, purpose{rotate, s.members[0].id}) // the one that has been here longest
	}
	return list
}

// standing counts the members that are not there for another one.
func (s *supervisor) standing() (n int) {
	for _, m := range s.members {
		if !s.isReplacement(m) {
			n++
		}
	}
	return n
}

// showMissing tells readers which sources have no address, and why.
func (s *supervisor) showMissing(now time.Time) {
	s.d.Statuses.miss(s.spawner, Missing{
		Name: s.src.Name(), NTS: s.src.Mode.NTS(), Count: s.count() - s.standing(), Reason: s.why, Since: now,
	})
}

// backoff is the clock of the searches of that purpose.
func (s *supervisor) backoff(p purpose) *backoff {
	if m := s.find(p.id); m != nil && p.goal.keys() {
		return &m.keys
	}
	return &s.servers
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
		m.keys.succeed()
		if !m.by.goal.keys() {
			s.servers.succeed()
		}
		if s.turnAt.IsZero() {
			s.turn(now, false)
		}
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
	case before == source.NeedNothing && !m.good && s.moveOn(ctx, now, m):
	case before == source.NeedNothing && !m.good:
		// It never worked with these keys or at this address, so finding it was one more failure, though not one of the
		// name of a pool, which may have better ones. It counts for both clocks, since both searches ask the same key
		// exchange server.
		m.keys.fail(now, uniform(s.d.Rand))
		if s.src.Mode != source.ModePool {
			s.servers.fail(now, uniform(s.d.Rand))
		}
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

// silent reports whether nothing came from a member for its latest poll. Its cookies may then run low, and the search for keys lead to
// another server, before it counts as unreachable.
func (s *supervisor) silent(m *member) bool {
	st, running := s.d.Statuses.Get(m.id)
	return running && st.Unanswered > 0 && st.LastVerdict == source.NoReply
}

// proven ends the member in whose place m was started.
func (s *supervisor) proven(ctx context.Context, now time.Time, m *member) {
	for _, old := range s.members {
		if old.replacement != m {
			continue
		}
		if old.need == source.NeedReplace || s.chosen() && s.silent(old) && !sameName(m.name)(old.name) {
			s.discard(ctx, now, old, s.deadHold(), "unreachable")
		} else {
			s.end(ctx, old, "replaced by a server at another address")
		}
		return
	}
}

// refused ends a source whose server wants none of us, which it proved, or is not to be believed, and keeps away for hours.
func (s *supervisor) refused(ctx context.Context, now time.Time, m *member, need source.Need) {
	hold := withJitter(deniedHold, uniform(s.d.Rand))
	if !m.good {
		s.servers.fail(now, uniform(s.d.Rand))
	}
	s.discard(ctx, now, m, hold, need.String())
	single := !s.src.Mode.Plural() && !s.src.SRV
	s.blocked.keep(m.addr)
	if single {
		s.growAt = now.Add(hold)
	}
	s.why = m.addr.String() + ": " + need.String() + ", left alone for hours"
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
	if s.chosen() && !s.named(m.name) {
		s.failed.add(now, m.name, uniform(s.d.Rand))
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
