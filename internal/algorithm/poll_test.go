package algorithm

import (
	"math"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// asked is a tracker that has settled, whose samples have that much noise, asked at the given interval and not more often than least allows.
func asked(poll, least ntp.PollExp, noise time.Duration, wander float64) *tracker {
	tr := &tracker{fresh: 100, last: ntp.Measurement{Poll: poll, PollMin: least}}
	tr.noise.n, tr.noise.live, tr.noise.spread = 100, 100, toDuration(2*quartiles*noise.Seconds())
	for i := range tr.bank.share {
		if math.Abs(ln(intensities[i])-2*ln(wander)) < 1 {
			tr.bank.share[i][0] = 1
		}
	}
	return tr
}

// TestKnee_Equation16: w² T³ = R.
func TestKnee_Equation16(t *testing.T) {
	for _, row := range []struct {
		noise  time.Duration
		wander float64
		change func(*tracker)
		want   float64
	}{
		{7071, 1e-9, nil, 368.4},
		{70711, 1e-9, nil, 1710},
		{7071, 1e-8, nil, 79.4},
		{7071, 1e-7, nil, 17.1},
		{0, 1e-9, nil, 13.6},
		{0, 1e-9, func(tr *tracker) { tr.own = 1e-10 }, 464},
		{0, 1e-9, func(tr *tracker) { tr.last.Precision = 100 * us }, 941},
		{0, 1e-9, func(tr *tracker) { tr.bank.share[5][0], tr.bank.share[1][0] = 0.5, 0.5 }, 63},
		{time.Hour, 1e-11, nil, 131072},
		{0, 1e-6, nil, 1},
	} {
		tr := asked(6, 6, row.noise, row.wander)
		if row.change != nil {
			row.change(tr)
		}
		if got := tr.knee(); math.Abs(got-row.want) > 0.01*row.want {
			t.Errorf("noise %v, wander %g: %g s, want %g", row.noise, row.wander, got, row.want)
		}
	}
}

// TestAdvisePoll: what interval is asked for in the end, as a mean, and how long that takes.
func TestAdvisePoll(t *testing.T) {
	tn := newTuning(loose())
	for _, row := range []struct {
		name        string
		poll, least ntp.PollExp
		noise       time.Duration
		wander      float64
		mean        float64 // s
		samples     int     // until the interval is within a third of that
	}{
		{"the knee", 6, 6, 7071, 1e-9, 324, 12},
		{"a knee near a power of two", 6, 6, 7071, 1e-8, 75.4, 3},
		{"a knee below what is allowed", 6, 6, 7071, 1e-7, 64, 1},
		{"a long way up", 6, 6, ms, 1e-10, 40846, 40},
		{"the way down is short", 10, 6, 7071, 1e-8, 75.4, 8},
		{"who allows more is asked every minute", 4, 4, ms, 1e-10, 64, 9},
		{"a quiet path as well", 4, 4, us, 1e-7, 64, 9},
		{"from above", 10, 4, us, 1e-7, 64, 9},
	} {
		t.Run(row.name, func(t *testing.T) {
			tr := asked(row.poll, row.least, row.noise, row.wander)
			var sum float64
			reached := 0
			planned := row.poll
			for i := range 1000 {
				before := tr.last.At
				tr.last.At = before.Add(tr.last.Poll.Duration())
				got := tr.last.Poll.Duration().Seconds()
				tr.advisePoll(fit{sigmas: 1}, before, &tn)
				want := max(tr.poll.want, row.least)
				tr.last.Poll, planned = min(planned, want), want // a longer one counts from the next poll on
				if reached == 0 && math.Abs(tr.poll.goal-row.mean) < row.mean/3 {
					reached = i + 1
				}
				if i >= 500 {
					sum += got
				}
			}
			if mean := sum / 500; math.Abs(mean-row.mean) > 0.03*row.mean || reached > row.samples {
				t.Errorf("%v s after %d samples, want %v s after %d", mean, reached, row.mean, row.samples)
			}
		})
	}
}

// TestAdvisePoll_Surprise: a sample that cannot be chance asks for the shortest interval at once; while a source is new nothing is
// asked for.
func TestAdvisePoll_Surprise(t *testing.T) {
	tn := newTuning(loose())
	tr := asked(10, 6, ms, 1e-10)
	tr.advisePoll(fit{sigmas: 1}, -1e12, &tn)
	if tr.poll.want < 10 {
		t.Fatalf("wants %d", tr.poll.want)
	}
	if tr.advisePoll(fit{sigmas: 5.5}, 0, &tn); tr.poll.want != 6 {
		t.Errorf("after a surprise it wants %d", tr.poll.want)
	}
	tr = asked(6, 4, ms, 1e-10)
	tr.fresh, tr.poll.want = settled, 6
	if tr.advisePoll(fit{sigmas: 50}, 0, &tn); tr.poll.want != 6 {
		t.Errorf("a new source wants %d", tr.poll.want)
	}
}
