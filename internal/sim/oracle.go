package sim

import (
	"math"
	"strings"
)

// oracle is a plain Kalman filter that is told what no client knows, the oscillator's wander and the variance of a sample, and
// shows its estimate as if a clock were set right at once. It sees the samples that the client of the same world accepts.
// What it reaches says how hard the world is.
type oracle struct {
	wander, noise float64 // s/s per sqrt(s); s²
	at            float64 // s by the bare oscillator, of the state
	x, y          float64 // s and s/s, gap between true time and the bare oscillator
	p             covariance

	sum2  float64 // of errors
	told2 float64 // of the variances that the filter gives itself
	count int
	hold  [5]float64
}

// covariance of offset and frequency.
type covariance struct{ xx, xy, yy float64 }

// ahead is what a covariance becomes after t seconds of a frequency that wanders.
func (p covariance) ahead(t, wander float64) covariance {
	q := wander * wander
	return covariance{
		xx: p.xx + 2*t*p.xy + t*t*p.yy + q*t*t*t/3,
		xy: p.xy + t*p.yy + q*t*t/2,
		yy: p.yy + q*t,
	}
}

// updated is what it becomes with a sample of the offset, and the gains.
func (p covariance) updated(noise float64) (c covariance, gx, gy float64) {
	s := p.xx + noise
	gx, gy = p.xx/s, p.xy/s
	return covariance{xx: gx * noise, xy: noise / s * p.xy, yy: p.yy - gy*p.xy}, gx, gy
}

// LinearBound is the least RMS of a clock that a linear estimator can reach with one sample of variance noise, s², every t
// seconds, over an oscillator of that wander, s/s per sqrt(s): the steady state of the Riccati equation, averaged between samples.
func LinearBound(wander, t, noise float64) float64 {
	p := covariance{xx: noise, yy: 1e-12}
	for range 1_000_000 {
		next, _, _ := p.ahead(t, wander).updated(noise)
		if math.Abs(next.xx-p.xx) <= 1e-12*p.xx && math.Abs(next.yy-p.yy) <= 1e-12*p.yy {
			break
		}
		p = next
	}
	return math.Sqrt(p.xx + p.xy*t + p.yy*t*t/3 + wander*wander*t*t*t/12)
}

// PathNoise is the variance of the offset of a sample over the path to server i, s², as if every sample came at another time of
// the whole run, and the share of requests that are answered.
func (c *Case) PathNoise(i int) (noise, answered float64, err error) {
	w, err := c.build(Policy{}, 1<<40, nil)
	if err != nil {
		return 0, 0, err
	}
	a := w.Clients[0].assocs[i]
	const n = 50000
	var sum, sum2, good float64
	for k := range n {
		t := int64((c.Warmup + (c.Duration-c.Warmup)*float64(k)/n) * 1e9)
		if c.Event != nil {
			t = int64(c.Event.At * float64(k) / n * 1e9)
		}
		out, there := a.out.transit(t, 48)
		back, here := a.back.transit(t, 48)
		if there && here {
			z := float64(out-back) / 2e9
			sum, sum2, good = sum+z, sum2+z*z, good+1
		}
	}
	mean := sum / max(good, 1)
	noise = sum2/max(good, 1) - mean*mean
	if e := w.References[i].noise; e != nil {
		sum, sum2 = 0, 0
		for range n {
			v := e.Next()
			sum, sum2 = sum+v, sum2+v*v
		}
		noise += sum2/n - sum*sum/n/n
	}
	return noise, good / n, nil
}

func newOracle(wander, noise float64) *oracle {
	return &oracle{wander: wander, noise: noise, p: covariance{xx: 1, yy: 1e-8}}
}

func (o *oracle) sample(s Sample) {
	at := s.Local.Seconds()
	t := at - o.at
	o.p = o.p.ahead(t, o.wander)
	o.x, o.at = o.x+t*o.y, at
	var gx, gy float64
	o.p, gx, gy = o.p.updated(o.noise)
	inn := s.Gap.Seconds() - o.x
	o.x, o.y = o.x+gx*inn, o.y+gy*inn
}

// second compares with the true gap at a whole second. after is the time since the event; -Inf without one.
func (o *oracle) second(local, gap, after float64, counts bool) {
	e := gap - (o.x + (local-o.at)*o.y)
	if counts {
		o.sum2 += e * e
		o.told2 += o.p.ahead(local-o.at, o.wander).xx
		o.count++
	}
	for i, h := range HoldTimes() {
		if after == h {
			o.hold[i] = -e
		}
	}
}

// Linear is the LinearBound of the scenario when each server is asked as often as in r. ok is false where the oscillator does
// more than wander, a path changes with time, or a server is wrong: there is no such bound then.
func (c *Case) Linear(r *Result) (bound float64, ok bool, err error) {
	if c.Client.Wander <= 0 || r.Packets == 0 || strings.Contains(c.Client.Freq, "sine") || c.Kind == "converge" || c.Kind == "attack" {
		return 0, false, nil
	}
	p, err := NamedPolicy(r.Policy)
	if err != nil {
		return 0, false, err
	}
	duration, _ := c.times(p)
	var information float64 // per second
	for i := range c.Servers {
		noise, answered, err := c.PathNoise(i)
		if err != nil {
			return 0, false, err
		}
		s := &c.Servers[i]
		if s.Offset != 0 || strings.Contains(s.Out+s.Back, "time") || noise <= 0 || answered <= 0 {
			return 0, false, nil
		}
		information += answered * float64(r.Packets) / float64(len(c.Servers)) / duration / noise
	}
	t := duration / float64(r.Packets) * float64(len(c.Servers))
	return LinearBound(c.Client.Wander, t, 1/(information*t)), true, nil
}
