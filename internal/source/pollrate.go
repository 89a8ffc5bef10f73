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
	// decayAfter is how many good replies in a row undo one doubling that a RATE demanded.
	decayAfter = 64
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
//	          = 2^(min + (unanswered - quickRetries)/retriesPerStep) after that
//
// The exponent is never below floor, which a RATE kiss raises (RFC 5905 §7.4) and good replies lower again, and always
// within the configured min … max.
type pollRate struct {
	min, max ntp.PollExp // configured limits
	desired  ntp.PollExp // by the system process
	floor    ntp.PollExp // demanded by the server through RATE; min without
	good     int         // good replies since the floor last moved

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

func (p *pollRate) bursting() bool { return p.burstGood > 0 && p.burstTries > 0 }

// exp is the interval in force, given how many polls in a row went unanswered.
func (p *pollRate) exp(unanswered int) ntp.PollExp {
	want := p.desired
	switch {
	case unanswered > quickRetries:
		grown := min((unanswered-quickRetries)/retriesPerStep, int(ntp.MaxPollExp))
		want = p.min + ntp.PollExp(grown)
	case unanswered > 0:
		want = p.min
	}
	return min(max(want, p.floor, p.min), p.max)
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

// least is the shortest time between two polls, by what the server asked for with RATE.
func (p *pollRate) least() time.Duration {
	if p.floor > p.min {
		return p.floor.Duration()
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

// answered counts a good reply; a floor set by RATE is lowered by one step after decayAfter of them.
func (p *pollRate) answered() {
	p.burstGood = max(p.burstGood-1, 0)
	if p.burstTries == 0 && p.burstGood > 0 { // the tries were spent before the server could be reached
		p.burstTries = burstTries(p.burstGood)
	}
	p.good++
	if p.good >= decayAfter {
		p.good = 0
		p.floor = max(p.floor-1, p.min)
	}
}

// rated handles a RATE: the burst ends and the interval that was in force at least doubles, whatever the packet's
// poll field says (C14, C16).
func (p *pollRate) rated(used ntp.PollExp) {
	p.burstGood = 0
	p.good = 0
	p.floor = min(max(p.floor, used, p.min)+1, p.max)
}

func (p *pollRate) advise(want ntp.PollExp) { p.desired = min(max(want, p.min), p.max) }
