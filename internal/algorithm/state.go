package algorithm

import (
	"math"
	"time"

	"ntp-daemon/internal/ntp"
)

// state is what is known of true time minus Local, and of its rate, at one moment: a normal distribution.
// The offset is an exact count of nanoseconds plus a small float, so that a clock that starts thirty years off
// loses no precision.
type state struct {
	at     ntp.Local
	origin time.Duration // whole nanoseconds of the gap at `at`
	x      float64       // s, rest of the gap
	y      float64       // s/s, growth of the gap: true rate minus the oscillator's

	pxx float64 // s²
	pxy float64 // s·s/s
	pyy float64 // (s/s)²
}

// predict returns the state at a later time when the frequency is a random walk of the given intensity
// ((s/s)² per s): equation (2) of docs/algorithm.md. An earlier time returns the state unchanged.
func (s state) predict(to ntp.Local, intensity float64) state {
	if to <= s.at {
		return s
	}
	t := to.Sub(s.at).Seconds()
	s.at = to
	s.x += float64(s.y * t)
	q := float64(intensity * t)
	s.pxx += float64(2*t*s.pxy) + float64(t*t*s.pyy) + float64(q*t*t/3)
	s.pxy += float64(t*s.pyy) + float64(q*t/2)
	s.pyy += q
	return s.fold()
}

// fold moves whole nanoseconds from the float to the count.
func (s state) fold() state {
	n := math.Round(s.x * 1e9)
	s.origin += time.Duration(n)
	s.x -= n / 1e9
	return s
}

// above returns the gap minus ref in seconds.
func (s state) above(ref time.Duration) float64 { return (s.origin - ref).Seconds() + s.x }

// finite reports whether every number is usable (row K08).
func (s state) finite() bool {
	sum := s.x + s.y + s.pxx + s.pxy + s.pyy
	return !math.IsNaN(sum) && !math.IsInf(sum, 0) && math.Abs(s.y) < maxBelievedFrequency
}

const (
	// minFrequencyVariance keeps the filter from becoming certain: the kernel's own frequency resolution is
	// 1.5e-11 s/s.
	minFrequencyVariance = 1e-22
	// maxBelievedFrequency is beyond any oscillator that keeps a machine running, s/s.
	maxBelievedFrequency = 0.1
)
