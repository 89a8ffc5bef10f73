package loadgen

import (
	"math/rand/v2"
	"time"
)

// place is one request of the table, or the one that had the place before.
type place struct {
	transmit uint64 // random, with the place's number in the low bits: a basic answer returns it
	receive  uint64 // as transmit, other than it, in an interleaved request, whose answer returns it; else 0
	server   uint64 // receive stamp of the latest answer, which an interleaved request returns; 0: there was none
	sent     time.Duration
	open     bool // no answer yet
}

// places is the table of requests. Its size, a power of two, is larger than what can be under way. A place that is used
// again while its request is open has lost that request.
type places struct {
	list   []place
	random *rand.PCG
	next   uint64
}

func newPlaces(size int, seed uint64) *places {
	return &places{list: make([]place, size), random: rand.NewPCG(seed, seed)}
}

// stamp is a random stamp of the place with this number, never 0.
func (p *places) stamp(number uint64) uint64 {
	low := uint64(len(p.list) - 1)
	if s := p.random.Uint64()&^low | number; s != 0 {
		return s
	}
	return low + 1
}

// take uses the next place for a basic request with this transmit stamp, 0 for a random one.
func (p *places) take(now time.Duration, transmit uint64) *place {
	number := p.next & uint64(len(p.list)-1)
	p.next++
	if transmit == 0 {
		transmit = p.stamp(number)
	}
	pl := &p.list[number]
	pl.transmit, pl.receive, pl.sent, pl.open = transmit, 0, now, true
	return pl
}

// interleave makes the request of a place that had an answer before an interleaved one (RFC 9769 §2): it returns the server's
// receive stamp, and its receive and transmit stamps differ.
func (p *places) interleave(pl *place) {
	if pl.server == 0 {
		return
	}
	number := pl.transmit & uint64(len(p.list)-1)
	for pl.receive == 0 || pl.receive == pl.transmit {
		pl.receive = p.stamp(number)
	}
}

// match is what an origin stamp says of its answer.
type match uint8

const (
	unmatched   match = iota // nobody asked that, or long ago
	repeated                 // it has had its answer
	basic                    // it returns the transmit stamp
	interleaved              // it returns the receive stamp
)

// find returns the request that an answer with this origin stamp belongs to, nil if there is none.
func (p *places) find(origin uint64) (*place, match) {
	pl := &p.list[origin&uint64(len(p.list)-1)]
	m := unmatched
	switch {
	case origin == 0:
		return nil, unmatched
	case origin == pl.transmit:
		m = basic
	case origin == pl.receive:
		m = interleaved
	default:
		return nil, unmatched
	}
	if !pl.open {
		return pl, repeated
	}
	return pl, m
}
