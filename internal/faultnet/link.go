package faultnet

import (
	"math"
	"math/rand/v2"
	"time"
)

// Shape is a distribution of extra delay.
type Shape uint8

// The shapes, with what Jitter.Scale means for them.
const (
	Uniform     Shape = iota // −Scale … +Scale
	Normal                   // standard deviation
	Exponential              // mean, never negative: a queue
	Pareto                   // heavy tail: least value Scale/2, shape 1.5, cut off at 100·Scale
	Bursts                   // nothing, but one packet in ten is late by Scale
)

// Jitter is random delay added to Link.Delay; the sum is never below zero.
type Jitter struct {
	Shape Shape
	Scale time.Duration
}

const (
	paretoShape = 1.5
	paretoCut   = 100
	burstShare  = 0.1
)

// Link is one direction of a path. The zero value is a perfect wire. Loss, Duplicate, Reorder and Corrupt are
// probabilities and hit UDP only, so that a key exchange gets through; set All to hit TCP and ICMP too.
type Link struct {
	Delay     time.Duration
	Jitter    Jitter
	Loss      float64
	Duplicate float64       // the copy comes up to CopyWithin later
	Reorder   float64       // the packet is held back by HoldBack, so that later ones overtake it
	Corrupt   float64       // one bit of the transport payload is flipped …
	FixSum    bool          // … and the checksum made right, so that the packet arrives damaged
	Rate      int           // bytes per second; 0: no limit
	Queue     time.Duration // what the queue before a rate limit holds; the rest is dropped. 0: 100 ms
	MTU       int           // longer packets are cut, or refused with ICMP "fragmentation needed"; 0: no limit
	MaxNTP    int           // NTP payloads longer than this vanish, as on paths that fear amplification; 0: no limit
	Dark      bool          // nothing passes
	All       bool
}

const (
	// CopyWithin is the longest time between a packet and its duplicate.
	CopyWithin = 20 * time.Millisecond
	// HoldBack is what a reordered packet loses against those behind it.
	HoldBack     = 50 * time.Millisecond
	defaultQueue = 100 * time.Millisecond
)

// fate is what happens to one packet.
type fate struct {
	drop      bool
	delay     time.Duration
	copyAfter time.Duration // a duplicate follows that much later; 0: none
	flip      uint64        // bit to flip, modulo the size of the payload
	corrupt   bool
}

// dice draws the fates of one flow.
type dice struct {
	*rand.Rand
	free time.Time // when the rate-limited wire is idle again
}

func newDice(seed, stream uint64) *dice { return &dice{Rand: rand.New(rand.NewPCG(seed, stream))} }

// next draws the fate of a packet. It takes eight draws whatever the link is like, so that the fates of the packets
// behind it do not depend on its settings.
func (d *dice) next(l *Link) fate {
	var u [7]float64
	for i := range u {
		u[i] = d.Float64()
	}
	f := fate{flip: d.Uint64()}
	f.drop = u[0] < l.Loss
	f.delay = l.Delay + l.Jitter.draw(u[1], u[2])
	if u[3] < l.Reorder {
		f.delay += HoldBack
	}
	if u[4] < l.Duplicate {
		f.copyAfter = 1 + time.Duration(u[5]*float64(CopyWithin))
	}
	f.corrupt = u[6] < l.Corrupt
	f.delay = max(f.delay, 0)
	return f
}

// queue is how long a packet of n bytes waits for a rate-limited wire; false if the queue is full.
func (d *dice) queue(l *Link, now time.Time, n int) (time.Duration, bool) {
	if l.Rate <= 0 {
		return 0, true
	}
	limit := l.Queue
	if limit == 0 {
		limit = defaultQueue
	}
	start := now
	if d.free.After(now) {
		start = d.free
	}
	if start.Sub(now) > limit {
		return 0, false
	}
	d.free = start.Add(time.Duration(float64(n) / float64(l.Rate) * float64(time.Second)))
	return d.free.Sub(now), true
}

// draw turns two uniform numbers in [0, 1) into a delay.
func (j Jitter) draw(u, v float64) time.Duration {
	x := 0.0
	switch j.Shape {
	case Uniform:
		x = 2*u - 1
	case Normal:
		x = math.Sqrt(-2*math.Log(1-u)) * math.Cos(2*math.Pi*v)
	case Exponential:
		x = -math.Log(1 - u)
	case Pareto:
		x = min(0.5*math.Pow(1-u, -1/paretoShape), paretoCut)
	case Bursts:
		if u < burstShare {
			x = 1
		}
	}
	return time.Duration(x * float64(j.Scale))
}
