package algorithm

import (
	"math"
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	// misfitVariance: beyond five sigma with an ordinary delay, the source's time itself has changed…
	misfitVariance = 25
	// misfitLimit: …if that many samples say so, with no other one between them…
	misfitLimit = 4
	// misfitShare: …and agree on it to that share, or to three sigma of their difference.
	misfitShare = 1. / 32
	// leanNow and leanBefore are by how many sigmas two samples in a row must be off on the same side for a third one at once.
	leanNow, leanBefore = 2.5, 1
	// misfitFrequency is the largest sudden change of a frequency that is followed by itself, s/s.
	misfitFrequency = 3e-6
)

// surprise is what was believed before a sample that does not fit, in case that the source's time itself has changed.
type surprise struct {
	n      int  // samples that say so; 0: none
	odd    int  // samples between them that say nothing, because they were long on their way
	bank   bank // as if they had not been taken in
	at     ntp.Local
	origin time.Duration
	first  ntp.Local // of the first of them
	z      float64   // s, by which that one was off
	since  float64   // s, from the sample before it
}

// held reports whether the latest sample is to wait for what the next ones say: it is off by more than a frequency that changed explains.
func (u *surprise) held() bool { return u.n > 0 && math.Abs(u.z) > float64(misfitFrequency*u.since) }

// lean asks for a further sample when this one and the one before are off on the same side: a frequency has changed, or it was chance.
func (t *tracker) lean(innovation, v float64) {
	sigmas := innovation / math.Sqrt(v)
	if t.fresh > settled && math.Abs(sigmas) > leanNow && float64(t.leans*math.Copysign(1, sigmas)) > leanBefore {
		t.haste.want()
	}
	t.leans = sigmas
}

// stepped reports whether this sample is the last of a row that says that the source's time itself has changed, and seeds the offset
// then. They all differ from what was expected before them by the same (equation 7); what goes on growing is a frequency.
func (t *tracker) stepped(m *ntp.Measurement, o *[laws]observation, innovation, v, since float64, trip time.Duration) bool {
	u := &t.surprise
	if ordinary := trip <= t.noise.floor+3*t.noise.excess; !ordinary {
		if u.odd++; u.odd >= misfitLimit { // nobody waits for an answer that does not come
			u.n = 0
		}
		return false
	}
	if u.n == 0 {
		if float64(innovation*innovation) > float64(v*misfitVariance) {
			u.n, u.odd, u.bank, u.at, u.origin, u.first, u.z, u.since = 1, 0, t.bank, m.At, t.s.origin, m.At, innovation, since
			t.haste.want()
		}
		return false
	}
	u.bank.predict(m.At.Sub(u.at).Seconds())
	u.at = m.At
	expected, v, _ := u.bank.expect(o)
	z := (m.TrueGap - u.origin).Seconds() - expected
	if d := math.Abs(z - u.z); float64(z*z) <= float64(v*misfitVariance) || d > max(math.Abs(u.z)*misfitShare, math.Sqrt(v*2*noiseVariance)) {
		u.n = 0
		return false
	}
	if u.n++; u.n < misfitLimit {
		t.haste.want()
		return false
	}
	t.bank = u.bank
	t.forget()
	t.bank.doubtFrequency((z - u.z) / m.At.Sub(u.first).Seconds())
	t.seed(m, o)
	return true
}
