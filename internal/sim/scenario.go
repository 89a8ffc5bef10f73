package sim

import (
	"math"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
)

// Scenario is a world of one client and some references: defaults, after chrony's simulation tests, plus what
// differs. The zero value is the default scenario.
type Scenario struct {
	Seed  uint64
	Start time.Time // true date at the start; default 2026-03-01 12:00 UTC

	Servers    int // default 1
	Liars      int // the first ones lie…
	LiarOffset time.Duration
	LiarsApart bool // …each by another multiple of LiarOffset

	ClientOffset time.Duration // clock minus true time
	ClientFreq   float64       // s/s, positive runs fast
	Wander       float64       // default 1e-9; negative: none

	Delay     time.Duration // one way, default 100 µs
	Jitter    time.Duration // one way, default 100 µs; negative: none
	Law       Law
	Asymmetry time.Duration // added to the way out, before the half-way point that the client assumes
	OneWay    bool          // jitter on the way out only
	Loss      float64       // of each direction
	Down      []Window

	PollMin, PollMax ntp.PollExp // default 6 and 10, as chrony's; set Polls
	Polls            bool        // PollMin and PollMax are set
	NoBurst          bool

	Sending, SendingSpread time.Duration       // from the time that a reply tells to the wire, uniform within ± spread
	Interleaved            source.Interleaving // the servers can

	Agree  int                  // minimum-agreeing-sources, default 1
	System func(*system.Params) // further settings
}

// Limits is what a run must keep. Zero fields are not checked.
type Limits struct {
	SyncBefore time.Duration // the last second with an offset above SyncOffset
	SyncOffset time.Duration // default 1 ms
	MaxOffset  time.Duration // after SyncBefore
	RMSOffset  time.Duration // after SyncBefore
	MaxFreq    float64       // s/s, after SyncBefore, slewing included
	RMSFreq    float64       // the same
	MaxSteps   int           // -1: none
	Uncovered  int           // seconds in which the error may exceed the root distance served; -1: not one
}

func (s Scenario) params() system.Params {
	p := system.Defaults()
	p.Algorithm.MinimumAgreeing = max(s.Agree, 1)
	p.Serves = true
	if s.System != nil {
		s.System(&p)
	}
	return p
}

// Build makes the world of a scenario.
func (s Scenario) Build() *World {
	if s.Start.IsZero() {
		s.Start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	}
	fill := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
		*v = max(*v, 0)
	}
	fill(&s.Delay, 100*time.Microsecond)
	fill(&s.Jitter, 100*time.Microsecond)
	if s.Wander == 0 {
		s.Wander = 1e-9
	}
	w := New(s.Seed, s.Start)
	c := w.AddClient(Machine{Offset: s.ClientOffset, Frequency: s.ClientFreq, Wander: max(s.Wander, 0), System: s.params()})
	for i := range max(s.Servers, 1) {
		var lie time.Duration
		if i < s.Liars {
			lie = s.LiarOffset
			if s.LiarsApart {
				lie *= time.Duration(i + 1)
			}
		}
		r := w.AddReference(lie)
		if s.Sending > 0 {
			rng := w.pcg()
			r.Interleave(func() time.Duration {
				return s.Sending + time.Duration((2*rng.Float64()-1)*float64(s.SendingSpread))
			})
		}
		w.Connect(c, &r.node, s.path(), s.source())
	}
	return w
}

func (s Scenario) path() Path {
	l := Link{Delay: s.Delay, Jitter: s.Jitter, Law: s.Law, Loss: s.Loss, Down: s.Down}
	p := Path{Out: l, Back: l}
	p.Out.Delay += s.Asymmetry
	if s.OneWay {
		p.Back.Jitter = 0
	}
	return p
}

func (s Scenario) source() source.Config {
	c := source.Config{PollMin: 6, PollMax: 10, PollInitial: 6, Burst: 8, Interleaved: s.Interleaved}
	if s.Polls {
		c.PollMin, c.PollMax, c.PollInitial = s.PollMin, s.PollMax, s.PollMin
	}
	if s.NoBurst {
		c.Burst = 0
	}
	return c
}

// Stats are figures of the records from a time on.
type Stats struct {
	Synced time.Duration // the second after the last one with an offset above 1 ms
	//lint:ignore ST1011 the root mean square is no unit
	Max, RMS  time.Duration
	MaxFreq   float64
	RMSFreq   float64
	Uncovered int
}

// Stats evaluates the first client's records from a time on; Synced looks at all of them.
func (w *World) Stats(from, syncOffset time.Duration) Stats {
	var s Stats
	var sum, sumFreq float64
	n := 0
	for i, r := range w.records {
		if r.Offset.Abs() > syncOffset {
			s.Synced = time.Duration(i+1) * time.Second
		}
		if time.Duration(i) < from/time.Second {
			continue
		}
		n++
		s.Max = max(s.Max, r.Offset.Abs())
		s.MaxFreq = max(s.MaxFreq, math.Abs(r.Frequency))
		sum += r.Offset.Seconds() * r.Offset.Seconds()
		sumFreq += r.Frequency * r.Frequency
		if r.State == system.Synchronized && r.Offset.Abs() > r.Bound {
			s.Uncovered++
		}
	}
	if n > 0 {
		s.RMS = time.Duration(math.Sqrt(sum/float64(n)) * 1e9)
		s.RMSFreq = math.Sqrt(sumFreq / float64(n))
	}
	return s
}

// Require fails the test when the first client did not keep the limits.
func (w *World) Require(t testing.TB, l Limits) {
	t.Helper()
	if l.SyncOffset == 0 {
		l.SyncOffset = time.Millisecond
	}
	s := w.Stats(l.SyncBefore, l.SyncOffset)
	c := w.Clients[0]
	t.Logf("synced %v, max %v, rms %v, max freq %.3f ppm, rms freq %.4f ppm, %d steps, uncovered %d",
		s.Synced, s.Max, s.RMS, s.MaxFreq*1e6, s.RMSFreq*1e6, len(c.Steps), s.Uncovered)
	switch {
	case c.Refused != "":
		t.Errorf("stopped: %s", c.Refused)
	case l.SyncBefore > 0 && s.Synced > l.SyncBefore:
		t.Errorf("offset above %v until %v, limit %v", l.SyncOffset, s.Synced, l.SyncBefore)
	case l.MaxOffset > 0 && s.Max > l.MaxOffset:
		t.Errorf("largest offset %v, limit %v", s.Max, l.MaxOffset)
	case l.RMSOffset > 0 && s.RMS > l.RMSOffset:
		t.Errorf("rms offset %v, limit %v", s.RMS, l.RMSOffset)
	case l.MaxFreq > 0 && s.MaxFreq > l.MaxFreq:
		t.Errorf("largest frequency error %g ppm, limit %g", s.MaxFreq*1e6, l.MaxFreq*1e6)
	case l.RMSFreq > 0 && s.RMSFreq > l.RMSFreq:
		t.Errorf("rms frequency error %g ppm, limit %g", s.RMSFreq*1e6, l.RMSFreq*1e6)
	case l.MaxSteps != 0 && len(c.Steps) > max(l.MaxSteps, 0):
		t.Errorf("%d steps %v, limit %d", len(c.Steps), c.Steps, max(l.MaxSteps, 0))
	case l.Uncovered != 0 && s.Uncovered > max(l.Uncovered, 0):
		t.Errorf("error above root distance in %d seconds, limit %d", s.Uncovered, max(l.Uncovered, 0))
	}
}
