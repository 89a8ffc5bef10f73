package poolke

import (
	"context"
	"time"

	"ntp-daemon/internal/config"
)

// minuteLoop owns the marks of the counters and what the log says once a minute of all users' exchanges; when ctx ends it says
// the rest.
func (p *Pool) minuteLoop(ctx context.Context) {
	last := p.mark(time.Now())
	p.recent.add(last)
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			p.minute(&last, time.Now())
			return
		case <-ticker.C:
			p.minute(&last, time.Now())
		}
	}
}

// minute ends a minute that began at last, which it moves on.
func (p *Pool) minute(last *mark, now time.Time) {
	unsaid := p.failures.reset()
	was, next := *last, p.mark(now)
	*last = next
	p.recent.add(next)
	for _, u := range p.snap.Load().upstreams {
		u.markMinute()
	}
	switch p.snap.Load().cfg.LogExchanges {
	case config.LogFailures:
		for i, n := range unsaid {
			if n > 0 {
				p.log.Warn().Stringer("outcome", Outcome(i)).Uint64("exchanges", n).Msg("more exchanges ended like this within a minute than were written")
			}
		}
	case config.LogSummary:
		p.summary(&was, &next)
	}
}

// summary is the line of log-exchanges = "summary": how many exchanges had which outcome, and how long they took. A minute
// without any has no line.
func (p *Pool) summary(was, next *mark) {
	took := next.sessions.since(was.sessions)
	p50, any := took.quantile(0.5)
	if !any {
		return
	}
	p99, _ := took.quantile(0.99)
	ev := p.log.Info()
	for i, n := range next.outcomes {
		if n -= was.outcomes[i]; n > 0 {
			ev.Uint64(Outcome(i).String(), n)
		}
	}
	ev.Float64("p50_ms", milliseconds(p50)).Float64("p99_ms", milliseconds(p99)).Msg("exchanges of the last minute")
}

// milliseconds rounds to what a reader wants to see.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
