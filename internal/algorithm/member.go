package algorithm

import "math"

// member is one Kalman filter of a bank. Its state is
//
//	x  gap between true time and Local, less the origin of the bank, s
//	y  growth of the gap, s/s
//	a  offset of a sample per excess of its round trip: ½ when all queueing is on the way out, -½ when it is on the way back
//	b  offset of every sample on the present path, s
//
// and a sample with the excess e is z = x + e a + b + noise. The covariance is symmetric and held once.
type member struct {
	x, y, a, b float64

	xx, xy, xa, xb float64
	yy, ya, yb     float64
	aa, ab         float64
	bb             float64
}

const (
	// delayShareSigma is what is known of a before any sample: it lies within ± ½.
	delayShareSigma = 0.35
	// delayShareMemory is how long a stays what it was, s: the load of a path has days and nights.
	delayShareMemory = 4 * 86400
	// leastNews is the least that the variance of a sample may be of the variance that it is expected with: a float64 keeps 16 digits
	// of the difference, and less than a millionth of what was not known before is lost.
	leastNews = 1e-12
)

// predict moves the state t seconds on, with a frequency that gains the variance q each second: equation (2).
func (m *member) predict(t, q float64) {
	m.x += float64(m.y * t)
	gain := float64(q * t)
	tt := float64(t * t)
	m.xx += float64(2*t*m.xy) + float64(tt*m.yy) + float64(gain*tt/3)
	m.xy += float64(t*m.yy) + float64(gain*t/2)
	m.xa += float64(t * m.ya)
	m.xb += float64(t * m.yb)
	m.yy += gain
	if m.aa > 0 {
		m.aa = min(m.aa+float64(delayShareSigma*delayShareSigma*t/delayShareMemory), delayShareSigma*delayShareSigma)
		m.tame()
	}
}

// tame keeps the covariances of a within what its variance, which has an upper limit, allows.
func (m *member) tame() {
	m.xa = clamp(m.xa, math.Sqrt(float64(m.xx*m.aa)))
	m.ya = clamp(m.ya, math.Sqrt(float64(m.yy*m.aa)))
	m.ab = clamp(m.ab, math.Sqrt(float64(m.bb*m.aa)))
}

// gain is P H' for H = (1, 0, e, 1), and the variance H P H' of the sample that is expected.
type gain struct{ x, y, a, b, v float64 }

// expect returns the sample that is expected with an excess of e seconds, less the origin, and what it teaches about each part of the state.
func (m *member) expect(e float64) (z float64, g gain) {
	z = m.x + float64(e*m.a) + m.b
	g.x = m.xx + float64(e*m.xa) + m.xb
	g.y = m.xy + float64(e*m.ya) + m.yb
	g.a = m.xa + float64(e*m.aa) + m.ab
	g.b = m.xb + float64(e*m.ab) + m.bb
	g.v = g.x + float64(e*g.a) + g.b
	atLeast(&g.v, 0)
	return z, g
}

// update takes in a sample that is d seconds above the expected one, with noise of the variance r: equation (3).
func (m *member) update(g *gain, d, r float64) {
	atLeast(&r, float64(g.v*leastNews))
	s := g.v + r
	inverse := 1 / s
	kx, ky, ka, kb := float64(g.x*inverse), float64(g.y*inverse), float64(g.a*inverse), float64(g.b*inverse)
	m.x += float64(kx * d)
	m.y += float64(ky * d)
	if m.plain() {
		m.narrow(kx, ky, g)
		return
	}
	m.a += float64(ka * d)
	m.b += float64(kb * d)
	m.learn(kx, ky, ka, kb, g)
}

// condition takes in that what was expected with the variance g.v has turned out to be that much more, and known to the variance rest.
func (m *member) condition(g *gain, move, rest float64) {
	inverse := 1 / max(g.v, minOffsetVariance)
	kx, ky, ka, kb := float64(g.x*inverse), float64(g.y*inverse), float64(g.a*inverse), float64(g.b*inverse)
	m.x += float64(kx * move)
	m.y += float64(ky * move)
	m.a += float64(ka * move)
	m.b += float64(kb * move)
	known := 1 - max(float64(rest*inverse), leastNews)
	kx, ky, ka, kb = float64(kx*known), float64(ky*known), float64(ka*known), float64(kb*known)
	if m.plain() {
		m.narrow(kx, ky, g)
		return
	}
	m.learn(kx, ky, ka, kb, g)
}

// learn takes what a sample has taught off what was not known: the gains times P H'.
func (m *member) learn(kx, ky, ka, kb float64, g *gain) {
	m.xx -= float64(kx * g.x)
	m.xy -= float64(kx * g.y)
	m.xa -= float64(kx * g.a)
	m.xb -= float64(kx * g.b)
	m.yy -= float64(ky * g.y)
	m.ya -= float64(ky * g.a)
	m.yb -= float64(ky * g.b)
	m.aa -= float64(ka * g.a)
	m.ab -= float64(ka * g.b)
	m.bb -= float64(kb * g.b)
	m.mend()
}

// plain reports whether a and b are known for certain, so that no sample teaches anything of them: most members are most of the time.
func (m *member) plain() bool { return m.aa == 0 && m.bb == 0 }

// narrow takes from the covariance of x and y what a sample has taught.
func (m *member) narrow(kx, ky float64, g *gain) {
	m.xx -= float64(kx * g.x)
	m.xy -= float64(kx * g.y)
	m.yy -= float64(ky * g.y)
	atLeast(&m.xx, minOffsetVariance)
	atLeast(&m.yy, minFrequencyVariance)
	m.xy = clampCovariance(m.xy, m.xx, m.yy)
}

// mend keeps the covariance one of a normal distribution where rounding would not.
func (m *member) mend() {
	atLeast(&m.xx, minOffsetVariance)
	atLeast(&m.yy, minFrequencyVariance)
	atLeast(&m.aa, 0)
	atLeast(&m.bb, 0)
	m.xy = clampCovariance(m.xy, m.xx, m.yy)
	m.xa, m.ya = clampCovariance(m.xa, m.xx, m.aa), clampCovariance(m.ya, m.yy, m.aa)
	m.xb, m.yb = clampCovariance(m.xb, m.xx, m.bb), clampCovariance(m.yb, m.yy, m.bb)
	m.ab = clampCovariance(m.ab, m.aa, m.bb)
}

// atLeast raises what is below a limit, which is so rare that a branch is cheaper than max.
func atLeast(v *float64, limit float64) {
	if *v < limit {
		*v = limit
	}
}

// clampCovariance limits c to what the two variances allow.
func clampCovariance(c, v, w float64) float64 {
	if limit := float64(v * w); float64(c*c) > limit {
		return clamp(c, math.Sqrt(limit))
	}
	return c
}

// seed sets the offset to what one sample says, x above the origin, with noise of the variance r. What is known of the frequency
// and of the share of delay stays.
func (m *member) seed(x, r float64) {
	m.x, m.xx, m.xb = x-m.b, r+m.bb, -m.bb
	m.xy, m.xa, m.yb, m.ab = 0, 0, 0, 0
}

// adopt takes over the state of another one. Who does not estimate the share of delay has it at 0.
func (m *member) adopt(o *member) {
	shares := m.aa > 0
	was := *m
	*m = *o
	if shares != (o.aa > 0) {
		m.a, m.aa, m.xa, m.ya, m.ab = was.a, was.aa, 0, 0, 0
	}
}

// finite reports whether every number is usable (row K08).
func (m *member) finite() bool {
	sum := ((m.x + m.y) + (m.a + m.b)) + ((m.xx + m.xy) + (m.xa + m.xb)) + (((m.yy + m.ya) + (m.yb + m.aa)) + (m.ab + m.bb))
	return !math.IsNaN(sum) && !math.IsInf(sum, 0) && math.Abs(m.y) < maxBelievedFrequency
}

// minOffsetVariance keeps a member from becoming certain, s²: far below what a timestamp resolves.
const minOffsetVariance = 1e-22
