package sim

import "math"

// Result is what came out of one run. Times are in seconds and frequencies in s/s unless it says otherwise. Steady figures are of
// the seconds after the warm-up, and before the event if there is one.
type Result struct {
	Scenario string `json:"scenario"`
	Policy   string `json:"policy"`
	Seed     uint64 `json:"seed"`
	Stopped  string `json:"stopped,omitempty"` // why the client gave up; empty: it did not

	Seconds int     `json:"seconds"` // that the steady figures are of
	RMS     float64 `json:"rms"`     // of clock minus true time
	Mean    float64 `json:"mean"`
	P50     float64 `json:"p50"` // of the absolute offset
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
	RMSFreq float64 `json:"rms_freq"` // slewing included
	Delay   float64 `json:"delay"`    // median round trip of accepted samples, server's time taken out

	Packets    int `json:"packets"`     // requests in the whole run
	Packets60  int `json:"packets_60"`  // in the first 60 s
	Packets400 int `json:"packets_400"` // in the first 400 s
	Steps      int `json:"steps"`

	// Honesty, over all seconds after the warm-up in which a time is served.
	Served    int     `json:"served"`
	Uncovered int     `json:"uncovered"` // the error exceeds the root distance that is served
	Within1   int     `json:"within_1"`  // the error is within one standard deviation as the client gives it
	Within3   int     `json:"within_3"`
	Bound     float64 `json:"bound"`  // median root distance
	Excess    float64 `json:"excess"` // most that the error was above the root distance

	// After the start (kind converge) or the event.
	Settle    [3]float64 `json:"settle"`    // first second from which on the error stays below 1 ms, 100 µs, 20 µs for 300 s; -1: none
	Last      [3]float64 `json:"last"`      // the second after the last one in the first hour above these
	Overshoot float64    `json:"overshoot"` // largest error of the sign that the start did not have
	Peak      float64    `json:"peak"`      // largest absolute error after the event
	PeakAt    float64    `json:"peak_at"`
	RMSHour   float64    `json:"rms_hour"`       // in the hour after the event
	RMSLate   float64    `json:"rms_late"`       // from an hour after the event on
	Hold      []float64  `json:"hold,omitempty"` // error 10 min, 1, 4, 12 and 24 h after the event

	// What a Kalman filter reached on the same noise that knows wander and variance; 0 and nil if none was run.
	OracleRMS  float64   `json:"oracle_rms,omitempty"`
	OracleTold float64   `json:"oracle_told,omitempty"` // the RMS that it gives itself
	OracleHold []float64 `json:"oracle_hold,omitempty"`

	Trace *Trace `json:"-"`
}

// Trace is how a run went, a point every so many seconds.
type Trace struct {
	Every  int       `json:"every"` // s
	Offset []float32 `json:"offset"`
	Bound  []float32 `json:"bound"` // 0: nothing is served
	Sigma  []float32 `json:"sigma"`
}

// limits of Settle and Last, and how long the error must stay below.
const (
	settleFor  = 300  // s
	lastWithin = 3600 // s
)

func settleLimits() [3]float64 { return [3]float64{1e-3, 1e-4, 2e-5} }

// HoldTimes are the times after the event of Result.Hold, s.
func HoldTimes() [5]float64 { return [5]float64{600, 3600, 14400, 43200, 86399} }

// meter adds up a run.
type meter struct {
	r                Result
	warmup, event    float64 // event is +Inf if there is none
	start            float64 // of what Settle counts from
	sign             float64 // of the first offset
	sum, sum2, freq2 float64
	hour2, late2     float64
	hours, lates     int
	offsets, bounds  histogram
	delays           histogram
	limits           [3]float64
	above            [3]float64 // latest second above each limit, seen from start; -1: none
	hold             [5]float64
	holdover         bool
	every            int
}

func newMeter(c *Case, warmup float64, every int) *meter {
	m := &meter{warmup: warmup, event: math.Inf(1), every: every, limits: settleLimits(), above: [3]float64{-1, -1, -1}}
	m.r.Settle = [3]float64{-1, -1, -1}
	if c.Event != nil {
		m.event, m.start = c.Event.At, c.Event.At
		m.holdover = c.Kind == "holdover"
	}
	if every > 0 {
		m.r.Trace = &Trace{Every: every}
	}
	return m
}

// add takes in one whole second.
func (m *meter) add(at float64, o observation) {
	if at == 0 {
		m.sign = math.Copysign(1, o.offset)
	}
	if m.every > 0 && int(at)%m.every == 0 {
		t := m.r.Trace
		t.Offset, t.Bound, t.Sigma = append(t.Offset, float32(o.offset)), append(t.Bound, float32(o.bound)), append(t.Sigma, float32(o.sigma))
	}
	m.r.Overshoot = max(m.r.Overshoot, -m.sign*o.offset)
	if at >= m.start {
		m.settle(at-m.start, math.Abs(o.offset))
	}
	if at < m.warmup {
		return
	}
	m.honest(o)
	switch {
	case at < m.event-1: // an event that counts evaluations comes a second early
		m.steady(o)
	case at >= m.event:
		m.after(at-m.event, o.offset)
	}
}

func (m *meter) steady(o observation) {
	m.r.Seconds++
	m.sum += o.offset
	m.sum2 += o.offset * o.offset
	m.freq2 += o.freq * o.freq
	m.r.Max = max(m.r.Max, math.Abs(o.offset))
	m.offsets.add(math.Abs(o.offset))
}

func (m *meter) honest(o observation) {
	if o.bound <= 0 {
		return
	}
	e := math.Abs(o.offset)
	m.r.Served++
	m.bounds.add(o.bound)
	if e > o.bound {
		m.r.Uncovered++
		m.r.Excess = max(m.r.Excess, e-o.bound)
	}
	e = math.Abs(o.wrong)
	if e <= o.sigma {
		m.r.Within1++
	}
	if e <= 3*o.sigma {
		m.r.Within3++
	}
}

func (m *meter) settle(t, e float64) {
	for i, limit := range m.limits {
		switch {
		case e > limit:
			m.above[i] = t
			if t < lastWithin {
				m.r.Last[i] = t + 1
			}
		case m.r.Settle[i] < 0 && t-m.above[i] > settleFor:
			m.r.Settle[i] = m.above[i] + 1
		}
	}
}

func (m *meter) after(t, offset float64) {
	if e := math.Abs(offset); e > m.r.Peak {
		m.r.Peak, m.r.PeakAt = e, t
	}
	if t < 3600 {
		m.hours++
		m.hour2 += offset * offset
	} else {
		m.lates++
		m.late2 += offset * offset
	}
	for i, h := range HoldTimes() {
		if t == h {
			m.hold[i] = offset
		}
	}
}

func (m *meter) result() *Result {
	r := &m.r
	mean := func(sum float64, n int) float64 { return sum / float64(max(n, 1)) }
	r.RMS, r.RMSFreq, r.Mean = math.Sqrt(mean(m.sum2, r.Seconds)), math.Sqrt(mean(m.freq2, r.Seconds)), mean(m.sum, r.Seconds)
	r.RMSHour, r.RMSLate = math.Sqrt(mean(m.hour2, m.hours)), math.Sqrt(mean(m.late2, m.lates))
	r.P50, r.P99 = m.offsets.quantile(0.5), m.offsets.quantile(0.99)
	r.Delay, r.Bound = m.delays.quantile(0.5), m.bounds.quantile(0.5)
	if m.holdover {
		r.Hold = m.hold[:]
	}
	return r
}

// histogram counts positive numbers in bins of 2^(1/128).
type histogram struct {
	bins  [bins]uint32
	total int
}

const (
	bins     = 60 * 128
	binShift = 52 - 7
	binBase  = (1023 - 45) << 7 // 2^-45 is the first bin
)

func (h *histogram) add(v float64) {
	h.bins[min(max(int(math.Float64bits(v)>>binShift)-binBase, 0), bins-1)]++
	h.total++
}

// quantile is exact within a percent.
func (h *histogram) quantile(q float64) float64 {
	want := int(math.Ceil(q * float64(h.total)))
	for i, n := range h.bins {
		if want -= int(n); want <= 0 && n > 0 {
			return math.Float64frombits(uint64(i+binBase)<<binShift | 1<<(binShift-1))
		}
	}
	return 0
}
