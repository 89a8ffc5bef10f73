package source

import (
	"math"
	"math/bits"
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	// burstGap separates the requests of the start burst: the shortest headway that public servers accept by
	// default (ntpd "discard minimum 1").
	burstGap = 2 * time.Second
	// StartBurst is how many good replies a new source wants quickly, so that the first update of the clock comes
	// within 8 s: four requests two seconds apart (as chrony's iburst).
	StartBurst = 4
	// maxBurst caps the start burst at what chrony's iburst and the rate limiters of public servers allow.
	maxBurst = 8
	// settlingFirst is the first interval after the start burst, log2 s.
	settlingFirst ntp.PollExp = 2
	// settling4, settling8, settling16 and settling32 are how many intervals of 4, 8, 16 and 32 s follow the start burst. What is
	// known of the oscillator's frequency grows with the time that the samples span, so that an interval of a third of that time
	// costs no accuracy (docs/rules/client.md#start).
	settling4, settling8, settling16, settling32 = 3, 6, 20, 2
	settlingAll                                  = settling4 + settling8 + settling16 + settling32
	// sparingSettling is how many of those of 16 s they are content with who want few packets.
	sparingSettling = 16
	// settlingBelow is how far below the configured minimum these intervals may be, log2, unless they are settlingLong, and
	// settlingFor for how long after the first good reply. Then the minimum holds, however few of them have been.
	settlingBelow, settlingLong ntp.PollExp = 4, 6
	settlingFor                             = 400 * time.Second
	// urgentTries is how many requests are sent in the gap of a burst when nothing is known of the clock, until one is answered.
	urgentTries = 4
	// jitterLow and jitterSpan: an interval is lengthened by 1 to 5 %, so that clients that started together
	// do not stay together (C36; RFC 8633 §3.4; the same range as ntpd-rs).
	jitterLow, jitterSpan = 0.01, 0.04
	// rateRelief is how long a doubling that a RATE demanded lasts, counted from the RATE or the doubling undone before it;
	// a good reply then undoes it. From 2^4 s to 2^10 s are six doublings, all undone within an hour (docs/rules/client.md#rate-floor).
	rateRelief = 8 * time.Minute
	// goneMost is the longest interval, log2 s, at which a server that once answered and is silent now is asked, for the first
	// goneLong unanswered polls; then it is one longer (docs/rules/client.md#silence).
	goneMost ntp.PollExp = 6
	goneLong int         = 64
	// sparing is the least configured minimum, log2 s, of those who want few packets: they ask a silent server up to their maximum.
	sparing ntp.PollExp = 6
	// denyFirst and denyMost are the shortest and longest intervals, log2 s, of a server that sent a DENY without
	// authentication: anyone on the path may have written it, so that it slows us down for minutes, never for hours
	// (docs/rules/client.md#plain-denial).
	denyFirst, denyMost ntp.PollExp = 6, 9
	// quickRetries is how many unanswered polls are repeated at the shortest interval, so that a server that stopped
	// is noticed within minutes; after that the exponent grows by one for every retriesPerStep polls.
	// Who wants few packets lets it grow with every sparingPerStep.
	quickRetries, retriesPerStep, sparingPerStep = 8, 4, 1
	// lossyPath of the eight polls before, or lossyLong of the sixteen, went unanswered on a path that loses packets now and then. There
	// the first lossyRetries unanswered ones mean nothing, and are not repeated any sooner.
	lossyPath, lossyLong, lossyRetries = 2, 3, 7
)

// pollRate decides the interval between polls:
//
//	next poll = latest poll + interval × (1.01 … 1.05)
//	interval  = min(burstGap, 2^min)                                while the start burst lasts
//	          = min(2^2 … 2^5, 2^desired)                           after it, growing, while replies come (settling4 …); at least
//	                                                                2^(min - settlingBelow) or 2^6, and 2^min after settlingFor
//	          = 2^desired                                           the wish of the system process
//	          = 2^min                                               while 1 to quickRetries polls are unanswered, on a path that
//	                                                                loses packets while more than lossyRetries are
//	          = 2^(min + (unanswered - quickRetries)/retriesPerStep) after that, for a server that once answered at most
//	            2^gone, see there; sparing ones have their own step
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
	began    time.Time   // of the poll that had the first of them
	adrift   bool        // nothing has been known of the clock since the last good reply: it waits for the next one
	history  uint32      // of the polls, the latest in the lowest bit: 1 for a good reply, and before the first poll

	burstGood  int // good replies still wanted quickly
	burstTries int // requests still allowed for that
	settling   int // requests sent since the burst, at most settlingAll

	last   time.Time // of the latest poll; zero before the first
	jitter uint32    // random number drawn with the latest poll, uniform
}

func newPollRate(c Config) pollRate {
	good := min(max(c.Burst, 0), maxBurst)
	p := pollRate{
		min: c.PollMin, max: c.PollMax, floor: c.PollMin,
		desired:   min(max(c.PollInitial, c.PollMin), c.PollMax),
		burstGood: good, burstTries: burstTries(good), history: math.MaxUint32,
	}
	if good == 0 {
		p.settling = settlingAll
	}
	return p
}

// burstTries is how many requests a burst may take: half of them may be lost.
func burstTries(good int) int { return 2 * min(max(good, 0), maxBurst) }

func (p *pollRate) bursting() bool { return p.burstGood > 0 && p.burstTries > 0 && p.denials == 0 }

// exp is the interval in force, given how many polls in a row went unanswered.
func (p *pollRate) exp(unanswered int) ntp.PollExp {
	want := p.desired
	switch {
	case unanswered > quickRetries:
		step := retriesPerStep
		if p.spares() {
			step = sparingPerStep
		}
		want = p.min + ntp.PollExp(min((unanswered-quickRetries)/step, int(ntp.MaxPollExp)))
		if p.answered {
			want = min(want, p.gone(unanswered))
		}
	case unanswered > lossyRetries, unanswered > 0 && !p.lossy(unanswered):
		want = p.min
	}
	return max(min(max(want, p.floor, p.min), p.max), p.denied())
}

// lossy reports whether the path lost packets before the latest polls, which went unanswered, too.
func (p *pollRate) lossy(unanswered int) bool {
	lost := ^(p.history >> unanswered)
	return bits.OnesCount8(uint8(lost)) >= lossyPath || bits.OnesCount16(uint16(lost)) >= lossyLong
}

// spares reports whether the configuration and the state of the clock allow rare polls of a silent server.
func (p *pollRate) spares() bool { return p.answered && p.min >= sparing && !p.adrift }

// gone is the longest interval at which a server that once answered is asked while it is silent.
func (p *pollRate) gone(unanswered int) ntp.PollExp {
	switch {
	case p.spares():
		return p.max
	case unanswered > goneLong && !p.adrift:
		return goneMost + 1
	}
	return goneMost
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
	exp := p.exp(unanswered)
	if unanswered == 0 && p.answered && p.floor == p.min && p.denials == 0 {
		exp = min(exp, p.settlingExp())
	}
	return p.jittered(exp.Duration())
}

// settlingExp is the interval of the time after the start burst, MaxPollExp once that is over.
func (p *pollRate) settlingExp() ntp.PollExp {
	n, sixteens, least := p.settling, settling16, min(p.min-settlingBelow, settlingLong)
	if p.last.Sub(p.began) >= settlingFor {
		least = p.min
	}
	if p.min >= sparing {
		sixteens = sparingSettling
	}
	for i, gaps := range [...]int{settling4, settling8, sixteens, settling32} {
		if n < gaps {
			return max(settlingFirst+ntp.PollExp(i), least)
		}
		n -= gaps
	}
	return ntp.MaxPollExp
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

// urge asks for one good reply quickly, unless the server wants to be asked less.
func (p *pollRate) urge() {
	p.adrift = true
	if p.denials > 0 || p.floor > p.min {
		return
	}
	p.burstGood, p.burstTries = max(p.burstGood, 1), max(p.burstTries, urgentTries)
}

func (p *pollRate) polled(now time.Time) {
	p.history <<= 1
	p.last = now
	if p.answered && !p.bursting() {
		p.settling = min(p.settling+1, settlingAll)
	}
	p.burstTries = max(p.burstTries-1, 0)
}

// accepted counts a good reply: a DENY was not meant, and of the doublings that RATE demanded one is undone for each
// rateRelief that has passed.
func (p *pollRate) accepted(now time.Time) {
	p.history |= 1
	p.burstGood = max(p.burstGood-1, 0)
	if p.burstTries == 0 && p.burstGood > 0 { // the tries were spent before the server could be reached
		p.burstTries = burstTries(p.burstGood)
	}
	if !p.answered {
		p.began = p.last
	}
	p.answered, p.adrift, p.denials = true, false, 0
	for p.floor > p.min && now.Sub(p.moved) >= rateRelief {
		p.floor--
		p.moved = p.moved.Add(rateRelief)
	}
}

// rated handles a RATE: the burst and what follows it end, and the interval that was in force at least doubles, whatever the packet's
// poll field says (C14, C16).
func (p *pollRate) rated(now time.Time, used ntp.PollExp) {
	p.burstGood, p.settling = 0, settlingAll
	p.moved = now
	p.floor = min(max(p.floor, used, p.min)+1, p.max)
}

func (p *pollRate) advise(want ntp.PollExp) { p.desired = min(max(want, p.min), p.max) }
