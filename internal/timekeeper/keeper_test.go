package timekeeper

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
)

// A daemon that ends after seconds must not leave the noise of its first samples in the kernel and in the drift file.
func TestBaseFrequency_NotFromNoise(t *testing.T) {
	const found = 12e-6
	for _, row := range []struct {
		name  string
		known float64
		learn bool
	}{{"nothing known", 0, false}, {"stored", 1e-6, true}} {
		t.Run(row.name, func(t *testing.T) {
			params := system.Defaults()
			params.Algorithm.KnownFrequencyUncertainty = row.known
			b := newBench(t, params, found)
			for i := range 6 {
				b.sample(t, time.Millisecond+time.Duration(i%2)*100*time.Microsecond)
			}
			rep := b.report
			if rep.State != system.Synchronized || !rep.EstimateKnown {
				t.Fatalf("state %v", rep.State)
			}
			if learnt := len(b.c.bases) > 0; learnt != row.learn {
				t.Errorf("sigma %v: bases %v", rep.FreqSigma, b.c.bases)
			}
			if b.kept == nil || b.kept.Correction != found && !row.learn {
				t.Errorf("kept %+v", b.kept)
			}
		})
	}
}

// Row K16: a step makes the kernel forget that it is synchronised; it is told again at once, not ten seconds later.
func TestK16_ToldAgainAfterStep(t *testing.T) {
	b := newBench(t, system.Defaults(), 0)
	for range 4 {
		b.sample(t, time.Millisecond)
	}
	if b.c.statuses != 1 {
		t.Fatalf("told %d times", b.c.statuses)
	}
	var fx Effects
	b.apply(b.now(), system.Effects{
		Steer: algorithm.Steer{Kind: algorithm.SteerStep, Step: time.Second},
		View:  &ntp.View{Stratum: 2, Synchronized: true, Reference: b.c.Now()},
	}, &fx)
	if fx.Err != nil || b.c.statuses != 2 {
		t.Errorf("%v, told %d times", fx.Err, b.c.statuses)
	}
}

// Row K16: without a source that is followed the kernel is told nothing, whatever is served to clients.
func TestK16_OnlyWithASource(t *testing.T) {
	b := newBench(t, system.Defaults(), 0)
	var fx Effects
	b.apply(b.now(), system.Effects{View: &ntp.View{Stratum: 10, Synchronized: true, Reference: b.c.Now()}}, &fx)
	if fx.Err != nil || b.c.statuses != 0 {
		t.Errorf("%v, told %d times", fx.Err, b.c.statuses)
	}
}

// The report names the latest step and, when it comes to that, why steering was given up; nobody is served the
// refused clock as a good one.
func TestK02_RefusalIsReported(t *testing.T) {
	p := system.Defaults()
	p.PanicAction = system.PanicExit
	b := newBench(t, p, 0)
	// The samples end with the step: the clock follows it, and more of them would be another offset.
	for n := 0; n < 20 && b.report.Steps == 0; n++ {
		b.sample(t, 50*time.Millisecond)
	}
	if r := b.report; r.Steps == 0 || r.LastStep.Round(time.Millisecond) != 50*time.Millisecond || r.Refusal.Text != "" {
		t.Fatalf("steps %d, last %v, refusal %q", r.Steps, r.LastStep, r.Refusal.Text)
	}
	var err error
	for n := 0; n < 40 && err == nil; n++ {
		err = b.turn(b.reply(time.Hour)).Err
		b.c.local += 2 * time.Millisecond
	}
	if !errors.As(err, new(*RefusedError)) {
		t.Fatalf("%v", err)
	}
	if b.report.Refusal.Text == "" || b.report.State != system.Refused || b.view.Synchronized {
		t.Errorf("state %v, refusal %q, view %+v", b.report.State, b.report.Refusal.Text, b.view)
	}
}

// Row K07, beyond the start: a permission that is taken away costs the daemon the claim to know the time, not its life, and
// with the permission both come back. What was refused is neither entered in the ledger nor said to have been done, and
// is not asked for again and again.
func TestK07_PermissionTakenAway(t *testing.T) {
	for _, off := range []time.Duration{2 * time.Millisecond, 50 * time.Millisecond} { // slewed, stepped
		b := newBench(t, system.Defaults(), 0)
		for range 8 {
			b.sample(t, time.Millisecond)
		}
		if !b.view.Synchronized || b.report.State != system.Synchronized {
			t.Fatalf("%+v", b.view)
		}
		b.notices, b.c.refusal = nil, fmt.Errorf("adjtimex: %w", ntp.ErrClockPermission)
		told := b.c.statuses
		for range 40 {
			b.sample(t, off)
		}
		ledger, writes := b.ledger.Last(), b.c.writes
		for range 5 {
			if fx := b.turn(system.Tick{}); fx.Err != nil || fx.Wait != permissionRetry {
				t.Errorf("wait %v, %v", fx.Wait, fx.Err)
			}
		}
		if v := b.view; v.Synchronized || v.Stratum != ntp.MaxStratum || v.Leap != ntp.LeapUnknown || b.report.State != system.Unsynchronized {
			t.Errorf("state %v, view %+v", b.report.State, v)
		}
		if b.ledger.Last() != ledger || b.c.writes != writes || b.c.epoch != 0 || b.c.statuses > told+1 {
			t.Errorf("ledger %+v, epoch %d, told %d times", b.ledger.Last(), b.c.epoch, b.c.statuses)
		}
		if b.said("could not be corrected") != 1 || b.said("Jumped") != 0 {
			t.Errorf("notices %+v", b.notices)
		}
		b.c.local += permissionRetry
		if b.turn(system.Tick{}); b.said("still cannot") != 1 {
			t.Errorf("not tried again: %+v", b.notices)
		}
		b.c.refusal = nil
		b.c.local += permissionRetry
		for range 12 {
			b.sample(t, time.Millisecond)
		}
		if !b.view.Synchronized || b.report.State != system.Synchronized || b.said("corrected again") != 1 {
			t.Errorf("with the permission again: state %v, view %+v", b.report.State, b.view)
		}
	}
}

func (b *bench) said(part string) (n int) {
	for _, l := range b.notices {
		if strings.Contains(l.Text, part) {
			n++
		}
	}
	return n
}

// What the clock refuses for any other reason ends the program, and the error names the step that failed.
func TestSteer_OtherRefusalIsFatal(t *testing.T) {
	b := newBench(t, system.Defaults(), 0)
	b.c.refusal = errors.New("no such clock")
	var err error
	for n := 0; n < 20 && err == nil; n++ {
		err = b.turn(b.reply(50 * time.Millisecond)).Err
		b.c.local += 2 * time.Millisecond
	}
	if !errors.Is(err, b.c.refusal) || !strings.HasPrefix(err.Error(), "steer clock: ") {
		t.Errorf("%v", err)
	}
}

// Rows K05 and K06: what others did is adopted before the next event is looked at. A step makes the offset unknown, a
// frequency does not; a clock that was stepped while it is steered is not stepped by what was computed before.
func TestK05_ForeignChangeIsAdopted(t *testing.T) {
	b := newBench(t, system.Defaults(), 0)
	for range 8 {
		b.sample(t, time.Millisecond)
	}
	b.c.foreign = []ntp.ForeignChange{{
		Entry:    ntp.LedgerEntry{Time: b.c.Now(), Frequency: 30e-6},
		Tampered: true, Is: 30e-6,
	}}
	b.turn(system.Tick{})
	if b.said("another program changed the clock's frequency") != 1 || !b.view.Synchronized || b.notices[len(b.notices)-1].Subject == "" {
		t.Errorf("K06: notices %+v, view %+v", b.notices, b.view)
	}
	b.c.meddle(time.Minute)
	steps := len(b.c.steps)
	b.turn(system.Tick{})
	if b.said("another program stepped the clock") != 1 || b.view.Synchronized || len(b.c.steps) != steps {
		t.Errorf("K05: notices %+v, view %+v", b.notices, b.view)
	}
	if l := time.Duration(b.ledger.Local(b.c.Now())); (l - b.c.local).Abs() > time.Microsecond {
		t.Errorf("the ledger has the oscillator at %v, it is at %v", l, b.c.local)
	}
	var fx Effects
	b.c.meddle(-time.Minute)
	b.apply(b.now(), system.Effects{
		Steer: algorithm.Steer{Kind: algorithm.SteerStep, Step: time.Hour},
		View:  &ntp.View{Synchronized: true}, Notices: []system.Notice{{Text: "Jumped"}},
	}, &fx)
	if fx.Err != nil || fx.View != nil || len(b.c.steps) != steps || !b.ledger.Last().Foreign {
		t.Errorf("K05: %v, view %v, steps %v", fx.Err, fx.View, b.c.steps)
	}
	if len(fx.Notices) != 1 || !strings.Contains(fx.Notices[0].Text, "another program stepped") {
		t.Errorf("said of a step that was not made: %+v", fx.Notices)
	}
	if fx := b.turn(system.Tick{}); len(fx.Advice) != 1 || !fx.Advice[0].PollNow {
		t.Errorf("the system process has not heard of it: %+v", fx)
	}
}

// Row K02: the allowance of the start is stored as spent although the clock is still so far off, and slewed, that
// nobody is served.
func TestK02_SpentWhileSlewing(t *testing.T) {
	params := system.Defaults()
	params.Algorithm.StepThreshold = 100
	b := newBench(t, params, 0)
	for range 4 {
		b.sample(t, 10*time.Second)
	}
	if b.view.Synchronized {
		t.Fatalf("%+v", b.view)
	}
	if b.kept == nil || !b.kept.StartupSpent {
		t.Errorf("kept %+v", b.kept)
	}
}

// What is stored as a time that was right is the sources' time, not that of a clock that is still being slewed.
func TestKC19_StoredTimeIsTheSources(t *testing.T) {
	params := system.Defaults()
	params.Algorithm.StepThreshold = 100
	b := newBench(t, params, 0)
	for range 4 {
		b.sample(t, 10*time.Second)
	}
	if diff := b.c.Now().Add(10 * time.Second).Sub(b.kept.True); diff.Abs() > time.Second {
		t.Errorf("stored %v, the sources' time is %v further", b.kept.True, diff)
	}
}

// TestKeeper_SpentIsKept: a restart must not give back what sources without authentication have stepped.
func TestKeeper_SpentIsKept(t *testing.T) {
	b := newBench(t, system.Defaults(), 0)
	for n := 0; n < 10; n++ {
		b.sample(t, 0)
	}
	for n := 0; n < 20 && b.report.Steps == 0; n++ {
		b.sample(t, 50*time.Millisecond)
	}
	b.sample(t, 0)
	if b.report.Steps != 1 || b.kept == nil || b.kept.Spent.Sum != b.c.steps[0].Abs() {
		t.Errorf("steps %v, kept %+v", b.c.steps, b.kept)
	}
}
