package ke

import (
	"container/list"
	"net/netip"
	"time"
)

// line decides whose ClientHello is worked on next: key agreement and signature, which is what a flood makes us do. It
// has no clock, lock or goroutine: Gate lends it those. The prefix with the best standing goes first, then the one with
// the fewest in line, then the newest arrival, and within a prefix the newest too: it has the most time left, while those
// who wait for long are gone, or will be before their answer comes. Last in first out under overload, those who are
// served are served in time; first in first out, all would be served late, which is to say that nobody is.
type line struct {
	places int // how many may compute at one time, at least 1
	busy   int
	known  standings
	groups map[netip.Prefix]*list.List // of *ticket, the newest last
	size   int
	turn   uint64
}

// ticket is one who needs a place.
type ticket struct {
	prefix netip.Prefix
	begun  bool          // had a place before, so its prefix is charged already
	ready  chan struct{} // closed by Gate when the place is there

	turn  uint64
	place *list.Element // in line; nil if not
}

// join takes a place, or a position in the line.
func (l *line) join(t *ticket, now time.Duration) (has bool) {
	if l.busy < l.places {
		l.busy++
		l.begin(t, now)
		return true
	}
	l.turn++
	t.turn = l.turn
	group := l.groups[t.prefix]
	if group == nil {
		group = list.New()
		l.groups[t.prefix] = group
	}
	t.place = group.PushBack(t)
	l.size++
	return false
}

// begin enters a handshake into the books of its prefix.
func (l *line) begin(t *ticket, now time.Duration) {
	if !t.begun {
		l.known.of(t.prefix, now).begin()
	}
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

// leave gives a place back and hands it on: to the ticket returned, nil if nobody needs it.
func (l *line) leave(now time.Duration) *ticket {
	next := l.next(now)
	if next == nil {
		l.busy--
		return nil
	}
	l.quit(next)
	l.begin(next, now)
	return next
}

// next is who goes first.
func (l *line) next(now time.Duration) *ticket {
	var best *ticket
	var worth int32
	var crowd int
	// The order of a map plays no part: of two groups one is better, as turn is different.
	for prefix, group := range l.groups {
		t, w, n := group.Back().Value.(*ticket), l.known.of(prefix, now).value(), group.Len()
		if best == nil || w > worth || w == worth && (n < crowd || n == crowd && t.turn > best.turn) {
			best, worth, crowd = t, w, n
		}
	}
	return best
}
