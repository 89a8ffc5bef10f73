package algorithm

import (
	"math"
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	// minSamples is how many samples a new source needs before it has a vote: with one the path is unknown,
	// with three a single lie about delay or time shows.
	minSamples = 3
	// settled is the number of samples after which a surprise is the sample's fault, not the filter's.
	settled = 8
	// staleAfter is the number of poll intervals without a sample that cost a source its vote: the length of
	// the reach register (RFC 5905 §9.2).
	staleAfter = 8
	// staleSlack is added to them, for the jitter of polls and short intervals.
	staleSlack = 5 * time.Second

	// minDelayWeight is the least share of the round trip in the interval that a source vouches for: all of the way may
	// be in one direction.
	minDelayWeight = 0.5
	// quietGrowth is how much wider that interval becomes without samples beside what the filter says, s/s: what a quiet
	// oscillator may do unseen.
	quietGrowth = 1e-6

	// minWander and maxWander bound the configured wander, s/s per sqrt(s): the ends of the grid.
	minWander = 3.1622776601683795e-12
	maxWander = 1e-6
)

// tracker follows one source: a bank of Kalman filters of the gap between true time, as this source has it, and Local.
type tracker struct {
	id   ntp.SourceID
	bank bank  // offsets from s.origin, at s.at
	s    state // what the bank says, at the last sample

	samples int // taken in since birth
	fresh   int // since the offset was last seeded; 0 means the offset is unknown

	intensity float64 // (s/s)² per s: the square of the wander, mean of the bank
	own       float64 // s², noise of the source's own clock: what round trips do not explain, see ownNoise
	above     bool    // the last sample lay above the prediction

	bends    ownNoise
	surprise surprise
	calm     calm
	routes   routes
	trial    trial
	haste    haste
	leans    float64 // sigmas by which the last sample was off
	first    start
	noise    delayNoise
	unseen   unseen
	hidden   float64 // s², of the offset beside s.pxx: what is unseen at the present interval
	ways     ways
	last     ntp.Measurement // newest sample: claims and poll interval

	aside bool // its offset did not count in the decision that was followed last, see setAside

	poll pollGoal
}

// newTracker starts with the frequency that others have found, or that an earlier run has stored, at the uncertainty
// of the stored one or of the unknown.
func newTracker(m *ntp.Measurement, y float64, p *tuning) *tracker {
	t := &tracker{id: m.Source, poll: pollGoal{want: m.Poll}, first: start{y: y}}
	t.start(y, p)
	return t
}

// start makes the bank anew.
func (t *tracker) start(y float64, p *tuning) {
	v := p.InitialFrequencyUncertainty
	if k := p.KnownFrequencyUncertainty; k > 0 {
		v = min(v, k)
	}
	t.bank.start(y, float64(v*v), p.InitialWander)
	t.s.x, t.s.y, t.s.pyy, t.intensity = 0, y, float64(v*v), float64(p.InitialWander*p.InitialWander)
}

// absorb takes in one measurement. Samples not newer than the last are ignored.
func (t *tracker) absorb(m *ntp.Measurement, p *tuning) {
	if t.samples > 0 && m.At <= t.last.At {
		return
	}
	before, trip := t.last, roundTrip(m)
	t.haste.begin()
	t.travel(m.At, trip)
	t.bends.add(m.At, (m.TrueGap - before.TrueGap).Seconds(), t.noise.explains(trip))
	t.last = *m
	t.samples++
	if t.first.add(m, trip) {
		t.restart(p)
		t.check(p)
		return
	}
	t.learnOwn()
	o := t.noise.observe(trip, m.Precision, t.own)
	o[lawWays].interval = t.ways.observe(&t.noise, trip, t.noise.common(trip, m.Precision)+t.own)
	if t.samples > 1 {
		t.bank.predict(m.At.Sub(t.s.at).Seconds())
	}
	t.s.at = m.At
	if t.fresh == 0 {
		t.seed(m, &o)
		return
	}
	if t.routes.better {
		t.believe(m, &o)
		return
	}
	t.fresh++
	z := (m.TrueGap - t.s.origin).Seconds()
	expected, v, noise := t.bank.expect(&o)
	innovation := z - expected
	if t.fresh <= settled && t.doubtEarly(innovation, v, m.At.Sub(before.At)) {
		o = t.noise.observe(trip, m.Precision, t.own)
		_, v, noise = t.bank.expect(&o)
	}
	if t.fresh > settled && t.stepped(m, &o, innovation, v, m.At.Sub(before.At).Seconds(), trip) {
		return
	}
	t.remember(innovation, v)
	if t.surprise.held() {
		t.bend()
		t.settle()
		return
	}
	t.lean(innovation, v)
	t.above = innovation > 0
	t.advisePoll(fitOf(innovation, v, noise), before.At, p)
	if ordinary := trip <= t.noise.floor+ordinaryExcess*t.noise.excess; ordinary && t.fresh > settled && t.routes.n == 0 {
		t.hidden = t.unseen.add(m.At.Sub(before.At), innovation, v)
	}
	t.bank.update(z, &o, t.fresh > judged && t.routes.n == 0)
	at, doubt := t.bank.offset()
	t.ways.learn(z-at, doubt)
	t.bend()
	t.settle()
	t.check(p)
}

// check starts anew when a number is not usable (row K08).
func (t *tracker) check(p *tuning) {
	if !t.s.finite() || !t.bank.finite() {
		t.start(t.first.y, p)
		t.unseed()
		t.unseen, t.hidden = unseen{}, 0
	}
}

// settle takes what the bank says, and moves whole nanoseconds from the floats to the count.
func (t *tracker) settle() {
	s, intensity := t.bank.moments()
	t.bank.revive(s.x)
	s.at, s.origin = t.s.at, t.s.origin
	s = s.fold()
	t.bank.shift((s.origin - t.s.origin).Seconds())
	t.s, t.intensity = s, intensity
}

// seed starts the offset anew at one sample; the frequency stays.
func (t *tracker) seed(m *ntp.Measurement, o *[laws]observation) {
	t.s.origin = m.TrueGap
	t.bank.seed(o)
	t.settle()
	t.fresh, t.surprise.n, t.trial.left = 1, 0, 0
}

// unseed forgets the offset, not the frequency, wander or path.
func (t *tracker) unseed() {
	t.first.end()
	t.fresh = 0
	t.forget()
	t.bends.restart()
	t.s.pxx, t.s.pxy = 0, 0
}

// leap moves true time by a whole second.
func (t *tracker) leap(by time.Duration) {
	t.first.end()
	t.s.origin += by
	t.surprise.origin += by
	t.calm.origin += by
	t.trial.origin += by
	t.bends.restart()
}

// fit describes how well a sample met the prediction.
type fit struct {
	sigmas float64 // size of the innovation in its own sigmas, ≥ 0
	weight float64 // share of the innovation that the filter believes, 0…1
}

func fitOf(z, v, r float64) fit {
	return fit{sigmas: math.Abs(z) / math.Sqrt(v), weight: min(max(1-r/v, 0), 1)}
}

// stale reports whether the source has been silent for too long to vote.
func (t *tracker) stale(now ntp.Local) bool {
	return now.Sub(t.last.At) > staleAfter*t.last.Poll.Duration()+staleSlack
}

// distance is how far from the state's gap the true one can be, in s, with as many sigmas of the estimate (equation 8):
// the root distance of RFC 5905 §11.1 with the filter's sigma, which grows with the age of the last sample, in the place of the
// assumed PHI. Half of the round trip and of the root delay bounds any asymmetry of the path, half of the median excess what
// queues on one way do, and each clock is known to its precision only. The server's claims can only widen it.
func (t *tracker) distance(s *state, sigmas float64, p *tuning) float64 {
	trip := t.noise.floor + t.last.RootDelay
	r := float64(sigmas*math.Sqrt(s.pxx)) + float64(max(p.RangeDelayWeight, minDelayWeight)*trip.Seconds()) +
		float64(t.noise.excess.Seconds()/2) + min(t.last.Precision, time.Second).Seconds() +
		t.pathBias() + float64(quietGrowth*s.at.Sub(t.last.At).Seconds())
	if !p.IgnoreServerDispersion {
		r += t.last.RootDispersion.Seconds()
	}
	return r
}
