package ke

import (
	"container/list"
	"net/netip"
	"time"
)

// line decides who computes next. It has no clock, lock or goroutine: Gate lends it those. Those who need a place
// are of two kinds:
//
//	signed  the server's signature is made and the peer answered it: a little work, then it is done; first come, first served
//	fresh   a ClientHello: key agreement and signature, which is the work that a flood makes us do
//
// Signed goes before fresh. Among fresh the prefix with the best standing goes first, then the one with the fewest
// in line, then the newest arrival, and within a prefix the newest too: it has the most time left, while those who
// wait for long are gone, or will be before their answer comes. Whoever is served last in first out under overload is
// served in time; first in first out, all would be served late, which is to say that nobody is.
type line struct {
	places int // how many may compute at one time, at least 1
	busy   int
	known  standings
	signed list.List // of *ticket
	fresh  map[netip.Prefix]*list.List
	size   int // fresh ones in line
	turn   uint64
}

// ticket is one who needs a place.
type ticket struct {
	prefix netip.Prefix
	signed bool          // else fresh
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
	if t.signed {
		t.place = l.signed.PushBack(t)
		return false
	}
	group := l.fresh[t.prefix]
	if group == nil {
		group = list.New()
		l.fresh[t.prefix] = group
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
	if t.signed {
		l.signed.Remove(t.place)
	} else {
		l.drop(t)
	}
	t.place = nil
	return true
}

// drop takes a fresh one out of its group.
func (l *line) drop(t *ticket) {
	group := l.fresh[t.prefix]
	group.Remove(t.place)
	l.size--
	if group.Len() == 0 {
		delete(l.fresh, t.prefix)
	}
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
	if e := l.signed.Front(); e != nil {
		return e.Value.(*ticket)
	}
	var best *ticket
	var worth int32
	var crowd int
	// The order of a map plays no part: of two groups one is better, as turn is different.
	for prefix, group := range l.fresh {
		t, w, n := group.Back().Value.(*ticket), l.known.of(prefix, now).value(), group.Len()
		if best == nil || w > worth || w == worth && (n < crowd || n == crowd && t.turn > best.turn) {
			best, worth, crowd = t, w, n
		}
	}
	return best
}
