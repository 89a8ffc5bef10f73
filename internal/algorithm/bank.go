package algorithm

import "math"

// wanders is the number of wanders in a bank.
const wanders = 12

// intensities are the squares of the wanders of a bank, (s/s)² per s: from 10^-11.5 to 10^-6, half a decade apart. The lowest
// is below an oscillator in an oven, the highest a virtual machine under changing load (docs/rules/clock.md#oscillator).
var intensities = [wanders]float64{1e-23, 1e-22, 1e-21, 1e-20, 1e-19, 1e-18, 1e-17, 1e-16, 1e-15, 1e-14, 1e-13, 1e-12}

const (
	// tails is the number of degrees of freedom of the distribution by which predictions are judged and surprises are weighed: one
	// sample in some hundred is nothing that a normal distribution knows.
	tails = 4
	// remembered is what a sample leaves of what was known about which law is right, and wanderRemembered of which wander is: they
	// count for 200 and 1000 samples.
	remembered, wanderRemembered = 0.995, 0.999
	// alive is the sum of the shares that members have however wrong they were: conditions change.
	alive = 2e-3
	// hopeless is how many of its sigmas a member is off the mixture when it starts anew from the best one.
	hopeless = 30
	// body is the variance of such a distribution whose middle looks like a normal one of variance 1, inverse.
	body = 1.25
	// blunder is the logarithm of how probable any sample is by whatever member: one of some hundred may be anything within seconds. What
	// nobody foresaw tells nothing about who is right.
	blunder = -6
	// judged is the number of samples after which predictions tell the members apart.
	judged = 8
	// wanderPrior is how many decades, one sigma, the wander may differ from the configured one before anything is known.
	wanderPrior = 0.75
)

// bank is a set of Kalman filters, one for each wander of the oscillator and each law of the noise, and how probable each of them is. Their
// offsets count from an origin that its owner keeps.
type bank struct {
	members [wanders][laws]member
	// lot is the logarithm of a member's probability, and share that less what it is given however wrong it is. The shares add up to 1.
	lot, share [wanders][laws]float64
	// all is the logarithm of a wander's probability, whatever the law.
	all [wanders]float64
	// routed reports whether b of any member may be anything but 0 for certain.
	routed bool
}

// start makes a bank that knows a frequency with the given variance and no offset.
func (b *bank) start(y, variance, initialWander float64) {
	var total float64
	b.routed = false
	for i := range b.members {
		d := float64((ln(intensities[i]) - 2*ln(initialWander)) / (2 * math.Ln10 * wanderPrior))
		b.all[i] = ln(float64(laws)) - float64(d*d/2)
		for j := range b.members[i] {
			m := &b.members[i][j]
			*m = member{y: y, yy: variance}
			if law(j) == lawShare {
				m.aa = delayShareSigma * delayShareSigma
			}
			b.lot[i][j] = -float64(d * d / 2)
			b.share[i][j] = exp(b.lot[i][j])
			total += b.share[i][j]
		}
	}
	b.normalise(total)
}

// predict moves all members t seconds on.
func (b *bank) predict(t float64) {
	for i := range b.members {
		for j := range b.members[i] {
			b.members[i][j].predict(t, intensities[i])
		}
	}
}

// expect returns the mixture's expectation of a sample, its variance, and the part of that which is the sample's noise.
func (b *bank) expect(o *[laws]observation) (z, variance, noise float64) {
	var square float64
	first, _ := b.members[0][0].expect(o[0].excess) // the sums are about one of them, lest they lose digits
	for i := range b.members {
		for j, w := range b.share[i] {
			if w == 0 {
				continue
			}
			e, g := b.members[i][j].expect(o[j].excess)
			d := e - first
			z += float64(w * d)
			noise += float64(w * o[j].noise)
			square += float64(w * (g.v + float64(d*d)))
		}
	}
	return first + z, noise + max(square-float64(z*z), 0), noise
}

// update takes in a sample, z above the origin, and judges the members by how well they foresaw it: equations (3) to (5).
func (b *bank) update(z float64, o *[laws]observation, judge bool) {
	if judge {
		b.fade()
	}
	best := math.Inf(-1)
	for i := range b.members {
		for j := range b.members[i] {
			lot := b.members[i][j].absorb(z, &o[j], judge)
			if judge {
				b.lot[i][j] += max(lot, blunder)
			}
			if b.lot[i][j] > best {
				best = b.lot[i][j]
			}
		}
	}
	if judge {
		b.weigh(best)
	}
}

// fade forgets a little of what is known about who is right: about the laws, as conditions of a path change within hours, more than about the
// wanders, which are the oscillator's and tell themselves apart slowly.
func (b *bank) fade() {
	for i := range b.lot {
		all := b.all[i]
		for j := range b.lot[i] {
			b.lot[i][j] = float64((b.lot[i][j]-all)*remembered) + float64(all*wanderRemembered)
		}
	}
}

// evidence is the logarithm of the density of a sample whose square is u times the variance s, but for a constant: that of Student's
// distribution, -5/2 ln(1 + body u/4) - ½ ln s, with one logarithm.
func evidence(u, s float64) float64 {
	p := min(1+float64(body*u/tails), 1e50)
	q := float64(p * p)
	return -float64(ln(float64(float64(q*q)*float64(p*s))) / 2)
}

// weigh turns what is known about the members into shares.
func (b *bank) weigh(best float64) {
	var total float64
	for i := range b.lot {
		for j := range b.lot[i] {
			b.share[i][j] = exp(b.lot[i][j] - best)
			total += b.share[i][j]
		}
	}
	scale := 1 / total
	rest := ln(total) + best
	floor := ln(least)
	for i := range b.lot {
		var all float64
		for j := range b.lot[i] {
			b.lot[i][j] = max(b.lot[i][j]-rest, floor)
			all += max(float64(b.share[i][j]*scale), least)
		}
		b.all[i] = ln(all)
	}
	b.normalise(total)
}

// least is the share that each member has however wrong it was.
const least = alive / (wanders * float64(laws))

// normalise makes the shares add up to 1, without what is kept alive.
func (b *bank) normalise(total float64) {
	scale, sum := 1/total, 0.
	for i := range b.share {
		for j := range b.share[i] {
			b.share[i][j] = max(float64(b.share[i][j]*scale)-least, 0)
			sum += b.share[i][j]
		}
	}
	scale = 1 / sum
	for i := range b.share {
		for j := range b.share[i] {
			b.share[i][j] *= scale
		}
	}
}

// revive starts those members anew from the most probable one that are hopelessly far from the mixture.
func (b *bank) revive(x float64) {
	bi, bj, most := 0, 0, 0.
	for i := range b.share {
		for j, w := range b.share[i] {
			if w > most {
				bi, bj, most = i, j, w
			}
		}
	}
	for i := range b.members {
		for j := range b.members[i] {
			m := &b.members[i][j]
			if d := m.x - x; float64(d*d) > float64(hopeless*hopeless*m.xx) && (i != bi || j != bj) {
				m.adopt(&b.members[bi][bj])
			}
		}
	}
}

// moments joins the members to one normal distribution of offset and frequency with the same mean and covariance, equation (6), and returns the
// mean intensity of the wander.
func (b *bank) moments() (s state, intensity float64) {
	for i := range b.members {
		for j, w := range b.share[i] {
			if w == 0 {
				continue
			}
			m := &b.members[i][j]
			s.x += float64(w * m.x)
			s.y += float64(w * m.y)
			intensity += float64(w * intensities[i])
		}
	}
	for i := range b.members {
		for j, w := range b.share[i] {
			if w == 0 {
				continue
			}
			m := &b.members[i][j]
			dx, dy := m.x-s.x, m.y-s.y
			s.pxx += float64(w * (m.xx + float64(dx*dx)))
			s.pxy += float64(w * (m.xy + float64(dx*dy)))
			s.pyy += float64(w * (m.yy + float64(dy*dy)))
		}
	}
	return s, intensity
}

// offset returns the mixture's expectation of a sample that was not delayed, from the origin, and its variance.
func (b *bank) offset() (mean, variance float64) {
	var square float64
	first := b.members[0][0].x // the sums are about one of them, lest they lose digits
	for i := range b.members {
		for j, w := range b.share[i] {
			if w > 0 {
				m := &b.members[i][j]
				d := m.x + m.b - first
				mean += float64(w * d)
				square += float64(w * (float64(d*d) + m.xx + float64(2*m.xb) + m.bb))
			}
		}
	}
	return first + mean, max(square-float64(mean*mean), 0)
}

// seed sets every member's offset to what one sample says, at the origin.
func (b *bank) seed(o *[laws]observation) {
	for i := range b.members {
		for j := range b.members[i] {
			b.members[i][j].seed(0, o[j].noise)
		}
	}
}

// doubt adds v to the variance of every member's offset.
func (b *bank) doubt(v float64) {
	for i := range b.members {
		for j := range b.members[i] {
			b.members[i][j].xx += v
		}
	}
}

// doubtFrequency adds an error of d to what is not known of every member's frequency.
func (b *bank) doubtFrequency(d float64) {
	for i := range b.members {
		for j := range b.members[i] {
			b.members[i][j].yy += float64(d * d)
		}
	}
}

// shift moves the origin by d seconds.
func (b *bank) shift(d float64) {
	for i := range b.members {
		for j := range b.members[i] {
			b.members[i][j].x -= d
		}
	}
}

// finite reports whether every number is usable (row K08).
func (b *bank) finite() bool {
	for i := range b.members {
		for j := range b.members[i] {
			if !b.members[i][j].finite() || math.IsNaN(b.lot[i][j]) || math.IsNaN(b.share[i][j]) {
				return false
			}
		}
	}
	return true
}

// bias returns the mean and the variance of b.
func (b *bank) bias() (mean, variance float64) {
	if !b.routed {
		return 0, 0
	}
	var square float64
	first := b.members[0][0].b // the sums are about one of them, lest they lose digits
	for i := range b.members {
		for j, w := range b.share[i] {
			m := &b.members[i][j]
			d := m.b - first
			mean += float64(w * d)
			square += float64(w * (m.bb + float64(d*d)))
		}
	}
	return first + mean, max(square-float64(mean*mean), 0)
}

// doubtBias adds v to the variance of b.
func (b *bank) doubtBias(v float64) {
	b.routed = true
	for i := range b.members {
		for j := range b.members[i] {
			b.members[i][j].bb += v
		}
	}
}

// yield moves change s from b to the offset, of which the variance is v then.
func (b *bank) yield(change, v float64) {
	b.routed = true
	for i := range b.members {
		for j := range b.members[i] {
			m := &b.members[i][j]
			seen := max(m.xx+2*m.xb+m.bb, minOffsetVariance) // of what the samples show, x + b
			m.x, m.b = m.x+change, m.b-change
			m.xx, m.xb, m.bb = v, -v, v+seen
			m.xy, m.xa, m.yb, m.ab = 0, 0, 0, 0
		}
	}
}

// move takes s seconds from b and gives them to the offset.
func (b *bank) move(s float64) {
	for i := range b.members {
		for j := range b.members[i] {
			m := &b.members[i][j]
			m.x, m.b = m.x+s, m.b-s
		}
	}
}

// setBias makes b what is known of a route.
func (b *bank) setBias(mean, variance float64) {
	b.routed = true
	for i := range b.members {
		for j := range b.members[i] {
			m := &b.members[i][j]
			m.b, m.bb = mean, variance
			m.xb, m.yb, m.ab = 0, 0, 0
		}
	}
}
