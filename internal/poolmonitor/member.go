package poolmonitor

import (
	"slices"
	"time"

	"ntp-daemon/internal/nts/aead"
)

// Attempt is what one probe of a time source brought: one key exchange, as the pool makes it for a user, and with its
// cookies two exchanges of time over each family that was asked for.
type Attempt struct {
	Member     string
	Algorithm  aead.Algorithm   // of the cookies; 0: none was chosen
	Advertised []aead.Algorithm // the time source's list; nil: it did not come
	Keys       Outcome          // Good: there were cookies; else what every family has instead of an answer
	Cause      string           // why there were none, one of a few words
	Answers    [Families]Answer
}

// Answer is the part of an Attempt that belongs to one family.
type Answer struct {
	Outcome    Outcome
	Cause      string
	Readings   []Reading // up to two
	FewCookies bool      // fewer came than were asked for
}

// best is the reading that says most.
func (a *Answer) best() (r Reading, ok bool) {
	for i := range a.Readings {
		if !ok || a.Readings[i].Distance() < r.Distance() {
			r, ok = a.Readings[i], true
		}
	}
	return r, ok
}

// probe is an Attempt as one view sees it.
type probe struct {
	algorithm aead.Algorithm
	expected  bool // it failed with an algorithm that is out already, which says nothing about the rest
	outcome   Outcome
	cause     string
	answer    Answer
}

// aeadState is one AEAD algorithm of a time source. Three rounds in a row in which it failed while another one worked take it
// out of what users may negotiate there; three good ones bring it back.
type aeadState struct {
	id     aead.Algorithm
	failed int // rounds in a row
	good   int // the same
	out    bool
	reason string // of the latest failure
}

// outAlgorithm is how many rounds in a row decide about an algorithm.
const outAlgorithm = 3

// member is one time source.
type member struct {
	id         string
	wanted     [Families]bool
	views      [Families]view
	algorithms []aeadState
	turn       int // of the algorithms
	round      memberRound
}

// memberRound is the part of the member that lasts for one round.
type memberRound struct {
	at       time.Time // of the next attempt
	attempts int       // that count
	tried    int       // all of them
	running  bool
	done     bool
	pending  [Families]bool // what the next attempt asks
	probes   [Families][]probe
}

// begin prepares for a round whose first attempt is at that time.
func (m *member) begin(at time.Time) {
	m.round = memberRound{at: at, pending: m.wanted, done: m.wanted == [Families]bool{}}
	m.turn++
	if n := len(m.algorithms); n > 0 {
		if i := slices.IndexFunc(m.algorithms, aeadState.suspect); i >= 0 {
			m.turn = i
		}
		m.turn %= n
	}
}

// suspect reports an algorithm about which the next rounds decide.
func (a aeadState) suspect() bool { return a.failed > 0 && !a.out || a.good > 0 && a.out }

// choose returns the algorithm of the next attempt: the one whose turn it is, and after a failure another one, so that a time
// source with one that is broken is told from one that is dead. 0: none is known yet.
func (m *member) choose() aead.Algorithm {
	n := len(m.algorithms)
	if n == 0 {
		return 0
	}
	if m.round.tried%2 == 0 && !(m.round.tried > 0 && m.algorithms[m.turn].out) {
		return m.algorithms[m.turn].id
	}
	for i := range n {
		if a := &m.algorithms[(m.turn+1+i)%n]; !a.out {
			return a.id
		}
	}
	return m.algorithms[m.turn].id
}

// known returns the algorithm's entry, or nil.
func (m *member) known(id aead.Algorithm) *aeadState {
	if i := slices.IndexFunc(m.algorithms, func(a aeadState) bool { return a.id == id }); i >= 0 {
		return &m.algorithms[i]
	}
	return nil
}

// lacks reports an algorithm that is out while another one is left.
func (m *member) lacks(id aead.Algorithm) bool {
	a := m.known(id)
	return a != nil && a.out && slices.ContainsFunc(m.algorithms, func(o aeadState) bool { return !o.out })
}

// advertise takes a list over; what is known of those that stay on it stays.
func (m *member) advertise(list []aead.Algorithm) {
	if list == nil {
		return
	}
	next := make([]aeadState, 0, len(list))
	for _, id := range list {
		if a := m.known(id); a != nil {
			next = append(next, *a)
		} else {
			next = append(next, aeadState{id: id})
		}
	}
	m.algorithms = next
	m.turn %= max(len(next), 1)
}

// absorb enters an attempt and says whether the member is done for this round. One with an algorithm that is out already
// and fails again says nothing about the member.
func (m *member) absorb(now time.Time, a *Attempt, p *Params) {
	r := &m.round
	r.running = false
	r.tried++
	m.advertise(a.Advertised)
	expected := m.lacks(a.Algorithm)
	if !expected {
		r.attempts++
	}
	again := false
	for f := range Families {
		if !r.pending[f] {
			continue
		}
		x := probe{algorithm: a.Algorithm, outcome: a.Keys, cause: a.Cause}
		if a.Keys == Good {
			x.answer = a.Answers[f]
			x.outcome, x.cause = x.answer.Outcome, x.answer.Cause
		}
		x.expected = expected && x.outcome.failed()
		r.probes[f] = append(r.probes[f], x)
		r.pending[f] = x.outcome.failed()
		again = again || r.pending[f]
	}
	r.done = !again || r.attempts >= outFailures || r.tried > outFailures
	r.at = now.Add(p.Retry)
}

// judgeAlgorithms looks at which algorithms worked in this round and which did not while others did, and reports those whose
// use changed.
func (m *member) judgeAlgorithms() (changed []aead.Algorithm) {
	for i := range m.algorithms {
		a := &m.algorithms[i]
		tried, worked, others, reason := m.record(a.id)
		switch {
		case worked:
			a.failed, a.reason = 0, ""
			a.good++
			if a.out && a.good >= outAlgorithm {
				a.out = false
				changed = append(changed, a.id)
			}
		case tried && others:
			a.good, a.reason = 0, reason
			a.failed++
			if !a.out && a.failed >= outAlgorithm {
				a.out = true
				changed = append(changed, a.id)
			}
		}
	}
	return changed
}

// record says what became of an algorithm in this round, and whether another one worked.
func (m *member) record(id aead.Algorithm) (tried, worked, others bool, reason string) {
	for f := range Families {
		for i := range m.round.probes[f] {
			x := &m.round.probes[f][i]
			switch {
			case x.algorithm == id && x.outcome == Good:
				tried, worked = true, true
			case x.algorithm == id && x.outcome.failed():
				tried, reason = true, x.outcome.String()
			case x.outcome == Good:
				others = true
			}
		}
	}
	return tried, worked, others, reason
}
