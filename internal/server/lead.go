package server

import (
	"slices"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
)

const (
	// SendEvery is how many datagrams of a batch are answered before the answers leave: a transmit time ages while the
	// others of its group are worked on, but the way into the kernel and back leaves little of what the processor had learned about
	// our code. Groups of 8 cost 4 to 6 % more on one processor and nothing on another, of 32 as much as of 16.
	SendEvery = 16

	// maxLead is the longest lead that is believed: a worker that was not running for longer is no rule, and a queue in front
	// of the device can be filled by anybody.
	maxLead = time.Millisecond
	// leadSamples are as many as a lead is taken from: few enough to follow the load.
	leadSamples = 15
	// leadMinimum is how many samples there must be before a lead is added to anything.
	leadMinimum = 3
	// askEvery: one answer in so many is stamped, at less than a hundredth of the cost of answering. It is prime to
	// SendEvery, so that each place in a group has its turn.
	askEvery = 251
	// askAfter is how long no answer may go without any being stamped, so that a quiet server learns, too.
	askAfter = time.Second
	// stampsAwaited is how many stamps may be on their way at once.
	stampsAwaited = 16
	// LeadID is the least id that a Lead asks with; ids below belong to others.
	LeadID = 1 << 31
)

// leadKind tells what is done between the reading of the clock and the sending.
type leadKind uint8

const (
	leadPlain leadKind = iota
	leadSIV256
	leadSIV384
	leadSIV512
	leadGCMSIV

	leadKinds // how many
)

// leadKindOf is the kind of an answer that the algorithm seals.
func leadKindOf(a aead.Algorithm) leadKind {
	switch a {
	case aead.SIVCMAC256:
		return leadSIV256
	case aead.SIVCMAC384:
		return leadSIV384
	case aead.SIVCMAC512:
		return leadSIV512
	}
	return leadGCMSIV
}

// Lead learns how long after the reading of the clock an answer really leaves, and dates answers forward by that: the
// transmit time is written before the answer is sealed, waits for the others of its group and goes through the kernel.
// Of one answer in askEvery the kernel tells when it left. For each kind of sealing and each place in a group the lead
// is the first quartile of the latest samples that lie between zero (never before the reading) and maxLead, and nothing where
// most do not (docs/rules/server.md#transmit-time).
//
// It belongs to one worker and allocates nothing. The zero value adds nothing yet. A nil Lead never does.
type Lead struct {
	leads  [leadKinds][SendEvery]leadQuartile
	place  int         // of the next answer in its group
	latest pendingLead // the latest answer
	fresh  bool        // and Ask was not called for it yet
	since  int         // answers since one was asked for
	asked  ntp.Timestamp
	number uint32 // of the latest answer that was asked for
	ring   [stampsAwaited]pendingLead
}

// pendingLead is an answer whose stamp is on its way.
type pendingLead struct {
	id        uint32
	kind      leadKind
	place     uint8
	read, put ntp.Timestamp // the clock's reading, and the transmit time that the answer carries
}

// Place says which of its group the next answer is, counted from zero.
func (l *Lead) Place(i int) {
	if l != nil {
		l.place, l.fresh = min(max(i, 0), SendEvery-1), false
	}
}

// ahead returns the transmit time of an answer of that kind for which the clock was read just now.
func (l *Lead) ahead(kind leadKind, read ntp.Timestamp) ntp.Timestamp {
	if l == nil {
		return read
	}
	put := read.Add(l.leads[kind][l.place].lead)
	p := &l.latest
	p.id, p.kind, p.place, p.read, p.put = 0, kind, uint8(l.place), read, put
	l.fresh = true
	return put
}

// Ask reports whether the answer that was made since the last Place should be stamped, and with which id. One call for
// each answer.
func (l *Lead) Ask() (id uint32, ok bool) {
	if l == nil || !l.fresh {
		return 0, false
	}
	l.fresh = false
	l.since++
	if quiet := l.latest.read.Sub(l.asked); l.since < askEvery && quiet >= 0 && quiet < askAfter {
		return 0, false
	}
	l.since, l.asked = 0, l.latest.read
	l.number++
	l.latest.id = LeadID | l.number
	l.ring[l.number%stampsAwaited] = l.latest
	return l.latest.id, true
}

// Left takes the stamp of an answer that was asked for, on the steered clock, and returns how much later than its
// transmit time it left; not ok if nobody waits for it, or if the clock was set between the two.
func (l *Lead) Left(id uint32, at ntp.Timestamp) (miss time.Duration, ok bool) {
	if l == nil || id < LeadID {
		return 0, false
	}
	p := &l.ring[id%stampsAwaited]
	if p.id != id {
		return 0, false
	}
	p.id = 0
	took := at.Sub(p.read)
	if took < 0 || took > time.Second {
		return 0, false
	}
	l.leads[p.kind][p.place].add(took)
	return at.Sub(p.put), true
}

// leadQuartile is the first quartile of the latest samples up to maxLead.
type leadQuartile struct {
	lead    time.Duration              // zero with too few samples, or with too many beyond maxLead
	samples [leadSamples]time.Duration // those beyond maxLead, too
	n       int                        // samples so far, up to leadSamples
	next    int
}

func (q *leadQuartile) add(took time.Duration) {
	q.samples[q.next] = took
	q.next = (q.next + 1) % leadSamples
	q.n = min(q.n+1, leadSamples)
	if q.n < leadMinimum {
		return
	}
	sorted := q.samples
	slices.Sort(sorted[:q.n])
	believed := 0
	for believed < q.n && sorted[believed] <= maxLead {
		believed++
	}
	q.lead = 0
	if 2*believed > q.n {
		q.lead = sorted[(believed-1)/4]
	}
}
