package assoc

import (
	"encoding/binary"
	"io"
	"math"
	"net/netip"
	"slices"
	"time"
)

// pace is a retry schedule: the n-th failure in a row makes the next attempt wait at least
// min(first·factor^(n-1), ceiling), and up to a quarter longer by chance.
type pace struct {
	first, ceiling time.Duration
	factor         float64
}

// The schedules.
var (
	// keyExchangePace is that of RFC 8915 §4.2 (reliability row KC15).
	keyExchangePace = pace{first: 10 * time.Second, factor: 1.5, ceiling: 432000 * time.Second}
	// lookupPace starts fast, because at boot the network is often seconds away, and passes 60 s (C29). It stays
	// within minutes, so that an outage of the name server is not stretched by hours. While nobody hears us it does not
	// apply (unheard).
	lookupPace = pace{first: 2 * time.Second, factor: 2, ceiling: 120 * time.Second}
)

// jitterShare is the largest random addition to a wait, as a share of it. It only adds: the schedule is a minimum.
const jitterShare = 0.25

// backoff counts failures in a row and says when the next attempt may start.
type backoff struct {
	pace
	n  int
	at time.Time // zero: at once
}

// fail enters a failure and returns the wait that follows; luck is in [0, 1].
func (b *backoff) fail(now time.Time, luck float64) time.Duration {
	b.n++
	t := float64(b.first)
	for i := 1; i < b.n && t < float64(b.ceiling); i++ {
		t *= b.factor
	}
	wait := stretch(time.Duration(min(t, float64(b.ceiling))), luck)
	b.at = now.Add(wait)
	return wait
}

// unheardMost is the longest wait after an attempt that nobody heard: there is nobody to spare, and service should be
// back within half a minute of the network's return (row L05).
const unheardMost = 10 * time.Second

// unheard enters an attempt that reached nobody, and returns the wait that follows. It counts as a failure only as
// long as the schedule is below unheardMost.
func (b *backoff) unheard(now time.Time, luck float64) time.Duration {
	n := b.n
	if wait := b.fail(now, luck); wait < unheardMost {
		return wait
	}
	b.n = n
	wait := stretch(unheardMost, luck)
	b.at = now.Add(wait)
	return wait
}

// succeed forgets the failures. For key exchanges that is an accepted reply to a request sealed with the new keys,
// not the end of the exchange (KC15).
func (b *backoff) succeed() { b.n, b.at = 0, time.Time{} }

// stretch adds the jitter to a wait.
func stretch(d time.Duration, luck float64) time.Duration {
	return d + time.Duration(float64(d)*jitterShare*luck)
}

// luck draws a number in [0, 1]. A source of randomness that fails costs the jitter, nothing else.
func luck(rnd io.Reader) float64 {
	var b [4]byte
	if _, err := io.ReadFull(rnd, b[:]); err != nil {
		return 1
	}
	return float64(binary.BigEndian.Uint32(b[:])) / math.MaxUint32
}

// maxShunned bounds the memory of bad addresses; the oldest is forgotten first.
const maxShunned = 64

// shunned remembers addresses that are not tried for a while.
type shunned struct {
	list []shunnedAddr // in the order of entry
}

type shunnedAddr struct {
	addr  netip.AddrPort
	until time.Time
}

// add enters an address until the given time, or prolongs it.
func (s *shunned) add(a netip.AddrPort, until time.Time) {
	s.list = slices.DeleteFunc(s.list, func(e shunnedAddr) bool { return e.addr == a })
	s.list = append(s.list, shunnedAddr{a, until})
	if len(s.list) > maxShunned {
		s.list = slices.Delete(s.list, 0, len(s.list)-maxShunned)
	}
}

// has reports whether an address is still shunned.
func (s *shunned) has(now time.Time, a netip.AddrPort) bool {
	s.list = slices.DeleteFunc(s.list, func(e shunnedAddr) bool { return !now.Before(e.until) })
	return slices.ContainsFunc(s.list, func(e shunnedAddr) bool { return e.addr == a })
}
