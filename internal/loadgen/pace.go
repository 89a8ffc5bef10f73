package loadgen

import "time"

const (
	// mostLate is how many requests may be overdue. A sender that is later than that cannot keep the rate and says so.
	mostLate = 8192
	// stale is how long a closed loop waits for an answer before all that are under way count as lost.
	stale = 20 * time.Millisecond
)

// pace says when requests are due: at a fixed rate, in bursts that are evenly spaced, whatever the server does.
type pace struct {
	rate  float64 // requests per second
	burst int
	asked int64 // requests that were due so far
}

// due is how many requests to send after so long, all of one burst or none, and how many are given up because the
// sender was too late.
func (p *pace) due(elapsed time.Duration) (n int, late int64) {
	owed := int64(float64(elapsed)*p.rate/1e9) - p.asked
	if owed > mostLate {
		late = (owed - mostLate) / int64(p.burst) * int64(p.burst)
		p.asked += late
		owed -= late
	}
	if owed < int64(p.burst) {
		return 0, late
	}
	p.asked += int64(p.burst)
	return p.burst, late
}

// window keeps a fixed number of requests under way: as fast as the server answers.
type window struct {
	most, burst int
	underWay    int
	heard       time.Duration // when the last answer came
}

// due is how many requests to send now, a burst or none. renewed: nothing came for a while, and what was under way
// is taken for lost.
func (w *window) due(now time.Duration) (n int, renewed bool) {
	if w.underWay > 0 && now-w.heard > stale {
		w.underWay, w.heard, renewed = 0, now, true
	}
	if w.most-w.underWay < w.burst {
		return 0, renewed
	}
	return w.burst, renewed
}

// sent and answered keep the count.
func (w *window) sent(n int) { w.underWay += n }

func (w *window) answered(n int, now time.Duration) {
	w.underWay = max(0, w.underWay-n)
	w.heard = now
}
