package algorithm

// scales is the number of exponentials that a density is made of.
const scales = 11

// delayScales are their means in s, each four times the one before: from what hardware stamps resolve to a quarter of a second. Four,
// because the density of each is then the fourth power of the next one's, and one exponential is enough for all.
var delayScales = [scales]float64{
	0.25e-6, 1e-6, 4e-6, 16e-6, 64e-6, 256e-6, 1.024e-3, 4.096e-3, 16.384e-3, 65.536e-3, 262.144e-3,
}

const (
	// densityDoubt is what is believed of a density before any sample, in samples.
	densityDoubt = 8
	// densityMemory is the number of samples after which the oldest count for a third: paths have days and nights.
	densityMemory = 700
	// densityFall is by how much less probable each scale is at first than the next one towards the expected one.
	densityFall = 1. / 4
	// delayPerScale is the median of the sum of two exponentials, in units of their mean.
	delayPerScale = 1.678
)

// leastShare keeps shares out of the range in which a processor is slow.
const leastShare = 1e-100

// oneWay is the distribution of how much longer than at best packets are on their way, in one direction: a mixture of exponentials,
//
//	f(t) = Σ share_k e^(-t/τ_k) / τ_k,  t ≥ 0
//
// which has its peak at 0, as what waits in a queue does, and as long a tail as the path.
type oneWay struct {
	share   [scales]float64 // ≥ 0, adds up to 1
	samples float64         // that it rests on
}

// expect starts a distribution such that two of them add up to the given median.
func (o *oneWay) expect(median float64) {
	near := 0
	for k, scale := range delayScales {
		if float64(scale*delayPerScale) <= float64(2*median) { // the middle between two scales, as they are counted, is twice the lower one
			near = k
		}
	}
	total, share := 0., 1.
	for d := range scales {
		if k := near - d; k >= 0 {
			o.share[k] = share
			total += share
		}
		if k := near + d; k < scales && d > 0 {
			o.share[k] = share
			total += share
		}
		share *= densityFall
	}
	for k := range o.share {
		o.share[k] /= total
	}
	o.samples = densityDoubt
}

// leastDecay keeps numbers out of the range in which a processor is slow: whose fourth power is of no consequence, counts as nothing.
const leastDecay = 1e-70

// heights returns the density at 0 of each exponential, 1/s.
func (o *oneWay) heights() (h [scales]float64) {
	for k := range h {
		h[k] = o.share[k] / delayScales[k]
	}
	return h
}

// pair returns what the product of two densities, given their heights, is where the first delay is t and the second s ≥ t ≥ 0, and where it is the
// other way round, 1/s². Two sums that do not wait for each other take little longer than one.
func pair(one, other *[scales]float64, t, s float64) (there, back float64) {
	d := exp(-float64(t / delayScales[scales-1]))
	e := exp(-float64(s / delayScales[scales-1]))
	f, g := float64(one[scales-1]*d), float64(other[scales-1]*d)
	h, i := float64(one[scales-1]*e), float64(other[scales-1]*e)
	for k := scales - 2; k >= 0 && d > leastDecay; k-- {
		if e <= leastDecay {
			e = 0
		}
		d, e = float64(d*d), float64(e*e)
		d, e = float64(d*d), float64(e*e)
		f += float64(one[k] * d)
		g += float64(other[k] * d)
		h += float64(one[k] * e)
		i += float64(other[k] * e)
	}
	return float64(f * i), float64(h * g)
}

// blame adds weight times the probability that a delay t ≥ 0 was made by each of the exponentials (equation 6b).
func blame(heights *[scales]float64, t, weight float64, to *[scales]float64) {
	d := exp(-float64(t / delayScales[scales-1]))
	total := float64(heights[scales-1] * d)
	var each [scales]float64
	each[scales-1] = total
	for k := scales - 2; k >= 0 && d > leastDecay; k-- {
		d = float64(d * d)
		d = float64(d * d)
		each[k] = float64(heights[k] * d)
		total += each[k]
	}
	if total <= 0 {
		return
	}
	weight /= total
	for k := range each {
		to[k] += float64(each[k] * weight)
	}
}

// learn moves the shares towards what one sample says of them, in proportions that add up to total.
func (o *oneWay) learn(blamed *[scales]float64, total float64) {
	o.samples = min(o.samples+1, densityMemory)
	for k := range o.share {
		o.share[k] += (float64(blamed[k]/total) - o.share[k]) / o.samples
		atLeast(&o.share[k], leastShare)
	}
}
