package poolmonitor

import (
	"time"

	"ntp-daemon/internal/nts/aead"
)

// Conditions are what the pool knows at the end of a round besides its probes.
type Conditions struct {
	Sources []Reading // latest ones of the sources of the configuration, those that are too old left out
	Silent  bool      // there are such sources, and not one of them answers
}

// Report is what a round changed, for the log.
type Report struct {
	Changes    []Change
	Algorithms []AlgorithmChange
	Void       [Families]string // why failures were not held against anybody; empty: they were
	VoidBegan  bool             // Void was empty in every family before this round, and is not now
	VoidEnded  bool
}

// Change is a change of the use of one time source in one family.
type Change struct {
	Member string
	Family Family
	State  State
	Reason string
}

// AlgorithmChange is a change of the use of one algorithm at one time source.
type AlgorithmChange struct {
	Member    string
	Algorithm aead.Algorithm
	Usable    bool
	Reason    string
}

// familyRound is what the protection remembers of one family.
type familyRound struct {
	since time.Time // rounds in a row have been void for the fault of many, from then on
}

// Judge ends the round: reference, protection, scores, verdicts. It is called when RoundOver says so.
func (m *Monitor) Judge(now time.Time, c Conditions) (r Report) {
	elapsed := now.Sub(m.ended)
	if m.ended.IsZero() {
		elapsed = 0
	}
	ref := m.reference(now, &c)
	before := m.status.voids()
	m.status.Implausible = false
	for f := range Families {
		void := m.protect(now, f, &c)
		r.Void[f] = void
		believed := ref
		if m.compare(now, f, &ref) {
			believed = Reference{}
			if void == "" {
				r.Void[f] = "most time sources would be wrong by the reference"
			}
		}
		m.status.Void[f] = r.Void[f]
		for _, o := range m.members {
			v := &o.views[f]
			state := v.state
			m.judgeView(now, o, f, &believed, void != "")
			v.decay(now, elapsed)
			if v.state != state && (state != Unknown || v.state != Usable) {
				r.Changes = append(r.Changes, Change{o.id, f, v.state, v.reason})
			}
		}
	}
	for _, o := range m.members {
		for _, id := range o.judgeAlgorithms() {
			a := o.known(id)
			r.Algorithms = append(r.Algorithms, AlgorithmChange{o.id, id, !a.out, a.reason})
		}
	}
	m.status.conclude(now, ref)
	after := m.status.voids()
	r.VoidBegan, r.VoidEnded = after && !before, before && !after
	if m.next.Before(now) {
		m.next = now
	}
	m.running, m.seasoned, m.ended = false, true, now
	return r
}

// reference is what the clocks are compared with in this round: the sources of the configuration, or what a majority of the
// time sources in use says. If these are too few, those that are out have a voice, too, or whoever was wrong once in a pool
// of three could never prove that it is right again.
func (m *Monitor) reference(now time.Time, c *Conditions) Reference {
	if len(c.Sources) > 0 || c.Silent {
		return agree(FromSources, c.Sources, now)
	}
	voices := m.voices(State.in)
	if len(voices) < minVoices {
		voices = m.voices(func(State) bool { return true })
	}
	if len(voices) < minVoices {
		return Reference{}
	}
	return agree(FromMembers, voices, now)
}

// voices are the readings of the time sources in such a state, one of each, whatever its families.
func (m *Monitor) voices(heard func(State) bool) (list []Reading) {
	for _, o := range m.members {
		var best Reading
		found := false
		for f := range Families {
			if !heard(o.views[f].state) {
				continue
			}
			if r, ok := o.round.reading(f); ok && (!found || r.Distance() < best.Distance()) {
				best, found = r, true
			}
		}
		if found {
			list = append(list, best)
		}
	}
	return list
}

// reading is the best one of the round, if its last probe was good.
func (r *memberRound) reading(f Family) (Reading, bool) {
	p := r.last(f)
	if p == nil || p.outcome != Good {
		return Reading{}, false
	}
	return p.answer.best()
}

// last is the last probe of the round, or nil.
func (r *memberRound) last(f Family) *probe {
	if n := len(r.probes[f]); n > 0 {
		return &r.probes[f][n-1]
	}
	return nil
}

// protect says why the failures of this round are not to be held against the time sources of a family; empty: they are. A fault
// of our own, a network that is down, a certificate of ours that nobody accepts, a clock of ours that is wrong, shows in most of
// them at once, or in the references as well (docs/rules/pool.md#monitor-protection).
func (m *Monitor) protect(now time.Time, f Family, c *Conditions) string {
	var asked, failing, expired int
	for _, o := range m.members {
		p := o.round.last(f)
		if !o.views[f].state.in() || p == nil || p.outcome == NotProbed || p.outcome == NoAddress {
			continue
		}
		asked++
		if p.outcome.failed() {
			failing++
			if p.outcome == NotValid {
				expired++
			}
		}
	}
	many := failing == asked || failing >= minVoices && 2*failing > asked
	state := &m.judged[f]
	if failing == 0 || !many {
		state.since = time.Time{}
	}
	switch {
	case failing == 0:
		return ""
	case c.Silent:
		return "the reference sources do not answer either"
	case !many:
		return ""
	case 2*expired > failing:
		m.status.Implausible = true
		return "most certificates are not valid by this host's clock"
	case failing == asked:
		return "all time sources failed at once"
	}
	if state.since.IsZero() {
		state.since = now
	}
	if now.Sub(state.since) >= m.params.Believe {
		return "" // so long, and others work: it is them
	}
	return "most time sources failed at once"
}

// compare counts, for each time source that answered in this round, whether its clock is right, and reports that more than half of them
// would be out for that at once: then it is the reference that is doubted, and nobody is taken out.
func (m *Monitor) compare(now time.Time, f Family, ref *Reference) (disputed bool) {
	var compared, wrong int
	for _, o := range m.members {
		v := &o.views[f]
		r, ok := o.round.reading(f)
		if !ok {
			continue
		}
		v.reading, v.answered, v.offset = r, r.At, r.Offset-ref.Offset
		if ref.Origin == NoReference {
			continue
		}
		if !ref.wrong(&r, now) {
			v.wrong = 0
		} else {
			v.wrong = min(v.wrong+1, outWrong)
		}
		if v.state.in() {
			compared++
			if v.wrong > 0 {
				wrong++
			}
		}
	}
	if wrong < minVoices && wrong < compared || 2*wrong <= compared {
		return false
	}
	for _, o := range m.members {
		if v := &o.views[f]; v.state.in() {
			v.wrong = min(v.wrong, outWrong-1)
		}
	}
	return true
}

// judgeView moves score and state of one view by the probes of the round; the failures of a void one do not count.
func (m *Monitor) judgeView(now time.Time, o *member, f Family, ref *Reference, void bool) {
	v, failed := &o.views[f], false
	for i := range o.round.probes[f] {
		p := &o.round.probes[f][i]
		if p.expected {
			continue
		}
		v.probed, v.outcome, v.cause = now, p.outcome, p.cause
		failed = failed || !void && p.outcome.failed()
		if p.outcome == NotProbed || p.outcome == NoAddress || void && p.outcome.failed() {
			continue
		}
		v.count(now, p, p.answer.offsets(ref), len(m.members) <= mostHistories)
	}
	last := o.round.last(f)
	if last == nil || last.outcome == NotProbed || void && last.outcome.failed() {
		return
	}
	good := last.outcome == Good && !last.expected
	switch {
	case failed || !good || v.wrong > 0:
		v.good = 0
	case v.liar && ref.Origin == NoReference: // nobody can say whether it is right again
	default:
		v.good++
	}
	v.settle(now, good)
}

// offsets are the differences from the reference; nil without one.
func (a *Answer) offsets(ref *Reference) (list []time.Duration) {
	if ref.Origin == NoReference {
		return nil
	}
	for i := range a.Readings {
		list = append(list, a.Readings[i].Offset-ref.Offset)
	}
	return list
}
