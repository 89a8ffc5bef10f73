package timekeeper

import (
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
)

// TestK12_StoodStill: the machine was paused and its clocks do not know. From the moment that it is noticed nobody is served
// the clock, a reply to a request of before is void, every source is asked, and the first sample sets the clock.
func TestK12_StoodStill(t *testing.T) {
	b := newBench(t, system.Defaults(), 5e-6)
	for range 20 {
		b.sample(t, 0)
	}
	if !b.view.Synchronized {
		t.Fatalf("%+v", b.view)
	}
	frequency := b.report.Frequency
	before := b.reply(0)
	before.T1.Time = before.T1.Time.Add(-time.Millisecond)
	b.c.local += 2 * time.Millisecond
	fx := b.turn(system.StoodStill{For: 30 * time.Second})
	if b.view.Synchronized || len(fx.Advice) != 1 || !fx.Advice[0].PollNow || fx.Advice[0].Stood != 30*time.Second || len(fx.Notices) == 0 || !strings.Contains(fx.Notices[0].Text, "stood still") {
		t.Errorf("serves %+v, effects %+v", b.view, fx)
	}
	after := b.reply(30 * time.Second)
	after.T1 = before.T1 // sent before the pause
	if b.turn(after); b.view.Synchronized || len(b.c.steps) != 0 {
		t.Errorf("an exchange across the pause counted: %+v, steps %v", b.view, b.c.steps)
	}
	b.c.local += 2 * time.Millisecond
	b.sample(t, 30*time.Second)
	if len(b.c.steps) != 1 || (b.c.steps[0]-30*time.Second).Abs() > time.Millisecond || !b.view.Synchronized {
		t.Errorf("steps %v, serves %+v", b.c.steps, b.view)
	}
	if d := b.report.Frequency - frequency; d > 1e-6 || d < -1e-6 {
		t.Errorf("the frequency moved by %g", d)
	}
}

// TestK16_NotClaimedAfterAGap: a machine that stood still or was suspended has a clock that nobody set, so that the kernel goes on
// calling it good unless it is told, once. Somebody who sets the clock makes the kernel forget by himself, and may have told it
// more since.
func TestK16_NotClaimedAfterAGap(t *testing.T) {
	for name, row := range map[string]struct {
		happens func(b *bench)
		told    bool
	}{
		"stood still": {func(b *bench) { b.turn(system.StoodStill{For: 30 * time.Second}) }, true},
		"suspended": {func(b *bench) {
			b.c.meddle(time.Second)
			b.c.foreign[0].Sleep = time.Hour
			b.turn(system.Tick{})
		}, true},
		"set by another program": {func(b *bench) { b.c.meddle(time.Hour); b.turn(system.Tick{}) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, system.Defaults(), 0)
			row.happens(b)
			if b.c.statuses != 0 {
				t.Error("told although the kernel claims nothing")
			}
			for range 20 {
				b.sample(t, 0)
			}
			before := b.c.statuses
			row.happens(b)
			row.happens(b)
			if told := b.c.statuses == before+1; told != row.told || b.c.statuses > before+1 {
				t.Errorf("told %d times", b.c.statuses-before)
			}
			if s := b.c.status; row.told && (s.Synchronized || s.MaxError != unknownError || s.EstError != unknownError) {
				t.Errorf("told %+v", s)
			}
			for range 20 {
				b.sample(t, 0)
			}
			if s := b.c.status; !s.Synchronized || s.MaxError >= time.Second {
				t.Errorf("at the end %+v", s)
			}
		})
	}
}

// TestK12_Displaced: without a battery clock the samples themselves tell: an only source says it twice, and that sets the clock.
func TestK12_Displaced(t *testing.T) {
	b := newBench(t, system.Defaults(), 0)
	for range 20 {
		b.sample(t, 0)
	}
	b.sample(t, 30*time.Second)
	if a := b.effects.Advice; len(b.c.steps) != 0 || len(a) != 1 || !a[0].PollNow || !a[0].Urgent {
		t.Errorf("after one: steps %v, advice %+v", b.c.steps, a)
	}
	b.c.local += 2 * time.Second
	b.sample(t, 30*time.Second)
	if len(b.c.steps) != 1 || (b.c.steps[0]-30*time.Second).Abs() > time.Millisecond || !b.view.Synchronized {
		t.Errorf("steps %v, serves %+v", b.c.steps, b.view)
	}
	if last := b.notices; len(last) == 0 || !contains(last, "the clock was displaced") {
		t.Errorf("%+v", last)
	}
	b.c.local += 20 * time.Second
	for range 5 {
		b.sample(t, 0)
	}
	if len(b.c.steps) != 1 {
		t.Errorf("steps %v", b.c.steps)
	}
}

func contains(notices []system.Notice, words string) bool {
	for _, n := range notices {
		if strings.Contains(n.Text, words) {
			return true
		}
	}
	return false
}

// TestK16_OneBound: the kernel, the clients and the status are told the same bound of the clock's error.
func TestK16_OneBound(t *testing.T) {
	b := newBench(t, system.Defaults(), 0)
	for range 20 {
		b.sample(t, 300*time.Microsecond)
	}
	b.c.local += statusInterval
	b.sample(t, 0)
	v, s := b.view, b.c.status
	if v != b.report.View {
		t.Errorf("served %+v, reported %+v", v, b.report.View)
	}
	bound := v.RootDelay/2 + v.RootDispersion(v.Reference)
	if !s.Synchronized || s.MaxError != bound || s.EstError > s.MaxError || s.EstError <= 0 {
		t.Errorf("kernel is told %+v, clients %v", s, bound)
	}
	// A step voids what the kernel knows; it hears the bound of the clock as it is after that.
	b.c.foreign = nil
	b.sample(t, 40*time.Second)
	b.c.local += 2 * time.Second
	b.sample(t, 40*time.Second)
	v, s = b.view, b.c.status
	if bound := v.RootDelay/2 + v.RootDispersion(v.Reference); len(b.c.steps) != 1 || s.MaxError != bound || s.Leap != ntp.LeapNone {
		t.Errorf("after a step: kernel is told %+v, clients %v, steps %v", s, bound, b.c.steps)
	}
}
