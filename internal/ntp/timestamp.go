package ntp

import (
	"math"
	"math/bits"
	"time"
)

// unixEpoch is the NTP time of 1970-01-01 in seconds of era 0 (RFC 5905 figure 4).
const unixEpoch = 2208988800

// nanosPerSecond spells the unit out where an untyped constant is wanted.
const nanosPerSecond = 1_000_000_000

// Timestamp is a reading of a steerable clock: 32.32 fixed point seconds since 1900, era-less, wrapping
// every 2^32 s (RFC 5905 §6). The zero value means "unknown". Never mix it with a Local or a time.Time.
type Timestamp uint64

// IsZero reports whether the timestamp is the "unknown" value.
func (t Timestamp) IsZero() bool { return t == 0 }

// Sub returns t-u. It is right while the two are less than 68 years apart, whatever their eras
// (RFC 5905 §6: the first-order difference of wrapping timestamps). Resolution 1 ns, rounded to nearest.
func (t Timestamp) Sub(u Timestamp) time.Duration {
	d := int64(t - u)
	neg := d < 0
	m := uint64(d)
	if neg {
		m = -m
	}
	hi, lo := bits.Mul64(m, nanosPerSecond)
	lo, carry := bits.Add64(lo, 1<<31, 0)
	n := (hi+carry)<<32 | lo>>32
	if neg {
		return -time.Duration(n)
	}
	return time.Duration(n)
}

// Add returns t+d, wrapping at the era boundary. Resolution 2^-32 s, rounded to nearest.
func (t Timestamp) Add(d time.Duration) Timestamp {
	neg := d < 0
	m := uint64(d)
	if neg {
		m = -m
	}
	sec, ns := m/nanosPerSecond, m%nanosPerSecond
	frac := (ns<<32 + nanosPerSecond/2) / nanosPerSecond
	v := Timestamp(sec<<32 + frac)
	if neg {
		return t - v
	}
	return t + v
}

// Before reports whether t is earlier than u, for readings less than 68 years apart.
func (t Timestamp) Before(u Timestamp) bool { return int64(t-u) < 0 }

// FromUnix converts seconds and nanoseconds since 1970 as the kernel counts them; nsec must be in [0, 1e9).
func FromUnix(sec, nsec int64) Timestamp {
	frac := (uint64(nsec)<<32 + nanosPerSecond/2) / nanosPerSecond
	return Timestamp(uint64(sec+unixEpoch)<<32 + frac)
}

// FromTime converts a wall-clock reading; the era is dropped.
func FromTime(t time.Time) Timestamp { return FromUnix(t.Unix(), int64(t.Nanosecond())) }

// Time returns the moment closest to pivot that has this timestamp: within 68 years of it on either side.
// The pivot of the suite is the build date (row C33), so that an era is never guessed from a
// clock that may be wrong.
func (t Timestamp) Time(pivot time.Time) time.Time {
	d := FromTime(pivot).until(t)
	return pivot.Truncate(0).Add(d)
}

// until is the signed distance from t to u at full range.
func (t Timestamp) until(u Timestamp) time.Duration { return u.Sub(t) }

// Short is a 16.16 fixed point duration in seconds, as root delay and root dispersion travel (RFC 5905 §6).
type Short uint32

// Duration converts to nanoseconds, rounded to nearest.
func (s Short) Duration() time.Duration {
	return time.Duration((uint64(s)*nanosPerSecond + 1<<15) >> 16)
}

// ShortFrom converts a duration, rounding up so that an error bound never shrinks; negative becomes 0 and
// what does not fit becomes the largest value.
func ShortFrom(d time.Duration) Short {
	if d <= 0 {
		return 0
	}
	sec, ns := uint64(d)/nanosPerSecond, uint64(d)%nanosPerSecond
	v := sec<<16 + (ns<<16+nanosPerSecond-1)/nanosPerSecond
	if v > math.MaxUint32 {
		return math.MaxUint32
	}
	return Short(v)
}
