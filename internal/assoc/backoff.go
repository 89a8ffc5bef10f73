package assoc

import (
	"encoding/binary"
	"io"
	"math"
	"time"
)

// schedule is a retry schedule: the n-th failure in a row makes the next attempt wait at least
// min(first·factor^(n-1), ceiling), and up to a quarter longer by chance.
type schedule struct {
	first, ceiling time.Duration
	factor         float64
}

// The schedules.
var (
	// keyExchangeSchedule is that of RFC 8915 §4.2 (row KC15) with a lower ceiling, which is an hour with
	// the jitter: five days would leave a host without time for days after the server is back
	// (docs/rules/client.md#back-offs).
	keyExchangeSchedule = schedule{first: 10 * time.Second, factor: 1.5, ceiling: 48 * time.Minute}
	// lookupSchedule starts fast, because at boot the network is often seconds away, and passes 60 s (C29). It stays
	// within minutes, so that an outage of the name server is not stretched by hours. While nobody is reached it does not
	// apply (failUnreachable).
	lookupSchedule = schedule{first: 2 * time.Second, factor: 2, ceiling: 120 * time.Second}
	// shortageSchedule follows answers that hold nothing new: the pool is smaller than what is wanted, which more questions
	// do not change. A server that was found in between lets it start over (docs/rules/client.md#pool-back-off).
	shortageSchedule = schedule{first: 15 * time.Minute, factor: 1.5, ceiling: 48 * time.Minute}
)

// jitterShare is the largest random addition to a wait, as a share of it. It only adds: the schedule is a minimum.
const jitterShare = 0.25

// backoff counts failures in a row and says when the next attempt may start.
type backoff struct {
	schedule
	n  int
	at time.Time // zero: at once
}

// fail enters a failure and returns the wait that follows; u, uniform in [0, 1], is the share of the jitter.
func (b *backoff) fail(now time.Time, u float64) time.Duration {
	b.n++
	t := float64(b.first)
	for i := 1; i < b.n && t < float64(b.ceiling); i++ {
		t *= b.factor
	}
	wait := withJitter(time.Duration(min(t, float64(b.ceiling))), u)
	b.at = now.Add(wait)
	return wait
}

const (
	// unreachableMost is the longest wait after an attempt that reached nobody: there is nobody to spare, and service should
	// be back within half a minute of the network's return (row L05).
	unreachableMost = 10 * time.Second
	// silentMost is the same after requests that left this host and met silence while no source answers at all: the path is
	// more likely dead than the server, and the clock should be followed again within two minutes of its return.
	silentMost = time.Minute
)

// failUnreachable enters an attempt that reached nobody, and returns the wait that follows, most and jitter at the longest.
// It counts as a failure only as long as the schedule is below that.
func (b *backoff) failUnreachable(now time.Time, most time.Duration, u float64) time.Duration {
	n := b.n
	if wait := b.fail(now, u); wait < most {
		return wait
	}
	b.n = n
	wait := withJitter(most, u)
	b.at = now.Add(wait)
	return wait
}

// hurry lets the next attempt start now. The count of failures stays.
func (b *backoff) hurry(now time.Time) {
	if b.at.After(now) {
		b.at = now
	}
}

// succeed forgets the failures. For key exchanges that is an accepted reply to a request sealed with the new keys,
// not the end of the exchange (KC15).
func (b *backoff) succeed() { b.n, b.at = 0, time.Time{} }

// withJitter adds to a wait the share u of the largest jitter.
func withJitter(d time.Duration, u float64) time.Duration {
	return d + time.Duration(float64(d)*jitterShare*u)
}

// uniform draws a number from [0, 1]. A source of randomness that fails costs the jitter, nothing else.
func uniform(rnd io.Reader) float64 {
	var b [4]byte
	if _, err := io.ReadFull(rnd, b[:]); err != nil {
		return 1
	}
	return float64(binary.BigEndian.Uint32(b[:])) / math.MaxUint32
}
