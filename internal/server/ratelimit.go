package server

import (
	"math/bits"
	"net/netip"
	"sync/atomic"
	"time"

	"ntp-daemon/internal/ntp"
)

// RateLimit are the settings of a RateLimiter.
type RateLimit struct {
	// Prefixes is how many prefixes are remembered, rounded up to a power of two; 8 bytes each. 0 switches the
	// limiter off.
	Prefixes int
	// Interval is the mean time between requests that a prefix is granted. 0 switches the limiter off.
	Interval time.Duration
	// Burst is how many requests may come at once after a pause; below 1 means 1.
	Burst int
	// Seed makes the table's order unpredictable; random for each start (ROS NTP-038).
	Seed [2]uint64
}

// Limits of the settings, so that the arithmetic below cannot overflow.
const (
	maxPrefixes = 1 << 24 // 128 MiB
	maxInterval = 1 << 17 * time.Second
	maxBurst    = 1 << 10
	maxReach    = timeMask / 4
)

// RateLimiter is a token bucket for each prefix in a table of fixed size, shared by the workers of one listen
// address. A prefix is an IPv4 address or an IPv6 /64, never a port.
//
// A slot is one word: a tag of the prefix in the high 28 bits and in the low 36 bits the time at which its
// bucket will be full again ("theoretical arrival time" of the generic cell rate algorithm), in ticks. An empty
// slot is zero. Time is the steered clock's, because it arrives with the datagram; a step of that clock costs a
// prefix at most one full bucket or grants it one.
type RateLimiter struct {
	slots    []atomic.Uint64
	seed     [2]uint64
	interval uint64 // ticks
	reach    uint64 // ticks that a bucket may be drained ahead: (Burst-1) * interval
	strict   bool   // a crowded set turns new prefixes away instead of forgetting an old one
}

const (
	ways      = 4  // slots that a prefix may sit in: a forged crowd must hit all four to push one out
	tickShift = 22 // of a Timestamp: a tick is 2^-10 s
	timeBits  = 36 // two years of ticks
	timeMask  = 1<<timeBits - 1
	// disorder is how late, in ticks, a worker may be with a datagram that waited in its socket (1 s). A bucket
	// that seems drained further than that was filled before a backward step of the clock.
	disorder = 1 << 10
)

// NewRateLimiter returns the limiter, nil if it is switched off.
func NewRateLimiter(c RateLimit) *RateLimiter {
	if c.Prefixes <= 0 || c.Interval <= 0 {
		return nil
	}
	n := max(min(c.Prefixes, maxPrefixes), ways)
	n = 1 << bits.Len(uint(n-1))
	interval := ticks(min(c.Interval, maxInterval))
	return &RateLimiter{
		slots:    make([]atomic.Uint64, n),
		seed:     c.Seed,
		interval: interval,
		reach:    min(interval*uint64(min(max(c.Burst, 1), maxBurst)-1), maxReach),
	}
}

// NewKissLimiter returns the limiter for RATE kisses: one for each prefix and second (S16). When a crowd fills
// its table, who is not yet in it gets no kiss, so that the bound holds under a flood, too.
func NewKissLimiter(prefixes int, seed [2]uint64) *RateLimiter {
	l := NewRateLimiter(RateLimit{Prefixes: prefixes, Interval: time.Second, Seed: seed})
	if l != nil {
		l.strict = true
	}
	return l
}

// poll is the shortest poll interval that the limiter always lets pass.
func (l *RateLimiter) poll() int8 {
	if l == nil {
		return 0
	}
	return int8(bits.Len64(l.interval-1)) - 10
}

// ticks converts a duration, rounded up to at least one.
func ticks(d time.Duration) uint64 {
	return max(uint64((d<<10+time.Second-1)/time.Second), 1)
}

// Limited takes a token for the prefix of addr at clock reading now and reports whether there was none. A nil
// limiter limits nobody.
func (l *RateLimiter) Limited(addr netip.Addr, now ntp.Timestamp) bool {
	if l == nil {
		return false
	}
	family, value := prefix(addr)
	h := siphash(l.seed, family, value)
	set := l.slots[h&uint64(len(l.slots)-1)&^(ways-1):][:ways]
	tag := h >> timeBits << timeBits
	t := uint64(now) >> tickShift & timeMask
	for range ways { // a lost race is tried again; who loses them all meets a flood from this prefix
		i, old := l.find(set, tag, t)
		full, held := t, old&^timeMask == tag && old != 0
		if held {
			full = t + l.ahead(old, t)
		} else if l.strict && l.ahead(old, t) > 0 {
			return true
		}
		if full-t > l.reach {
			return true
		}
		word := tag | (full+l.interval)&timeMask
		if word == 0 {
			word = 1
		}
		if set[i].CompareAndSwap(old, word) {
			return false
		}
	}
	return true
}

// ahead is how many ticks after t the bucket of word will be full; 0 if it is. More than a bucket can hold
// means that the clock was stepped back: the bucket starts anew.
func (l *RateLimiter) ahead(word, t uint64) uint64 {
	d := (word - t) & timeMask
	if d > l.reach+l.interval+disorder {
		return 0
	}
	return d
}

// find returns the prefix's slot, or the slot to give up for it: the one whose bucket is fullest.
func (l *RateLimiter) find(set []atomic.Uint64, tag, t uint64) (index int, word uint64) {
	least := ^uint64(0)
	for i := range set {
		w := set[i].Load()
		if w != 0 && w&^timeMask == tag {
			return i, w
		}
		d := uint64(0)
		if w != 0 {
			d = 1 + l.ahead(w, t)
		}
		if d < least {
			least, index, word = d, i, w
		}
	}
	return index, word
}

// prefix is the part of an unmapped address that counts as one client.
func prefix(a netip.Addr) (family, value uint64) {
	if a.Is4() {
		b := a.As4()
		return 4, uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
	}
	b := a.As16()
	for _, x := range b[:8] {
		value = value<<8 | uint64(x)
	}
	return 6, value
}

// siphash is SipHash-1-3 of the two words: a hash that nobody without the seed can aim at one set.
func siphash(seed [2]uint64, a, b uint64) uint64 {
	v0, v1 := seed[0]^0x736f6d6570736575, seed[1]^0x646f72616e646f6d
	v2, v3 := seed[0]^0x6c7967656e657261, seed[1]^0x7465646279746573
	round := func() {
		v0 += v1
		v2 += v3
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v1
		v0 += v3
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 = bits.RotateLeft64(v2, 32)
	}
	for _, m := range [...]uint64{a, b, 16 << 56} {
		v3 ^= m
		round()
		v0 ^= m
	}
	v2 ^= 0xff
	round()
	round()
	round()
	return v0 ^ v1 ^ v2 ^ v3
}
