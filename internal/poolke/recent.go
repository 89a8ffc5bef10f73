package poolke

import (
	"sync"
	"time"

	"ntp-daemon/internal/observe"
)

// recentMinutes is how far back "lately" goes: long enough for a pool with few users, short enough to see a change.
const recentMinutes = 5

// mark is where the counters stood at one moment.
type mark struct {
	at       time.Time
	outcomes [outcomes]uint64
	sessions durationCounts
	upstream durationCounts
	phases   [phases]durationCounts
}

// recent remembers where the counters stood at the end of each of the last minutes, so that readers see what changed since
// the oldest of them. minuteLoop adds, readers read.
type recent struct {
	mu    sync.Mutex
	marks []mark // at most recentMinutes, the oldest first; never empty after the start
}

// add appends a mark, and drops the oldest if there are enough.
func (r *recent) add(m mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.marks) == recentMinutes {
		r.marks = append(r.marks[:0], r.marks[1:]...)
	}
	r.marks = append(r.marks, m)
}

// oldest is what lately is measured from.
func (r *recent) oldest() mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.marks) == 0 {
		return mark{}
	}
	return r.marks[0]
}

// mark is where the counters stand.
func (p *Pool) mark(now time.Time) mark {
	m := mark{at: now, sessions: p.sessions.read(), upstream: p.upstreamTimes.read()}
	for i := range m.outcomes {
		m.outcomes[i] = p.tally[i].Load()
	}
	for i := range m.phases {
		m.phases[i] = p.phases[i].read()
	}
	return m
}

// observeTimes fills in how long things took and what happened lately.
func (p *Pool) observeTimes(o *observe.Pool, now time.Time) {
	was := p.recent.oldest()
	o.SessionSeconds = p.sessions.observed(was.sessions)
	o.UpstreamSeconds = p.upstreamTimes.observed(was.upstream)
	o.StageSeconds = make(map[string]observe.Durations, phases)
	for i, name := range phaseNames {
		o.StageSeconds[name] = p.phases[i].observed(was.phases[i])
	}
	o.Recent = observe.PoolRecent{Outcomes: make(map[string]uint64, outcomes)}
	if !was.at.IsZero() {
		o.Recent.Seconds = now.Sub(was.at).Seconds()
	}
	for i, n := range was.outcomes {
		o.Recent.Outcomes[Outcome(i).String()] = p.tally[i].Load() - n
	}
}
