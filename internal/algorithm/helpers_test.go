package algorithm

import (
	"math"
	"math/rand/v2"
	"time"

	"ntp-daemon/internal/ntp"
)

const (
	us  = time.Microsecond
	ms  = time.Millisecond
	sec = time.Second
)

// path makes samples of a source whose time is right, or wrong by lie, over two exponential one-way delays.
type path struct {
	id     ntp.SourceID
	delay  time.Duration // one way
	jitter time.Duration // scale of each way
	lie    time.Duration
	freq   float64 // growth of the gap, s/s
	rng    *rand.Rand
}

func newPath(id ntp.SourceID, delay, jitter time.Duration) *path {
	return &path{id: id, delay: delay, jitter: jitter, rng: rand.New(rand.NewPCG(7, uint64(id)))}
}

func (p *path) at(l ntp.Local) ntp.Measurement {
	out := time.Duration(p.rng.ExpFloat64() * float64(p.jitter))
	back := time.Duration(p.rng.ExpFloat64() * float64(p.jitter))
	return ntp.Measurement{
		Source: p.id, At: l, RTT: 2*p.delay + out + back, Poll: 4, Stratum: 1, Precision: 100,
		TrueGap: p.lie + (out-back)/2 + time.Duration(math.Round(float64(l)*p.freq)),
	}
}

// feed absorbs n samples of every path, one second apart, and returns the time after the last.
func feed(d *Discipline, from ntp.Local, n int, paths ...*path) ntp.Local {
	for range n {
		from = from.Add(sec)
		for i, p := range paths {
			d.Absorb(p.at(from.Add(time.Duration(i) * ms)))
		}
	}
	return from.Add(time.Duration(len(paths)) * ms)
}

func loose() Params {
	p := Defaults()
	p.MinimumAgreeing = 1
	return p
}

// reading is what the clock shows at an oscillator time at or after the newest entry of its ledger.
func reading(l ntp.Ledger, at ntp.Local) ntp.Timestamp {
	last := l.Last()
	return last.Time.Add(at.Sub(last.Local) + last.ClockGapAt(at) - last.ClockGap)
}
