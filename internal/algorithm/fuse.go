package algorithm

import (
	"cmp"
	"math"
	"slices"
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	// commonOffset, commonCov and commonFreq are the shares of a filter's covariance that come from the wander of the oscillator. It is
	// common to all sources and does not average out. An error that falls with the length of a filter's memory, as noise
	// does, and rises with its cube, as the lag does, is least where a quarter is lag; of the frequency's it is three. Where few samples
	// are worth more than all others it is more.
	commonOffset, commonCov, commonFreq = 0.4, 0.6, 0.8
	// fuseRounds is how often the robust weights are found anew at most, and fuseEnough the change of the offset, s, that ends it.
	fuseRounds = 16
	fuseEnough = 1e-10
)

// part is what one source brings to the fusion.
type part struct {
	x, y   float64 // s above a common origin, s/s
	s      *state
	scale  float64 // s², of its offset's error: noise and what averaging cannot remove
	base   float64 // weight of its offset before it is compared with the others
	weight float64 // of its offset, all are 1
	share  float64 // of its frequency, all are 1

	intensity float64 // (s/s)² per s, of the wander that its filter found
}

// fuse joins the states of the selected sources that are not set aside. Offsets count by the inverse of what averaging cannot
// remove from one source, its filter's variance included, so that a source on a short path does not drown in many on long
// ones, and the less the further they are from the others (equation 10); frequencies by the inverse of their variance. The
// variance of the result is that of noise and wander (equation 10b): paths that are asymmetric are part of what is told (equation 13).
func (d *Discipline) fuse(cs []candidate) (sum state, intensity float64) {
	ps := d.parts(cs)
	sum = *ps[0].s
	if len(ps) == 1 {
		return sum, ps[0].intensity
	}
	sum.x = robustMean(ps)
	sum.y = 0
	least := *ps[0].s
	for i := range ps {
		s := ps[i].s
		sum.y += float64(ps[i].share * ps[i].y)
		intensity += float64(ps[i].share * ps[i].intensity)
		least.pxx, least.pxy, least.pyy = min(least.pxx, s.pxx), min(least.pxy, s.pxy), min(least.pyy, s.pyy)
	}
	sum.pxx, sum.pxy, sum.pyy = float64(commonOffset*least.pxx), float64(commonCov*least.pxy), float64(commonFreq*least.pyy)
	nxx, nxy, nyy := sum.pxx, sum.pxy, sum.pyy
	for i := range ps {
		p := &ps[i]
		sum.pxx += float64(p.weight * p.weight * (p.s.pxx - nxx))
		sum.pxy += float64(p.weight * p.share * (p.s.pxy - nxy))
		sum.pyy += float64(p.share * p.share * (p.s.pyy - nyy))
	}
	return sum.fold(), intensity
}

// parts gathers what is fused. There is at least one, if one is selected.
func (d *Discipline) parts(cs []candidate) []part {
	ps := d.buf.parts[:0]
	var origin time.Duration
	most, share := math.Inf(1), 0.
	for i := range cs {
		c := &cs[i]
		if c.verdict != Selected || c.aside {
			continue
		}
		if len(ps) == 0 {
			origin = c.s.origin
		}
		p := part{x: c.s.above(origin), y: c.s.y, s: &c.s, scale: c.s.pxx + c.bias, share: 1 / max(c.s.pyy, minFrequencyVariance), intensity: c.t.intensity}
		most, share = min(most, p.scale), share+p.share
		ps = append(ps, p)
	}
	for i := range ps {
		p := &ps[i]
		p.base = near(math.Sqrt(p.scale/most)) / p.scale
		p.share /= share
	}
	d.buf.parts = ps
	return ps
}

// robustMean is the middle of the offsets, s above the origin of the first, and leaves their weights. Errors of honest sources are of a
// known size and others are of any, so three and more count as if they had the distribution of Cauchy, whose scale is at least what they are
// known to have and else what they show. It is found from the weighted median on, which a minority cannot move.
func robustMean(ps []part) float64 {
	if len(ps) < minCluster {
		return weightedMean(ps, 0, math.Inf(1))
	}
	middle := weightedMedian(ps)
	scale := max(1, spread(ps, middle))
	for range fuseRounds {
		before := middle
		if middle = weightedMean(ps, before, scale); math.Abs(middle-before) < fuseEnough {
			break
		}
	}
	return middle
}

// weightedMean weighs each source by its base and by how far it is from the middle, in scales.
func weightedMean(ps []part, middle, scale float64) float64 {
	total, sum := 0., 0.
	for i := range ps {
		p := &ps[i]
		r := p.x - middle
		p.weight = p.base / (1 + float64(r*r)/float64(scale*p.scale))
		total += p.weight
		sum += float64(p.weight * p.x)
	}
	for i := range ps {
		ps[i].weight /= total
	}
	return sum / total
}

// weightedMedian is the least offset such that at least half of the weight is not above it. It sorts ps.
func weightedMedian(ps []part) float64 {
	slices.SortFunc(ps, func(a, b part) int { return cmp.Compare(a.x, b.x) })
	total, below := 0., 0.
	for i := range ps {
		total += ps[i].base
	}
	for i := range ps {
		if below += ps[i].base; 2*below >= total {
			return ps[i].x
		}
	}
	return ps[len(ps)-1].x
}

// spread is the upper median of the squared distances from the middle, in scales: of two halves that disagree neither is the middle.
func spread(ps []part, middle float64) float64 {
	for i := range ps {
		r := ps[i].x - middle
		ps[i].weight = float64(r*r) / ps[i].scale
	}
	slices.SortFunc(ps, func(a, b part) int { return cmp.Compare(a.weight, b.weight) })
	return ps[len(ps)/2].weight
}

// claims is what a source says of its own way to the reference clock.
type claims struct{ delay, dispersion time.Duration }

// weigh finds what averaging cannot remove from each of the selected.
func (d *Discipline) weigh(cs []candidate) {
	delays, dispersions := d.buf.delays[:0], d.buf.bounds[:0]
	for i := range cs {
		if c := &cs[i]; c.verdict == Selected {
			delays = append(delays, c.t.last.RootDelay)
			dispersions = append(dispersions, c.t.last.RootDispersion)
		}
	}
	middle := claims{lowerMedian(delays), lowerMedian(dispersions)}
	for i := range cs {
		if c := &cs[i]; c.verdict == Selected {
			c.bias = c.t.bias(middle, d.params.IgnoreServerDispersion)
		}
	}
	d.buf.delays, d.buf.bounds = delays, dispersions
}

// bias is the variance of what averaging cannot remove from a source, s²: asymmetry of its path, and what it claims to
// be off by unless that is ignored (equation 9). What it claims counts no better than what the others do, except as far
// as it is near: nearness is measured, a claim is not (docs/rules/clock.md#claims).
func (t *tracker) bias(middle claims, ignoreDispersion bool) float64 {
	trip := t.noise.floor
	delay := max(t.last.RootDelay, min(middle.delay, trip))
	b := rootDistanceShare * (trip + delay).Seconds()
	v := float64(b * b)
	if !ignoreDispersion {
		r := max(t.last.RootDispersion, min(middle.dispersion, trip)).Seconds() / 3 // the claim is a bound of three sigma
		v += float64(r * r)
	}
	return v
}

// estimate relates the fused state to the steered clock (equation 1). It is unknown when a number went out of range (K08).
func (d *Discipline) estimate(s state, intensity float64, now ntp.Local) Estimate {
	if !s.finite() || s.pxx < 0 || s.pyy < 0 {
		return Estimate{}
	}
	e := Estimate{
		Known: true, At: now,
		Offset:    s.origin - d.clock.ClockGapAt(now) + time.Duration(math.Round(s.x*1e9)),
		Frequency: s.y,
		VarOffset: s.pxx, Cov: s.pxy, VarFreq: s.pyy, Beyond: max(math.Abs(s.y)-d.params.MaximumFrequencySteer, 0),
	}
	e.Wander = math.Sqrt(intensity)
	return e
}
