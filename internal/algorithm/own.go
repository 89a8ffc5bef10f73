package algorithm

import (
	"math"
	"slices"
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	// bendDepth is the number of bends from which the noise of a source's clock is taken.
	bendDepth = 24
	// bendsAtLeast is how many there must be.
	bendsAtLeast = 8
	// bendClip is how many sigmas of a bend count at most.
	bendClip = 3
	// quartile is the median of the size of a normal variable, in sigmas.
	quartile = 0.6745
	// bendDoubt is the part of the mean square of bends by which an estimate from so few may be too high.
	bendDoubt = 0.2
	// ownShare is how much of an estimate goes into the noise of a source, when it is not four times as much, which shows at once.
	ownShare = 1. / 8
	ownJump  = 4
	// noiseVariance: among the first samples an innovation beyond three sigma is noise of the source.
	noiseVariance = 9
	// maxOwn is more than the noise of any clock, s.
	maxOwn = 1
)

// ownNoise estimates the noise of a source's own clock: what round trips do not explain. Noise and wander both make samples differ from
// what was expected, and are told apart by their order: what the oscillator did stays, noise does not. The bend of three samples is
// what the middle one is above the line between its neighbours. For white noise of the variance u² the mean square of bends is 3/2 u² and
// the mean product of neighbours -u²; for a frequency that wanders they are as 4 to 1. So the mean square less four times the mean
// product is 11/2 u², whatever the wander (equation 4b).
type ownNoise struct {
	bends [bendDepth]float64 // s, ring, less what the delays explain
	n     int                // bends seen

	at     [2]ntp.Local // of the two samples before
	gap    [2]float64   // s, above the sample before that
	delays [2]float64   // s, what their delays explain
	seen   int          // of them
}

// restart forgets the last samples, not the bends: offsets have lost their reference.
func (o *ownNoise) restart() { o.seen = 0 }

// add takes in a sample that is rise seconds above the last one, with explained of them by its delay at most.
func (o *ownNoise) add(at ntp.Local, rise, explained float64) {
	if o.seen == 2 {
		before, after := o.at[1].Sub(o.at[0]).Seconds(), at.Sub(o.at[1]).Seconds()
		near := before / (before + after) // share of the later neighbour
		bend := float64(o.gap[1]*(1-near)) - float64(rise*near)
		q0, q1, q2 := float64(o.delays[0]*(1-near)), o.delays[1], float64(explained*near)
		rest := float64(bend*bend) - float64(q0*q0) - float64(q1*q1) - float64(q2*q2)
		o.bends[o.n%bendDepth] = math.Copysign(min(math.Sqrt(max(rest, 0)), maxOwn), bend)
		o.n++
	}
	o.at[0], o.gap[0], o.delays[0] = o.at[1], o.gap[1], o.delays[1]
	o.at[1], o.gap[1], o.delays[1] = at, rise, explained
	o.seen = min(o.seen+1, 2)
}

// variance returns the estimate of u², s², and whether there are enough bends for one.
func (o *ownNoise) variance() (u2 float64, known bool) {
	if o.n < bendsAtLeast {
		return 0, false
	}
	k := min(o.n, bendDepth)
	var sizes [bendDepth]float64
	for i := range k {
		sizes[i] = math.Abs(o.bends[i])
	}
	slices.Sort(sizes[:k])
	clip := bendClip / quartile * sizes[k/2]
	if clip == 0 {
		return 0, true
	}
	var square, product float64
	last := clamp(o.bends[(o.n-k)%bendDepth], clip)
	square = float64(last * last)
	for i := o.n - k + 1; i < o.n; i++ {
		b := clamp(o.bends[i%bendDepth], clip)
		square += float64(b * b)
		product += float64(b * last)
		last = b
	}
	square, product = square/float64(k), product/float64(k-1)
	return max((square-float64(4*product))/5.5-float64(bendDoubt*square), 0) / (1 - bendDoubt*1.5), true
}

// calm is the bank before the noise of the source's clock began: what it learnt since is worth nothing, because it took noise for time.
type calm struct {
	bank   bank
	at     ntp.Local
	origin time.Duration
	left   int // samples for which it is kept; 0: none
	quiet  int // samples since the last surprise
}

// remember keeps the bank at the first surprise after a quiet time.
func (t *tracker) remember(innovation, v float64) {
	c := &t.calm
	c.left, c.quiet = max(c.left-1, 0), c.quiet+1
	if float64(innovation*innovation) <= float64(v*misfitVariance) {
		return
	}
	if c.quiet > bendDepth && c.left == 0 && t.fresh > settled {
		c.bank, c.at, c.origin, c.left = t.bank, t.s.at, t.s.origin, 2*bendDepth
	}
	c.quiet = 0
}

// learnOwn takes the present estimate of the noise of the source's clock. When it is far above what all thought, they start anew from
// what they knew before.
func (t *tracker) learnOwn() {
	u2, known := t.bends.variance()
	if !known {
		return
	}
	c := &t.calm
	if noise := t.noise.typical(t.last.Precision); c.left > 0 && u2 > ownJump*(t.own+noise) {
		t.bank, t.s.origin = c.bank, c.origin
		t.bank.predict(t.s.at.Sub(c.at).Seconds())
		c.left = 0
	}
	if u2 > ownJump*t.own {
		t.own = u2
	}
	t.own += float64((u2 - t.own) * ownShare)
}

// doubtEarly takes a surprise among the first samples, which have no order yet, for noise of the source's clock: beyond three
// sigmas, and beyond what an oscillator that can be disciplined does in the time since the one before. The samples before were not better then. It reports whether it was so.
func (t *tracker) doubtEarly(z, v float64, since time.Duration) bool {
	d := float64(z*z) - v
	if d <= (noiseVariance-1)*v || math.Abs(z) <= kernelMaxFrequency*since.Seconds() || math.Abs(z) > maxOwn || t.fresh > 2 && t.above == (z > 0) {
		return false
	}
	t.own += d / 2
	t.bank.doubt(d / 2 / float64(t.fresh-1))
	return true
}
