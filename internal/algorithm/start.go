package algorithm

import (
	"math"
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	// startDepth is how many of a source's first samples are kept, and weighed anew with each further one.
	startDepth = 16
	// startPrior is the excess of a round trip, as a share of it, that is expected before any was seen.
	startPrior = 0.02
	// startLongest is how many median excesses the longest count as.
	startLongest = 2
	// startFloor is by how much the least of n round trips is above the least there can be, in usual excesses over √n.
	startFloor = 1.3
	// ownLeast, s, is the least noise of a source's clock that is looked for among its first samples, in ownSteps steps of half a decade. ownReserve
	// is by how much, in logarithms, noise must be more probable than none.
	ownLeast   = 3e-6
	ownSteps   = 12
	ownReserve = 3
	// startShare: the offset is within half the excess on either side, all of it being as probable.
	startShare = 1. / 12
	// startBlind makes of the mean square excess what the variance is of samples that are all alike, as long as their spread says nothing.
	startBlind = 1. / 8
	// judgedStart is the number of samples after which predictions tell the members apart: the later ones have said by then what the first
	// round trips mean.
	judgedStart = 3
)

// start holds the first samples of a source. What the first round trips mean shows only when more have come: which is the shortest, and how
// much is usual above it. So all of them are weighed anew with each further one, as a regression does: equation (4c).
type start struct {
	samples [startDepth]startSample
	n       int
	y       float64 // the frequency before any, s/s
}

type startSample struct {
	at              ntp.Local
	gap             time.Duration
	trip, precision time.Duration
}

// add takes in one sample; false: it is not one of the first.
func (s *start) add(m *ntp.Measurement, delay time.Duration) bool {
	if s.n == startDepth {
		return false
	}
	if s.n > 0 && math.Abs((m.TrueGap-s.samples[s.n-1].gap).Seconds()) > maxOwn {
		s.end() // that is no noise but another time
		return false
	}
	s.samples[s.n] = startSample{m.At, m.TrueGap, delay, m.Precision}
	s.n++
	return true
}

// end forgets them: what they are about has changed.
func (s *start) end() { s.n = startDepth }

// usual is the root mean square of the excesses and of the one that is expected before any was seen, s.
func (s *start) usual(d *delayNoise) float64 {
	longest := float64(startLongest * d.excess.Seconds())
	prior := float64(startPrior * d.floor.Seconds())
	sum := float64(prior * prior)
	most := float64(longest*longest) + sum
	for i := range s.n {
		e := (s.samples[i].trip - d.floor).Seconds()
		sum += min(float64(e*e), most)
	}
	return math.Sqrt(sum / float64(s.n))
}

// observe returns what each law makes of sample i.
func (s *start) observe(i int, usual, own float64, d *delayNoise) (o [laws]observation) {
	x := &s.samples[i]
	e := (x.trip - d.floor).Seconds()
	least := e + float64(startFloor*usual)/math.Sqrt(float64(s.n))
	common := d.stamps(x.precision) + own
	if s.n < minSamples { // nothing is known of the path yet
		half := x.trip.Seconds() / 2
		common += float64(half * half / 3)
	}
	for j := range laws {
		o[j].noise = common + float64(least*least*startShare)
	}
	switch {
	case s.n >= fewTrips:
		o[lawBlind].noise = common + d.blind(e)
	case s.n >= minSamples:
		o[lawBlind].noise = common + float64(usual*usual*startBlind)
	}
	o[lawShare].excess = e
	return o
}

// own is the variance of the noise of the source's clock that makes the samples most probable, s²: 0, or one of a row whose sigmas are half a decade
// apart. What is known of the frequency before any sample, with the variance yy, keeps noise from being taken for one.
func (s *start) own(usual, yy, intensity float64, d *delayNoise) (best float64) {
	most, u2 := 0., 0.
	for k := range ownSteps {
		if l := s.likelihood(usual, u2, yy, intensity, d); k == 0 || l > most {
			most, best = l, u2
			if k == 0 {
				most += ownReserve
			}
		}
		u2 = max(float64(u2*10), ownLeast*ownLeast)
	}
	return best
}

// likelihood is the logarithm of the probability density of the samples with noise of the variance u2 in the source's clock.
func (s *start) likelihood(usual, u2, yy, intensity float64, d *delayNoise) (l float64) {
	first := &s.samples[0]
	m := member{y: s.y, xx: s.observe(0, usual, u2, d)[lawAware].noise, yy: yy}
	for i := 1; i < s.n; i++ {
		x := &s.samples[i]
		r := s.observe(i, usual, u2, d)[lawAware].noise
		m.predict(x.at.Sub(s.samples[i-1].at).Seconds(), intensity)
		expected, g := m.expect(0)
		z, v := (x.gap-first.gap).Seconds()-expected, g.v+r
		l -= float64((float64(z*z)/v + ln(v)) / 2)
		m.update(&g, z, r)
	}
	return l
}

// interval is the time between samples, s. The first ones come sooner than they will.
func (t *tracker) interval() float64 {
	f, poll := &t.first, t.last.Poll.Duration().Seconds()
	if n := f.n; n > 1 && n < startDepth {
		return min(f.samples[n-1].at.Sub(f.samples[n-2].at).Seconds(), poll)
	}
	return poll
}

// restart weighs the first samples anew.
func (t *tracker) restart(p *tuning) {
	f := &t.first
	t.start(f.y, p)
	usual := f.usual(&t.noise)
	t.own, t.fresh = f.own(usual, t.s.pyy, t.intensity, &t.noise), 0
	for i := range f.n {
		x := &f.samples[i]
		o := f.observe(i, usual, t.own, &t.noise)
		t.fresh++
		if i == 0 {
			t.s.at, t.s.origin = x.at, x.gap
			t.bank.seed(&o)
			continue
		}
		t.bank.predict(x.at.Sub(t.s.at).Seconds())
		t.s.at = x.at
		z := (x.gap - t.s.origin).Seconds()
		t.bank.update(z, &o, t.fresh > judgedStart)
	}
	t.settle()
}
