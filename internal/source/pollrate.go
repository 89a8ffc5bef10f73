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
	// jitterLow and jitterSpan: an interval is stretched by 1 to 5 %, so that clients that started together
	// drift apart (C36; RFC 8633 §3.4; the same spread as ntpd-rs).
	jitterLow, jitterSpan = 0.01, 0.04
	// decayAfter is how many good replies in a row undo one doubling that a RATE demanded.
	decayAfter = 64
	// eagerPolls is how many unanswered polls are repeated at the shortest interval, to notice a dead server in
	// minutes; after that the interval grows one step per slackPolls.
	eagerPolls, slackPolls = 8, 4
)

// pollRate decides the interval between polls.
type pollRate struct {
	min, max ntp.PollExp // configured limits
	desired  ntp.PollExp // wish of the system process
	floor    ntp.PollExp // demanded by the server through RATE; min without
	good     int         // good replies since the floor last moved

	burstGood  int // good replies still wanted quickly
	burstTries int // requests still allowed for that

	last   time.Time // of the latest poll; zero before the first
	jitter uint32    // luck of the latest poll
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
	case unanswered > eagerPolls:
		grown := min((unanswered-eagerPolls)/slackPolls, int(ntp.MaxPollExp))
		want = p.min + ntp.PollExp(grown)
	case unanswered > 0:
		want = p.min
	}
	return min(max(want, p.floor, p.min), p.max)
}

// interval is the time from the latest poll to the next.
func (p *pollRate) interval(unanswered int) time.Duration {
	if p.bursting() {
		return p.stretch(p.gap())
	}
	return p.stretch(p.exp(unanswered).Duration())
}

// gap is the shortest time between two polls that we grant ourselves.
func (p *pollRate) gap() time.Duration { return min(burstGap, p.min.Duration()) }

// least is the shortest time between two polls that the server grants us.
func (p *pollRate) least() time.Duration {
	if p.floor > p.min {
		return p.floor.Duration()
	}
	return p.stretch(p.gap())
}

// stretch adds the jitter drawn with the latest poll.
func (p *pollRate) stretch(d time.Duration) time.Duration {
	luck := float64(p.jitter) / math.MaxUint32
	return d + time.Duration(float64(d)*(jitterLow+jitterSpan*luck))
}

func (p *pollRate) polled(now time.Time) {
	p.last = now
	p.burstTries = max(p.burstTries-1, 0)
}

// answered counts a good reply; a floor set by RATE sinks by one step after many (ntpd-rs.md defect 13).
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

// rated obeys a RATE: the burst is over and the interval that provoked it at least doubles, whatever the packet's
// poll field says (C14, C16).
func (p *pollRate) rated(used ntp.PollExp) {
	p.burstGood = 0
	p.good = 0
	p.floor = min(max(p.floor, used, p.min)+1, p.max)
}

func (p *pollRate) advise(want ntp.PollExp) { p.desired = min(max(want, p.min), p.max) }
