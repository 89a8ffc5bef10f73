package ntp

import "time"

// PollExp is a poll interval as log2 seconds.
type PollExp int8

// Bounds of a poll exponent that anyone may choose: 2^-6 s (15.6 ms) to 2^17 s (RFC 5905 §7.2 MAXPOLL).
const (
	MinPollExp PollExp = -6
	MaxPollExp PollExp = 17
)

// Clamp returns the exponent limited to what the suite accepts from anyone.
func (p PollExp) Clamp() PollExp { return min(max(p, MinPollExp), MaxPollExp) }

// Duration returns 2^p seconds of the clamped exponent.
func (p PollExp) Duration() time.Duration {
	p = p.Clamp()
	if p < 0 {
		return time.Second >> uint(-p)
	}
	return time.Second << uint(p)
}

// PrecisionExp is a clock precision as log2 seconds, as it travels in a packet.
type PrecisionExp int8

// Duration returns 2^p seconds with p clamped to [-31, 0]; hostile values cannot make a loop or overflow (C12).
func (p PrecisionExp) Duration() time.Duration {
	p = min(max(p, -31), 0)
	return max(time.Second>>uint(-p), 1)
}
