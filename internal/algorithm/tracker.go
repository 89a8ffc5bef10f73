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

	// outlierVariance: an innovation beyond three sigma counts as one of three.
	outlierVariance = 9
	// misfitVariance: beyond five sigma with an ordinary delay, the source's time itself has changed…
	misfitVariance = 25
	// misfitLimit: …if that many samples in a row say so, on the same side.
	misfitLimit = 3
	// misfitDoubt multiplies the frequency variance then.
	misfitDoubt = 16

	// wanderSigmas: two samples in a row beyond that many sigma on one side mean at once that the oscillator wanders
	// more than assumed; by chance that happens once in ten thousand samples.
	wanderSigmas = 2.5

	// minDelayWeight is the least share of the round trip in the interval that a source vouches for: all of the way may
	// be in one direction.
	minDelayWeight = 0.5
	// quietGrowth is how much wider that interval becomes without samples beside what the filter says, s/s: what a quiet
	// oscillator may do unseen.
	quietGrowth = 1e-6

	// minWander and maxWander bound the adaptive wander, s/s per sqrt(s): an oven-controlled oscillator, and
	// a virtual machine under changing load (docs/rules/clock.md#oscillator).
	minWander = 1e-11
	maxWander = 1e-5
	// maxSurprise is the most, in variances, that one sample adds to it before that: one of ten sigmas.
	maxSurprise = 99
	// maxOwn is more than the noise of any clock, s.
	maxOwn = 1
	// ownShare is how much of one sample's surprise goes into the noise of the source.
	ownShare = 1. / 8
	// wanderFactor is one change of the wander's variance (docs/rules/clock.md#wander).
	wanderFactor = 4
)

// tracker follows one source: a Kalman filter of the gap between true time, as this source has it, and Local.
type tracker struct {
	id ntp.SourceID
	s  state

	samples int // taken in since birth
	fresh   int // since the offset was last seeded; 0 means the offset is unknown

	intensity float64 // (s/s)² per s: the square of the wander
	fit       int     // score of the wander, see adapt
	misfits   int     // surprises in a row, signed by their side
	side      int     // of the last sample if that was beyond wanderSigmas, else 0
	own       float64 // s², noise of the source's own clock: what round trips do not explain, see learnOwn
	above     bool    // the last sample lay above the prediction

	noise delayNoise
	last  ntp.Measurement // newest sample: claims and poll interval

	poll      ntp.PollExp // interval wanted
	pollScore int
}

// newTracker starts with the frequency that others have found, or that an earlier run has stored, at the uncertainty
// of the stored one or of the unknown.
func newTracker(m *ntp.Measurement, y float64, p *tuning) *tracker {
	v := p.InitialFrequencyUncertainty
	if k := p.KnownFrequencyUncertainty; k > 0 {
		v = min(v, k)
	}
	w := p.InitialWander
	return &tracker{
		id: m.Source, s: state{y: y, pyy: float64(v * v)}, intensity: float64(w * w), poll: m.Poll,
	}
}

// absorb takes in one measurement. Samples not newer than the last are ignored.
func (t *tracker) absorb(m *ntp.Measurement, p *tuning) {
	if t.samples > 0 && m.At <= t.last.At {
		return
	}
	before, trip := t.last, roundTrip(m)
	t.noise.add(trip)
	r := t.noise.variance(trip, m.Precision) + t.own
	t.last = *m
	t.samples++
	if t.fresh == 0 {
		t.seed(m, r)
		return
	}
	t.fresh++
	s := t.s.predict(m.At, t.intensity)
	z := -s.above(m.TrueGap)
	v := s.pxx + r
	if extra := t.learnOwn(z, v, m.At.Sub(before.At)); extra > 0 && t.fresh <= settled {
		r += extra
		s.pxx += extra / float64(t.fresh-1) // the samples before were not better
		v = s.pxx + r
	}
	if t.fresh > settled {
		if t.misfit(z, v, trip) {
			t.s = s
			t.seed(m, r)
			t.s.pyy = min(float64(s.pyy*misfitDoubt), float64(p.InitialFrequencyUncertainty*p.InitialFrequencyUncertainty))
			return
		}
		if surprise := float64(z * z / outlierVariance); surprise > v {
			r += surprise - v
		}
	}
	f := fitOf(z, v, r)
	t.adapt(f, z, p)
	t.raiseWander(f, z)
	t.above = z > 0
	t.advisePoll(f, before.At, p)
	if s = s.update(z, r); s.finite() {
		t.s = s
	} else {
		t.unseed()
		t.s.y = 0
	}
}

// seed starts the offset anew at one sample; the frequency stays.
func (t *tracker) seed(m *ntp.Measurement, r float64) {
	if m.At > t.s.at && t.samples > 1 {
		t.s = t.s.predict(m.At, t.intensity)
	}
	t.s.at, t.s.origin, t.s.x = m.At, m.TrueGap, 0
	t.s.pxx, t.s.pxy = r, 0
	t.fresh, t.misfits = 1, 0
}

// unseed forgets the offset, not the frequency, wander or path.
func (t *tracker) unseed() {
	t.fresh, t.misfits = 0, 0
	t.s.pxx, t.s.pxy = 0, 0
}

// misfit reports whether this sample is the last of a row that says the source's time itself has changed
// (equation 6).
func (t *tracker) misfit(z, v float64, trip time.Duration) bool {
	ordinary := trip <= t.noise.floor+3*t.noise.excess
	if !ordinary {
		return false
	}
	if float64(z*z) <= float64(v*misfitVariance) {
		t.misfits = 0
		return false
	}
	side := 1
	if z < 0 {
		side = -1
	}
	if t.misfits*side < 0 {
		t.misfits = 0
	}
	t.misfits += side
	return t.misfits*side >= misfitLimit
}

// learnOwn follows the noise that a source's own clock adds to its samples, s². Noise and wander both make innovations larger
// than expected, and are told apart by their order: what the oscillator did shows on the same side again and again, noise
// as often on the other. So a surprise on the other side raises the noise, doubly because it stands for one on the same side
// that was not counted, and each one that is smaller than expected lowers it. The mean square of innovations is then what was
// expected of them. The first samples have no order yet: beyond three sigmas, and beyond what an oscillator that can be
// disciplined does in the time since the one before, they are noise. It returns what was added.
func (t *tracker) learnOwn(z, v float64, since time.Duration) (extra float64) {
	d := float64(z*z) - v
	switch {
	case math.Abs(z) > maxOwn: // no noise but another time, see misfit
	case d < 0:
		extra = max(float64(d*ownShare), -t.own)
	case t.fresh <= settled:
		if d > (outlierVariance-1)*v && math.Abs(z) > kernelMaxFrequency*since.Seconds() && (t.fresh == 2 || t.above != (z > 0)) {
			extra = d / 2
		}
	case t.above != (z > 0):
		extra = float64(min(d, maxSurprise*v) * 2 * ownShare)
	}
	t.own += extra
	return extra
}

// fit describes how well a sample met the prediction.
type fit struct {
	sigmas float64 // size of the innovation in its own sigmas, ≥ 0
	weight float64 // share of the innovation that the filter believes, 0…1
}

func fitOf(z, v, r float64) fit {
	return fit{sigmas: math.Abs(z) / math.Sqrt(v), weight: min(max(1-r/v, 0), 1)}
}

// adapt moves the wander: innovations that are too large too often mean that the oscillator wanders more than
// assumed, and the other way round (equation 7; docs/rules/clock.md#wander).
func (t *tracker) adapt(f fit, z float64, p *tuning) {
	switch {
	case f.sigmas > p.badFit && t.above != (z > 0): // noise, not wander
	case f.sigmas > p.badFit:
		t.fit += 2
	case f.sigmas < p.goodFit && f.weight > p.PrecisionMinimumWeight:
		t.fit--
	default:
		t.fit -= sign(t.fit)
	}
	switch {
	case t.fit >= p.PrecisionHysteresis:
		t.intensity, t.fit = min(float64(t.intensity*wanderFactor), maxWander*maxWander), 0
	case t.fit <= -p.PrecisionHysteresis:
		t.intensity, t.fit = max(t.intensity/wanderFactor, minWander*minWander), 0
	}
}

// raiseWander raises the wander ahead of the score when the filter is plainly left behind.
func (t *tracker) raiseWander(f fit, z float64) {
	side := 0
	if t.fresh > settled && f.sigmas > wanderSigmas {
		side = 1
		if z < 0 {
			side = -1
		}
	}
	if side != 0 && side == t.side {
		t.intensity, t.fit = min(float64(t.intensity*wanderFactor), maxWander*maxWander), 0
		side = 0
	}
	t.side = side
}

// advisePoll wants an interval at which a sample carries about half of the knowledge (docs/rules/clock.md#poll).
func (t *tracker) advisePoll(f fit, before ntp.Local, p *tuning) {
	ratio := t.last.At.Sub(before).Seconds() / t.last.Poll.Duration().Seconds()
	if t.fresh > settled && f.sigmas > p.noFit {
		t.poll, t.pollScore = ntp.MinPollExp, 0
		return
	}
	switch {
	case f.weight < p.PollIntervalLowWeight && ratio > 0.75:
		t.pollScore--
	case f.weight > p.PollIntervalHighWeight && ratio < 1.4:
		t.pollScore++
	default:
		t.pollScore -= sign(t.pollScore)
	}
	switch {
	case t.pollScore <= -p.PollIntervalHysteresis:
		t.poll, t.pollScore = (t.last.Poll + 1).Clamp(), 0
	case t.pollScore >= p.PollIntervalHysteresis:
		t.poll, t.pollScore = (t.last.Poll - 1).Clamp(), 0
	}
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
		float64(quietGrowth*s.at.Sub(t.last.At).Seconds())
	if !p.IgnoreServerDispersion {
		r += t.last.RootDispersion.Seconds()
	}
	return r
}

func sign(n int) int {
	switch {
	case n > 0:
		return 1
	case n < 0:
		return -1
	}
	return 0
}
