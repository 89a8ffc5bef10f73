package ke

import (
	"container/list"
	"hash/maphash"
	"net/netip"
	"time"
)

const (
	// inDebt is the standing below which a prefix is served with what is left over: one handshake in vain within a
	// minute, or eight under way.
	inDebt = -fullCredit / 2
	// vainShare is the part of the time, one in so many, that may go into handshakes for those in debt, so that a flood
	// costs us a tenth of what we can do although nobody else is in line. Who shares a prefix with it is served by that.
	vainShare = 10
	// overdue is a wait after which a peer may as well be gone: a quarter of the daemon's default for an exchange.
	overdue = 250 * time.Millisecond
	// longestPause bounds a pause after a handshake that took its time because the machine was busy.
	longestPause = time.Second
)

// line decides whose ClientHello is worked on next: key agreement and signature, which is what a flood makes us do. It
// has no clock, lock or goroutine: Gate lends it those. The prefix with the best standing goes first, then the one with
// the fewest in line, then who came first, as long as the wait is short; from overdue on there are more than can be
// served, and the newest goes first, as it does within a prefix: it has the most time left, while those who wait for long
// are gone, or will be before their answer comes. First in first out under overload, all would be served late, which
// is to say that nobody is. Prefixes in debt get a tenth of the time at most.
type line struct {
	places int // how many may compute at one time, at least 1
	busy   int
	known  standings
	groups map[netip.Prefix]*list.List // of *ticket, the newest last
	size   int
	turn   uint64
	pause  time.Duration // until then nobody in debt is served
}

func newLine(places int) line {
	return line{places: places, groups: map[netip.Prefix]*list.List{}, known: standings{seed: maphash.MakeSeed()}}
}

// ticket is one who needs a place.
type ticket struct {
	prefix netip.Prefix
	begun  bool          // had a place before, so its prefix is charged already
	ready  chan struct{} // closed by Gate when the place is there
	resume func()        // called by a desk instead
	late   bool          // resumed without a place, after too long a wait
	queued bool          // others went before it

	since time.Duration // when the place was taken
	vain  bool          // it was in debt then
	came  time.Duration
	turn  uint64
	place *list.Element // in line; nil if not
}

// join takes a position in the line; serve tells whose turn it is.
func (l *line) join(t *ticket, now time.Duration) {
	l.turn++
	t.turn, t.came = l.turn, now
	group := l.groups[t.prefix]
	if group == nil {
		group = list.New()
		l.groups[t.prefix] = group
	}
	t.place = group.PushBack(t)
	l.size++
}

// quit leaves the line; false if it is not there any more, because it has a place.
func (l *line) quit(t *ticket) bool {
	if t.place == nil {
		return false
	}
	group := l.groups[t.prefix]
	group.Remove(t.place)
	t.place = nil
	l.size--
	if group.Len() == 0 {
		delete(l.groups, t.prefix)
	}
	return true
}

// leave gives a place back.
func (l *line) leave(t *ticket, now time.Duration) {
	l.busy--
	if t.vain {
		l.pause = now + min((vainShare-1)*(now-t.since), longestPause)
	}
}

// serve gives a free place to whose turn it is, nil if there is none of either. A wait above zero says when to ask
// again although no place was given back.
func (l *line) serve(now time.Duration) (t *ticket, wait time.Duration) {
	if l.busy >= l.places || l.size == 0 {
		return nil, 0
	}
	t, worth := l.next(now)
	if t.vain = worth <= inDebt; t.vain && now < l.pause {
		return nil, l.pause - now
	}
	l.quit(t)
	l.busy++
	t.since = now
	if !t.begun {
		l.known.of(t.prefix, now).begin()
	}
	return t, 0
}

// next is who goes first of those in line, and what its prefix is worth.
func (l *line) next(now time.Duration) (best *ticket, worth int32) {
	var crowd int
	// The order of a map plays no part: of two groups one is better, as turn is different.
	for prefix, group := range l.groups {
		t, w, n := group.Back().Value.(*ticket), l.known.of(prefix, now).value(), group.Len()
		if best == nil || w > worth || w == worth && (n < crowd || n == crowd && t.before(best, now)) {
			best, worth, crowd = t, w, n
		}
	}
	return best, worth
}

// hopeless takes one out of line who waits for longer than is worth it; nil if there is none, and then patience is when
// the first of those in line will.
func (l *line) hopeless(now, longest time.Duration) (t *ticket, patience time.Duration) {
	patience = longest
	for _, group := range l.groups {
		t := group.Front().Value.(*ticket)
		left := longest - (now - t.came)
		if left < 0 {
			l.quit(t)
			return t, 0
		}
		patience = min(patience, left)
	}
	return nil, patience + time.Microsecond // past it
}

// before reports whether t goes before o, all else being equal.
func (t *ticket) before(o *ticket, now time.Duration) bool {
	late, oLate := now-t.came > overdue, now-o.came > overdue
	if late != oLate {
		return oLate
	}
	return t.turn < o.turn != late
}
