package system

import (
	"math"
	"testing"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/ntp"
)

// TestK03_StepLimits has the reference suite's comparison: strictly inside, 0 forbids, Unlimited allows.
func TestK03_StepLimits(t *testing.T) {
	l := StepLimit{Forward: 1000 * sec, Backward: 10 * sec}
	for _, row := range []struct {
		limit StepLimit
		step  time.Duration
		want  bool
	}{
		{l, 1000*sec - 1, true}, {l, 1000 * sec, false}, {l, -10*sec + 1, true}, {l, -10 * sec, false},
		{StepLimit{}, 1, false}, {StepLimit{}, -1, false},
		{StepLimit{Unlimited, 86400 * sec}, 30 * 365 * 24 * time.Hour, true},
		{StepLimit{Unlimited, 86400 * sec}, -2 * 86400 * sec, false},
		{StepLimit{Unlimited, Unlimited}, math.MinInt64, true}, {StepLimit{Unlimited, Unlimited}, math.MaxInt64, true},
	} {
		if got := row.limit.allows(row.step); got != row.want {
			t.Errorf("%v allows %v: %v", row.limit, row.step, got)
		}
	}
}

// TestK02_AllowanceIsSpent by the first accepted update, stepped or not, and stays spent across a restart.
func TestK02_AllowanceIsSpent(t *testing.T) {
	for _, row := range []struct {
		name        string
		step, spent bool
		then        time.Duration
		allowed     bool
	}{
		{"at start", false, false, 3000 * sec, true},
		{"after an update without a step", false, true, 3000 * sec, false},
		{"after a step", true, true, 3000 * sec, false},
		{"after a step, a small one", true, true, 300 * sec, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := Defaults()
			l := newLimits(&p)
			if row.spent {
				l.accepted(row.step)
			}
			if _, ok := l.allows(row.then); ok != row.allowed {
				t.Errorf("allowed %v", ok)
			}
		})
	}
	p := Defaults()
	p.StartupSpent = true
	if l := newLimits(&p); func() bool { _, ok := l.allows(3000 * sec); return ok }() {
		t.Error("a restart laundered the allowance")
	}
}

// TestK04_Accumulated counts what was done after the start, in both directions.
func TestK04_Accumulated(t *testing.T) {
	p := Defaults()
	p.AccumulatedSteps = 1500 * sec
	l := newLimits(&p)
	if why, ok := l.allows(3000 * sec); !ok {
		t.Errorf("the first step has a limit of its own: %s", why)
	}
	l.accepted(true)
	l.stepped(100000 * sec) // the start is free
	for _, step := range []time.Duration{900 * sec, -500 * sec} {
		if why, ok := l.allows(step); !ok {
			t.Fatal(why)
		}
		l.accepted(true)
		l.stepped(step)
	}
	if _, ok := l.allows(200 * sec); ok || l.sum != 1400*sec || l.steps != 3 {
		t.Errorf("1600 s were allowed; sum %v, %d steps", l.sum, l.steps)
	}
	if _, ok := l.allows(100 * sec); !ok {
		t.Error("1500 s were refused")
	}
	for _, none := range []time.Duration{0, -5, Unlimited} {
		p.AccumulatedSteps = none
		l := newLimits(&p)
		l.accepted(false)
		l.sum = Unlimited - 1
		if _, ok := l.allows(900 * sec); !ok {
			t.Errorf("limit %v means none", none)
		}
	}
}

func TestRefuse(t *testing.T) {
	b := newBench(t, noon, nil)
	b.truth = 50 * ms
	b.add(1)
	b.poll(5, nil, 1)
	if len(b.steers) == 0 || b.steers[0].Kind != algorithm.SteerStep || b.steers[0].Step.Round(ms) != 50*ms {
		t.Fatalf("steers %+v", b.steers)
	}
	b.truth += 2000 * sec
	b.poll(30, nil, 1)
	n := len(b.steers)
	if b.refusal == "" || b.steers[n-1].Step.Round(ms) != 50*ms || b.view.Synchronized {
		t.Fatalf("refusal %q, last steer %+v, view %+v", b.refusal, b.steers[n-1], *b.view)
	}
	b.poll(5, nil, 1)
	if len(b.steers) != n || b.wait < sec {
		t.Errorf("goes on after the refusal, wait %v", b.wait)
	}
	for _, l := range b.notices[len(b.notices)-1:] {
		if l.Level != Error {
			t.Errorf("last line %+v", l)
		}
	}
}

// TestK04_OthersStepsAreNotOurs: what other programs and leap seconds did to the clock is not counted against us.
func TestK04_OthersStepsAreNotOurs(t *testing.T) {
	b := newBench(t, noon, func(p *Params) { p.AccumulatedSteps = 10 * sec })
	b.add(1)
	b.poll(10, nil, 1)
	b.apply(ntp.LedgerEntry{Step: 3 * us}) // gained by another program's frequency, as clock.Kernel reports it
	b.apply(ntp.LedgerEntry{Step: -sec, Leap: true})
	if r := b.sys.Report(); r.Steps != 0 || r.AccumulatedSteps != 0 {
		t.Errorf("%d steps, %v", r.Steps, r.AccumulatedSteps)
	}
	b.truth += 2 * sec
	b.poll(60, nil, 1)
	if r := b.sys.Report(); r.Steps == 0 || r.LastStep == 0 || r.AccumulatedSteps < sec {
		t.Errorf("%d steps, last %v, %v in all", r.Steps, r.LastStep, r.AccumulatedSteps)
	}
}
