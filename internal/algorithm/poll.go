package algorithm

import (
	"math"

	"ntp-daemon/internal/ntp"
)

const (
	// publicPoll is the interval that costs a public server what NTP clients have always cost it: MINPOLL of ntpd and chrony.
	publicPoll ntp.PollExp = 6
	// kneeShare is how much of the knee is aimed at, and kneeNear how much of one that is nearLeast times the shortest interval at most: who
	// asks that often asks a public server more than most of its clients do.
	kneeShare, kneeNear, nearLeast = 0.88, 0.95, 1.25
	// goalFall is what a goal that is too long becomes with each sample, and goalRise, over poll-interval-hysteresis, by which share of
	// itself one that is too short grows: with 16, it doubles in two or three samples.
	goalFall, goalRise = 0.7, 8
)

// pollGoal is the mean interval that one source is asked at. An interval is a power of two seconds, so that two of them take turns.
type pollGoal struct {
	want ntp.PollExp // interval wanted now
	goal float64     // s, mean interval; 0: not yet
	debt float64     // s, by which the intervals so far were too short for the mean
}

// advisePoll chooses the interval to the next sample, see docs/algorithm.md (16) and docs/rules/clock.md#poll.
func (t *tracker) advisePoll(f fit, before ntp.Local, p *tuning) {
	g, least := &t.poll, max(t.last.PollMin, ntp.MinPollExp)
	if g.goal == 0 {
		g.goal = t.last.Poll.Duration().Seconds()
	}
	switch {
	case t.fresh <= settled:
		return
	case f.sigmas > p.noFit:
		g.want, g.goal, g.debt = least, least.Duration().Seconds(), 0 // something has happened: nothing is known of what comes now
		return
	case least < publicPoll:
		g.approach(publicPoll.Duration().Seconds(), p)
	default:
		g.approach(worthwhile(t.knee(), least.Duration().Seconds()), p)
	}
	g.turn(t.last.At.Sub(before).Seconds())
}

// knee is the interval, s, up to which the error of the clock grows with about its third root, and from which on with the power of
// one and a half, because the oscillator wanders more from one sample to the next than a sample tells: w² T³ = R. R is that of the
// law which takes all samples alike, and w the middle one of those that the bank has not given up.
func (t *tracker) knee() float64 {
	r := t.noise.common(t.noise.floor, t.last.Precision) + t.noise.blind(0) + t.own
	w2 := t.bank.middleIntensity()
	lo, hi := 1., ntp.MaxPollExp.Duration().Seconds()
	for range 24 {
		if mid := math.Sqrt(lo * hi); float64(w2*mid*mid*mid) < r {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// worthwhile is the interval that is aimed at, s: a little before the knee.
func worthwhile(knee, least float64) float64 {
	return max(kneeShare*knee, min(kneeNear*knee, nearLeast*least), least)
}

// middleIntensity is the geometric mean of the wander's intensity, (s/s)² per s.
func (b *bank) middleIntensity() float64 {
	var sum float64
	for i := range b.share {
		l := ln(intensities[i])
		for j := range b.share[i] {
			sum += float64(b.share[i][j] * l)
		}
	}
	return exp(sum)
}

// approach moves the goal.
func (g *pollGoal) approach(to float64, p *tuning) {
	if to < g.goal {
		g.goal = max(to, float64(g.goal*goalFall))
	} else {
		g.goal = min(to, g.goal+float64(g.goal*goalRise)/float64(p.PollIntervalHysteresis))
	}
}

// turn takes the shorter or the longer interval beside the goal, such that their mean is the goal. since is how long the one took
// that is over, s: a longer one than was planned is not taken before the next.
func (g *pollGoal) turn(since float64) {
	short := ntp.MinPollExp
	for short < ntp.MaxPollExp && (short+1).Duration().Seconds() <= g.goal {
		short++
	}
	long := (short + 1).Clamp()
	longest := long.Duration().Seconds()
	g.debt = clamp(g.debt+g.goal-min(since, longest), longest) // a lost packet is no reason to hurry
	if g.want = short; g.debt > 0 {
		g.want = long
	}
}
