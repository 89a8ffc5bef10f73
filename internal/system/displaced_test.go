package system

import (
	"testing"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/ntp"
)

// displaced does what the timekeeper does with that wish, and reports whether there was one.
func (b *bench) displaced(fx Effects) bool {
	if fx.Displaced == 0 {
		return false
	}
	b.apply(ntp.LedgerEntry{Foreign: true, Frequency: b.ledger.Last().Frequency})
	b.handle(ForeignStep{Displaced: fx.Displaced})
	return true
}

// says lets time go by and gives one sample of a source that is wrong by lie.
func (b *bench) says(after time.Duration, id ntp.SourceID, lie time.Duration) bool {
	b.pass(after)
	return b.displaced(b.handle(Measured{b.sample(id, lie)}))
}

func (b *bench) jumps(from int) (steps []time.Duration) {
	for _, s := range b.steers[from:] {
		if s.Kind == algorithm.SteerStep {
			steps = append(steps, s.Step)
		}
	}
	return steps
}

func settled(t *testing.T, sources ...ntp.SourceID) (b *bench, steers int) {
	b = newBench(t, noon, func(p *Params) {
		p.Expected, p.Algorithm.MinimumAgreeing = len(sources), len(sources)/2+1
	})
	b.add(sources...)
	b.poll(60, nil, sources...)
	return b, len(b.steers)
}

// TestDisplaced_OnlySource: one bad packet of an only source moves nothing, whatever follows; it is asked again at once, and when
// it says the same again the clock is set.
func TestDisplaced_OnlySource(t *testing.T) {
	for _, row := range []struct {
		name  string
		lies  []time.Duration
		after time.Duration
		steps int
	}{
		{"one bad packet", []time.Duration{900 * sec, 0, 0, 0}, 2 * sec, 0},
		{"one, and now and then another", []time.Duration{900 * sec, 0, 0, -400 * sec, 0, 900 * sec, 0}, 16 * sec, 0},
		{"two that differ", []time.Duration{900 * sec, 400 * sec, 0, 0}, 2 * sec, 0},
		{"the same packet's time twice in no time", []time.Duration{900 * sec, 900 * sec, 0, 0}, 100 * ms, 0},
		{"paused", []time.Duration{30 * sec, 30 * sec}, 2 * sec, 1},
		{"paused, and the server wants few packets", []time.Duration{30 * sec, 30 * sec}, 31 * sec, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, n := settled(t, 1)
			for i, lie := range row.lies {
				b.advice = nil
				if b.says(row.after, 1, lie) != (row.steps > 0 && i == 1) {
					t.Errorf("sample %d: displaced", i)
				}
				if i == 0 && (len(b.advice) != 1 || !b.advice[0].PollNow || !b.advice[0].Urgent) {
					t.Errorf("advice %+v", b.advice)
				}
			}
			if s := b.jumps(n); len(s) != row.steps || row.steps == 1 && (s[0]-row.lies[0]).Abs() > ms || !b.view.Synchronized {
				t.Errorf("steps %v, serves %+v", s, b.view)
			}
		})
	}
}

// TestDisplaced_BatteryClockAgrees: a sample that was kept aside counts when the battery clock tells of a standstill of about
// that length; of another one it does not.
func TestDisplaced_BatteryClockAgrees(t *testing.T) {
	for stood, want := range map[time.Duration]int{31 * sec: 1, 40 * sec: 0} {
		b, n := settled(t, 1)
		b.says(sec, 1, 30*sec)
		b.pass(300 * ms)
		b.apply(ntp.LedgerEntry{Foreign: true, Frequency: b.ledger.Last().Frequency})
		b.handle(ForeignStep{Stood: stood})
		if s := b.jumps(n); len(s) != want {
			t.Errorf("stood %v: steps %v", stood, s)
		}
	}
}

// TestDisplaced_OperatorSteps: what a liar said before an operator set the clock does not count after it.
func TestDisplaced_OperatorSteps(t *testing.T) {
	b := newBench(t, noon, func(p *Params) { p.Expected, p.Algorithm.MinimumAgreeing = 4, 1 })
	b.add(1, 2, 3, 4)
	b.poll(60, nil, 1, 2, 3, 4)
	n := len(b.steers)
	b.says(sec, 4, 900*sec)
	b.pass(sec)
	b.apply(ntp.LedgerEntry{Foreign: true, Frequency: b.ledger.Last().Frequency})
	b.handle(ForeignStep{})
	b.pass(10 * sec) // the others do not answer
	if s := b.jumps(n); len(s) != 0 || b.sys.decision.Selected != 0 {
		t.Errorf("steps %v, %d selected", s, b.sys.decision.Selected)
	}
}

// TestDisplaced_Storm: a majority that goes to and fro by a second is judged by the discipline after the first time, and neither
// makes the clock step all the time nor the others be asked all the time.
func TestDisplaced_Storm(t *testing.T) {
	b, n := settled(t, 1, 2, 3)
	b.advice = nil
	lie, displaced := time.Duration(0), 0
	for i := range 600 {
		if i%4 == 0 {
			lie = sec - lie
		}
		if b.says(sec, 1, lie) || b.says(0, 2, lie) {
			displaced++
		}
		b.says(0, 3, 0)
	}
	urgent := 0
	for _, a := range b.advice {
		if a.Source == 3 && a.Urgent {
			urgent++
		}
	}
	if s := b.jumps(n); displaced > 2 || len(s) > 30 || urgent > 10 {
		t.Errorf("displaced %d times, %d steps, source 3 was asked urgently %d times", displaced, len(s), urgent)
	}
}

// TestForeignStep_Often: a program that sets the clock without end does not make servers be asked without end, an operator who
// sets it a few times has it measured at once each time.
func TestForeignStep_Often(t *testing.T) {
	b, _ := settled(t, 1)
	asked := func(times int, every time.Duration) int {
		b.advice = nil
		for range times {
			b.pass(every)
			b.apply(ntp.LedgerEntry{Foreign: true, Frequency: b.ledger.Last().Frequency})
			b.handle(ForeignStep{})
		}
		return len(b.advice)
	}
	if n := asked(4, 5*sec); n < 4 {
		t.Errorf("asked %d times", n)
	}
	if n := asked(600, sec); n > 600/64+2 {
		t.Errorf("asked %d times in ten minutes", n)
	}
}

// TestIsland_LeaderFollows: a leader that follows somebody itself is not followed any more: two that took each other for better
// informed would count their strata up together.
func TestIsland_LeaderFollows(t *testing.T) {
	b := newBench(t, noon, func(p *Params) { p.LocalStratum, p.Orphan = 10, true })
	b.add(1)
	at := func(stratum ntp.Stratum) func(*ntp.Measurement) {
		return func(m *ntp.Measurement) {
			m.Stratum, m.OurRefID = stratum, ntp.RefIDFromAddr(address(9).Addr())
		}
	}
	b.handle(Status{ID: 1, Poll: 4, Reachable: true})
	b.poll(30, at(10), 1)
	if b.sys.leader == nil || b.view.Stratum != 11 {
		t.Fatalf("leader %v, serves %+v", b.sys.leader, b.view)
	}
	b.poll(30, at(11), 1)
	if b.sys.leader != nil || b.view.Stratum != 10 || b.sys.sources[0].bar != barIsland {
		t.Errorf("leader %v, bar %v, serves %+v", b.sys.leader, b.sys.sources[0].bar, b.view)
	}
	b.poll(30, at(10), 1)
	if b.sys.leader == nil || b.view.Stratum != 11 {
		t.Errorf("leader %v, serves %+v", b.sys.leader, b.view)
	}
}
