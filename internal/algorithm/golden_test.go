package algorithm

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// dice makes the same numbers on every machine, without a floating point operation.
type dice uint64

// below returns a number from 0 to n-1.
func (d *dice) below(n uint64) time.Duration {
	*d = *d*6364136223846793005 + 1442695040888963407
	return time.Duration(uint64(*d>>11) % n)
}

// TestGolden: the same samples give the same bits, on every processor: `make golden` compares what it prints with that of a build for arm64, whose
// compiler joins a product and a sum where the source lets it. Four sources of different kinds, one that lies, one that steps, gaps, bursts and a change of interval.
func TestGolden(t *testing.T) {
	run := func() uint64 {
		h := fnv.New64a()
		put := func(vs ...float64) {
			for _, v := range vs {
				_ = binary.Write(h, binary.LittleEndian, math.Float64bits(v))
			}
		}
		dev := New(Defaults())
		l := ntp.NewLedger(1<<60, 3e-6)
		dev.Applied(l.Last())
		d, at, gap := dice(1), ntp.Local(0), time.Duration(0)
		for i := range 3000 {
			step := 16*sec + d.below(1e9)
			switch {
			case i%500 == 499:
				step = 20000 * sec
			case i < 20:
				step = sec
			}
			at, gap = at.Add(step), gap+step/50000+d.below(2000)-1000
			id := ntp.SourceID(1 + i%4)
			out, back := d.below(20000)+d.below(20000)*time.Duration(id), d.below(20000)
			if i%31 == 0 {
				out += d.below(30e6)
			}
			m := ntp.Measurement{Source: id, At: at, TrueGap: gap + (out-back)/2, RTT: 200*us + out + back, Poll: 4, Stratum: 1, Precision: 100}
			if id == 2 && i > 1500 {
				m.TrueGap += 5 * ms
			}
			if id == 3 {
				m.TrueGap += d.below(2e6) - ms
			}
			dev.Absorb(m)
			dec := dev.Decide(at.Add(sec))
			dev.Follow(&dec)
			e := dec.Estimate
			put(float64(e.Offset), e.Frequency, e.VarOffset, e.Cov, e.VarFreq, e.Wander, dec.Steer.Frequency, float64(dec.Bound), float64(dec.Selected))
			s := dev.trackers[min(int(id), len(dev.trackers))-1]
			put(s.s.x, s.s.y, s.s.pxx, s.s.pxy, s.s.pyy, s.own, s.intensity)
		}
		for _, tr := range dev.trackers {
			for i := range tr.bank.members {
				for j, m := range tr.bank.members[i] {
					put(m.x, m.y, m.a, m.b, m.xx, m.xy, m.yy, m.aa, tr.bank.lot[i][j])
				}
			}
		}
		return h.Sum64()
	}
	first := run()
	t.Logf("golden %#016x", first)
	if again := run(); again != first {
		t.Errorf("%#x at the second run", again)
	}
}
