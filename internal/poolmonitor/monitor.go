package poolmonitor

import (
	"slices"
	"time"

	"ntp-daemon/internal/nts/aead"
)

// Params are the times of a Monitor. Zero values are the defaults.
type Params struct {
	Interval time.Duration // between the starts of two rounds; 30 s
	Jitter   float64       // by what share of itself it varies; 0.2
	Spread   time.Duration // over which the first probes of a round are strewn; 5 s
	Retry    time.Duration // between a probe that failed and the next one; 5 s
	Believe  time.Duration // for how long most may fail before it is taken for true; 10 min
	Parallel int           // probes at one time; 32
}

// withDefaults fills in what is zero.
func (p Params) withDefaults() Params {
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{{&p.Interval, 30 * time.Second}, {&p.Spread, 5 * time.Second}, {&p.Retry, 5 * time.Second}, {&p.Believe, 10 * time.Minute}} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	if p.Jitter <= 0 {
		p.Jitter = 0.2
	}
	if p.Parallel <= 0 {
		p.Parallel = 32
	}
	return p
}

// Monitor knows all time sources of a pool. It works in rounds:
//
//	Due       which probes are to start now: in each round every time source once, strewn over 5 s, and 5 s after a probe
//	          that failed again, up to three times
//	Absorb    takes what a probe came to
//	RoundOver all have ended
//	Judge     compares the clocks with each other, decides whether the round counts, moves scores, changes verdicts
//
// Nobody is judged before a round is over, because whether a failure is that time source's or the pool's own shows in the
// others. Not safe for concurrent use.
type Monitor struct {
	params   Params
	draw     func() float64 // uniform in [0, 1)
	members  []*member      // in the order of the list
	byID     map[string]*member
	seasoned bool // some rounds are over: who is new now is on probation

	running bool      // a round
	next    time.Time // start of the next round
	ended   time.Time // of the latest one
	probing int       // probes under way
	judged  [Families]familyRound
	status  Status
}

// Target is a time source to be probed.
type Target struct {
	ID     string
	Wanted [Families]bool // in which families it serves users, by its operator
}

// New returns a Monitor without members that wants its first round at now.
func New(p Params, draw func() float64, now time.Time) *Monitor {
	return &Monitor{params: p.withDefaults(), draw: draw, next: now}
}

// SetMembers replaces the list. What is known of those that stay is kept; who is new while others have been judged
// already is on probation. A round under way goes on with those that stay.
func (m *Monitor) SetMembers(now time.Time, list []Target) {
	next, byID := make([]*member, 0, len(list)), make(map[string]*member, len(list))
	for _, t := range list {
		if byID[t.ID] != nil {
			continue // two entries of the list that mean the same
		}
		o := m.byID[t.ID]
		if o == nil {
			o = &member{id: t.ID}
			o.round.done = true
			for f := range Families {
				if o.views[f].counted = now; m.seasoned {
					o.views[f].set(now, Probation, "new")
				}
				o.views[f].since = now
			}
		}
		o.wanted = t.Wanted
		next = append(next, o)
		byID[t.ID] = o
	}
	for _, o := range m.members {
		if o.round.running && byID[o.id] == nil {
			m.probing--
		}
	}
	m.members, m.byID = next, byID
}

// Task is a probe to be made.
type Task struct {
	Member    string
	Algorithm aead.Algorithm // to be asked for; 0: any of those that it advertises
	Wanted    [Families]bool
	Cookies   int // how many the first request of time asks for, 1 to 3
}

// Due returns the probes to be started now, and begins a round when it is time.
func (m *Monitor) Due(now time.Time) []Task {
	if !m.running {
		if now.Before(m.next) || len(m.members) == 0 {
			return nil
		}
		m.begin(now)
	}
	var list []Task
	for _, o := range m.members {
		r := &o.round
		if r.done || r.running || now.Before(r.at) || m.probing >= m.params.Parallel {
			continue
		}
		r.running = true
		m.probing++
		list = append(list, Task{Member: o.id, Algorithm: o.choose(), Wanted: r.pending, Cookies: 1 + int(m.draw()*3)})
	}
	return list
}

// begin starts a round.
func (m *Monitor) begin(now time.Time) {
	m.running = true
	m.next = now.Add(time.Duration(float64(m.params.Interval) * (1 + m.params.Jitter*(2*m.draw()-1))))
	for _, o := range m.members {
		o.begin(now.Add(time.Duration(m.draw() * float64(m.params.Spread))))
	}
}

// Next returns when Due is to be called again if no probe ends, and the list does not change, before that.
func (m *Monitor) Next(now time.Time) time.Time {
	next := now.Add(time.Hour) // only the end of a probe leads on
	switch {
	case !m.running && len(m.members) > 0:
		return m.next
	case !m.running, m.probing >= m.params.Parallel:
		return next
	}
	for _, o := range m.members {
		if r := &o.round; !r.done && !r.running && r.at.Before(next) {
			next = r.at
		}
	}
	return next
}

// Absorb takes what a probe came to. One of a member that is not on the list any more is dropped.
func (m *Monitor) Absorb(now time.Time, a Attempt) {
	o := m.byID[a.Member]
	if o == nil || !o.round.running {
		return
	}
	m.probing--
	o.absorb(now, &a, &m.params)
}

// RoundOver reports that Judge is to be called.
func (m *Monitor) RoundOver() bool {
	return m.running && !slices.ContainsFunc(m.members, func(o *member) bool { return !o.round.done })
}
