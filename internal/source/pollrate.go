package source

import (
	"math"
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	// burstGap separates the requests of the start burst: the shortest headway that public servers accept by
	// default (ntpd "discard minimum 1").
	burstGap = 2 * time.Second
	// maxBurst caps the start burst at what chrony's iburst and the rate limiters of public servers allow.
	maxBurst = 8
	// jitterLow and jitterSpan: an interval is lengthened by 1 to 5 %, so that clients that started together
	// do not stay together (C36; RFC 8633 §3.4; the same range as ntpd-rs).
	jitterLow, jitterSpan = 0.01, 0.04
	// rateRelief is how long a doubling that a RATE demanded lasts, counted from the RATE or the doubling undone before it;
	// a good reply then undoes it. From 2^4 s to 2^10 s are six doublings, all undone within an hour (docs/rules/client.md#rate-floor).
	rateRelief = 8 * time.Minute
	// goneMost is the longest interval, log2 s, at which a server that once answered and is silent now is asked, unless the
	// configured minimum is longer: when the network is back after hours, the clock is followed again within two minutes.
	goneMost ntp.PollExp = 6
	// denyFirst and denyMost are the shortest and longest intervals, log2 s, of a server that sent a DENY without
	// authentication: anyone on the path may have written it, so that it slows us down for minutes, never for hours
	// (docs/rules/client.md#plain-denial).
	denyFirst, denyMost ntp.PollExp = 6, 9
	// quickRetries is how many unanswered polls are repeated at the shortest interval, so that a server that stopped
	// is noticed within minutes; after that the exponent grows by one for every retriesPerStep polls.
	quickRetries, retriesPerStep = 8, 4
)

// pollRate decides the interval between polls:
//
//	next poll = latest poll + interval × (1.01 … 1.05)
//	interval  = min(burstGap, 2^min)                                while the start burst lasts
//	          = 2^desired                                           the wish of the system process
//	          = 2^min                                               while 1 to quickRetries polls are unanswered
//	          = 2^(min + (unanswered - quickRetries)/retriesPerStep) after that, for a server that once answered at most
//	            2^max(goneMost, min)
//
// The exponent is never below floor, which a RATE kiss raises (RFC 5905 §7.4) and good replies lower again, and always
// within the configured min … max. While a confirmed plain DENY stands it is at least denyFirst and doubles with each further one
// up to denyMost, whatever max is.
type pollRate struct {
	min, max ntp.PollExp // configured limits
	desired  ntp.PollExp // by the system process
	floor    ntp.PollExp // demanded by the server through RATE; min without
	moved    time.Time   // when the floor was raised, or would have been lowered had there been a good reply
	denials  int         // plain DENY or RSTR since the last good reply, counted from the one that was confirmed
	answered bool        // there was a good reply, ever

	burstGood  int // good replies still wanted quickly
	burstTries int // requests still allowed for that

	last   time.Time // of the latest poll; zero before the first
	jitter uint32    // random number drawn with the latest poll, uniform
}

func newPollRate(c Config) pollRate {
	good := min(max(c.Burst, 0), maxBurst)
	return pollRate{
		min: c.PollMin, max: c.PollMax, floor: c.PollMin,
		desired:   min(max(c.PollInitial, c.PollMin), c.PollMax),
		burstGood: good, burstTries: burstTries(good),
	}
}

// burstTries is how many requests a burst may take: half of them may be lost.
func burstTries(good int) int { return 2 * min(max(good, 0), maxBurst) }

func (p *pollRate) bursting() bool { return p.burstGood > 0 && p.burstTries > 0 && p.denials == 0 }

// exp is the interval in force, given how many polls in a row went unanswered.
func (p *pollRate) exp(unanswered int) ntp.PollExp {
	want := p.desired
	switch {
	case unanswered > quickRetries:
		grown := min((unanswered-quickRetries)/retriesPerStep, int(ntp.MaxPollExp))
		want = p.min + ntp.PollExp(grown)
		if p.answered {
			want = min(want, goneMost)
		}
	case unanswered > 0:
		want = p.min
	}
	return max(min(max(want, p.floor, p.min), p.max), p.denied())
}

// denied is the least interval that a plain DENY leaves, MinPollExp without one.
func (p *pollRate) denied() ntp.PollExp {
	if p.denials == 0 {
		return ntp.MinPollExp
	}
	return min(denyFirst+ntp.PollExp(min(p.denials-1, int(denyMost))), denyMost)
}

// interval is the time from the latest poll to the next.
func (p *pollRate) interval(unanswered int) time.Duration {
	if p.bursting() {
		return p.jittered(p.gap())
	}
	return p.jittered(p.exp(unanswered).Duration())
}

// gap is the shortest time between two polls of a server that sent no RATE.
func (p *pollRate) gap() time.Duration { return min(burstGap, p.min.Duration()) }

// least is the shortest time between two polls, by what the server asked for with RATE or DENY.
func (p *pollRate) least() time.Duration {
	if p.floor > p.min || p.denials > 0 {
		return max(p.floor, p.denied()).Duration()
	}
	return p.jittered(p.gap())
}

// jittered lengthens d by the jitter drawn with the latest poll.
func (p *pollRate) jittered(d time.Duration) time.Duration {
	share := float64(p.jitter) / math.MaxUint32 // 0 to 1
	return d + time.Duration(float64(d)*(jitterLow+jitterSpan*share))
}

func (p *pollRate) polled(now time.Time) {
	p.last = now
	p.burstTries = max(p.burstTries-1, 0)
}

// accepted counts a good reply: a DENY was not meant, and of the doublings that RATE demanded one is undone for each
// rateRelief that has passed.
func (p *pollRate) accepted(now time.Time) {
	p.burstGood = max(p.burstGood-1, 0)
	if p.burstTries == 0 && p.burstGood > 0 { // the tries were spent before the server could be reached
		p.burstTries = burstTries(p.burstGood)
	}
	p.answered, p.denials = true, 0
	for p.floor > p.min && now.Sub(p.moved) >= rateRelief {
		p.floor--
		p.moved = p.moved.Add(rateRelief)
	}
}

// rated handles a RATE: the burst ends and the interval that was in force at least doubles, whatever the packet's
// poll field says (C14, C16).
func (p *pollRate) rated(now time.Time, used ntp.PollExp) {
	p.burstGood = 0
	p.moved = now
	p.floor = min(max(p.floor, used, p.min)+1, p.max)
}

func (p *pollRate) advise(want ntp.PollExp) { p.desired = min(max(want, p.min), p.max) }
