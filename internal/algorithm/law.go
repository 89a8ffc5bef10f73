package algorithm

import (
	"math"
	"time"
)

// law is an opinion on what the round trip of a sample says about its noise. No one of them is right on every path, and each
// is wrong by much on some: a bank holds all, and their predictions decide.
type law uint8

// The laws.
const (
	lawBlind law = iota // all samples are alike: the noise is what the spread of the round trips says
	lawAware            // a sample that was not delayed has little noise, one that was has as much as its delay allows
	lawShare            // as lawAware, and a constant share of the delay shows in the offset, which is learnt
	lawWays             // the offset is within half the excess, and how probable it is where is learnt for each of the two ways (ways)
	laws                // number of them
)

const (
	// stampNoise is the jitter of the best timestamps, one sigma.
	stampNoise = 50e-9
	// baseShare is the noise of the least delayed of the first eight samples, as a share of the median excess. It falls with the
	// root of the number of samples, because the least of them does.
	baseShare = 0.15
	// excessShare: queueing that hit one direction only moves the offset by half the excess, equal shares move
	// it by nothing; excess²/8 lies between the two (docs/rules/clock.md#noise).
	excessShare = 1. / 8
	// floorShare: the least of n round trips is above the least that there can be by that share of the median excess, over the root of
	// n. It is that of two exponential ways.
	floorShare = 0.75
	// quartiles is the distance of the first and third quartile of a normal distribution, in sigmas.
	quartiles = 1.349
	// octiles is that of the first and the seventh eighth.
	octiles = 2.3007
	// fewTrips is below what the spread of round trips says something.
	fewTrips = 8
)

// observation is one sample as a law sees it.
type observation struct {
	noise  float64 // variance, s²
	excess float64 // s, what the share of delay is multiplied with; 0: the law has none
	// interval is what takes the place of noise, for a law that does not take it for normal; nil: none. It is valid until the next sample.
	interval *likelihood
}

// observe returns what each law makes of a sample with the round trip delay, precision of the source's stamps and the variance own that
// its clock adds: equation (4). To be asked after add.
func (d *delayNoise) observe(delay, precision time.Duration, own float64) (o [laws]observation) {
	e := (delay - d.floor).Seconds()
	common := d.common(delay, precision) + own
	for j := range laws {
		switch j {
		case lawBlind:
			o[j].noise = common + d.blind(e)
		default:
			o[j].noise = common + d.aware(e)
		}
	}
	if math.Abs(e) <= d.far().Seconds() { // what is not usual is another matter
		o[lawShare].excess = e
	}
	return o
}

// common is the part of the noise on which all agree: stamps, and what one knows of a path that has been seen n times. At n = 1
// the offset error is evenly spread over ± half the round trip.
func (d *delayNoise) common(delay, precision time.Duration) float64 {
	v := d.stamps(precision)
	if d.n < fewTrips {
		t, n := delay.Seconds(), float64(max(d.n, 1))
		u := t / float64(n*n)
		v += float64(u * u / 12)
	}
	return v
}

// stamps is the noise of time stamps.
func (d *delayNoise) stamps(precision time.Duration) float64 {
	p := min(max(precision, 0), time.Second).Seconds()
	g := d.grain.Seconds()
	return float64(stampNoise*stampNoise) + float64(p*p/12) + float64(g*g/12)
}

// far is the excess beyond which a round trip is unusual.
func (d *delayNoise) far() time.Duration { return max(routeFar*d.width(), 2*d.grain, minRoundTrip) }

// blind is a quarter of the variance of the round trips, because the offset is half the difference of two ways and the round trip their sum. It is
// taken from their quartiles, or from the eighths where these are further apart: of round trips that come in few sizes the quartiles may be the same. Of one that is not usual on this path the spread says nothing.
func (d *delayNoise) blind(e float64) float64 {
	if d.live < fewTrips {
		return d.aware(e)
	}
	s := max(d.spread.Seconds()/quartiles, d.wide.Seconds()/octiles) / 2
	v := float64(s * s)
	if math.Abs(e) > d.far().Seconds() {
		v = max(v, d.aware(e))
	}
	return v
}

// aware is the square of a share of the median excess, which falls with the number of round trips seen, and of the sample's own excess.
func (d *delayNoise) aware(e float64) float64 {
	excess := d.width().Seconds()
	base := baseShare * excess
	if d.live < fewTrips {
		base = excess / 2
	}
	n := float64(d.live)
	e += float64(floorShare * excess / math.Sqrt(n))
	return float64(base*base*min(fewTrips/n, 1)) + float64(e*e*excessShare)
}

// explains is the largest offset that queueing can have made of a round trip, s: half of what is above the least one, and what that is
// above the least that there can be.
func (d *delayNoise) explains(delay time.Duration) float64 {
	return (delay - d.floor + d.excess).Seconds() / 2
}

// typical is the variance of a sample with median excess, for reports.
func (d *delayNoise) typical(precision time.Duration) float64 {
	return d.common(d.floor+d.excess, precision) + d.aware(d.excess.Seconds())
}
