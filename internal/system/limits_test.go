package system

import (
	"math"
	"testing"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/ntp"
)

// start is a moment of the clock of timers.
var start = time.Unix(1000, 0)

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
				l.accepted(row.step, wish{})
			}
			if by := l.allows(start, row.then, false, false); (by == LimitNone) != row.allowed {
				t.Errorf("refused by %v", by)
			}
		})
	}
	p := Defaults()
	p.StartupSpent = true
	l := newLimits(&p)
	if by := l.allows(start, 3000*sec, true, false); by != LimitSingle {
		t.Errorf("a restart laundered the allowance: %v", by)
	}
}

// TestK04_Accumulated counts what was done after the start, in both directions.
func TestK04_Accumulated(t *testing.T) {
	p := Defaults()
	p.AccumulatedSteps = 1500 * sec
	l := newLimits(&p)
	if by := l.allows(start, 3000*sec, false, false); by != LimitNone {
		t.Errorf("the first step has a limit of its own: %v", by)
	}
	l.accepted(true, wish{at: start, authenticated: true})
	l.stepped(100000 * sec) // the start is free
	for _, step := range []time.Duration{900 * sec, -500 * sec} {
		if by := l.allows(start, step, true, false); by != LimitNone {
			t.Fatal(l.why(start, by, step))
		}
		l.accepted(true, wish{at: start, authenticated: true})
		l.stepped(step)
	}
	if by := l.allows(start, 200*sec, true, false); by != LimitAccumulated || l.sum != 1400*sec || l.steps != 3 {
		t.Errorf("1600 s were allowed; sum %v, %d steps", l.sum, l.steps)
	}
	if by := l.allows(start, 100*sec, true, false); by != LimitNone {
		t.Error("1500 s were refused")
	}
	for _, none := range []time.Duration{0, -5, Unlimited} {
		p.AccumulatedSteps = none
		l := newLimits(&p)
		l.accepted(false, wish{})
		l.sum = Unlimited - 1
		if by := l.allows(start, 900*sec, true, false); by != LimitNone {
			t.Errorf("limit %v means none", none)
		}
	}
}

func TestRefuse(t *testing.T) {
	b := newBench(t, noon, func(p *Params) { p.PanicAction = PanicExit })
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

// TestUnauthenticatedStepsPerDay: whoever speaks for all sources that nothing authenticates moves the clock by 1000 s a
// day, however small the steps and whatever their direction.
func TestUnauthenticatedStepsPerDay(t *testing.T) {
	p := Defaults()
	l := newLimits(&p)
	l.day.start(start)
	step := func(at time.Time, d time.Duration, authenticated bool) Limit {
		by := l.allows(at, d, authenticated, false)
		if by == LimitNone {
			l.accepted(true, wish{at: at, authenticated: authenticated})
			l.stepped(d)
		}
		return by
	}
	for i, row := range []struct {
		after         time.Duration
		step          time.Duration
		authenticated bool
		want          Limit
	}{
		{0, 5000 * sec, false, LimitNone},          // the first one is not of the day
		{time.Minute, 900 * sec, false, LimitNone}, // 900
		{2 * time.Minute, -200 * sec, false, LimitUnauthenticated},
		{3 * time.Minute, 100 * sec, false, LimitNone}, // 1000
		{4 * time.Minute, 20 * ms, false, LimitUnauthenticated},
		{5 * time.Minute, -900 * sec, true, LimitNone}, // authenticated ones are not counted
		{6 * time.Minute, 1000 * sec, true, LimitSingle},
		{23 * time.Hour, 20 * ms, false, LimitUnauthenticated},
		{24 * time.Hour, 20 * ms, false, LimitUnauthenticated},
		{25*time.Hour + 2*time.Minute, 300 * sec, false, LimitNone},
		{26 * time.Hour, 900 * sec, true, LimitNone},
		{30 * time.Hour, 800 * sec, false, LimitUnauthenticated},
		{30 * time.Hour, -700 * sec, false, LimitNone},
		{50*time.Hour + 2*time.Minute, 300 * sec, false, LimitNone}, // the other 300 are over, 700 are not
		{50*time.Hour + 3*time.Minute, sec, false, LimitUnauthenticated},
	} {
		if by := step(start.Add(row.after), row.step, row.authenticated); by != row.want {
			t.Errorf("row %d: refused by %q, want %q; spent %+v", i, by, row.want, l.day.at(start.Add(row.after)))
		}
	}
	for _, row := range []struct {
		limit time.Duration
		step  time.Duration
		want  Limit
	}{{0, 20 * ms, LimitUnauthenticated}, {Unlimited, 900 * sec, LimitNone}, {Unlimited, 1000 * sec, LimitSingle}} {
		p.StartupSpent, p.UnauthenticatedSteps = true, row.limit
		l := newLimits(&p)
		l.day.start(start)
		l.day.add(start, 5000*sec, false)
		if by := l.allows(start, row.step, false, false); by != row.want {
			t.Errorf("limit %v, step %v: refused by %q", row.limit, row.step, by)
		}
	}
}

// TestUnauthenticatedSteps_Return: what takes back what others did to the clock is not of the day, what goes beyond it is, and so is
// what the sources ask for once they were content. That the machine stood still by its battery clock counts like a step back.
func TestUnauthenticatedSteps_Return(t *testing.T) {
	for _, row := range []struct {
		name   string
		others []time.Duration
		step   time.Duration
		spent  time.Duration
	}{
		{"nobody moved it", nil, -90 * sec, 90 * sec},
		{"forward, and back", []time.Duration{90 * sec}, -90 * sec, 0},
		{"back, and forward", []time.Duration{-90 * sec}, 90 * sec, 0},
		{"in two steps", []time.Duration{50 * sec, 40 * sec}, -90 * sec, 0},
		{"to and fro", []time.Duration{90 * sec, -90 * sec}, 90 * sec, 90 * sec},
		{"not all the way", []time.Duration{90 * sec}, -50 * sec, 0},
		{"too far", []time.Duration{90 * sec}, -120 * sec, 30 * sec},
		{"further away", []time.Duration{90 * sec}, 50 * sec, 50 * sec},
		{"beyond all bounds", []time.Duration{math.MinInt64, math.MinInt64}, 90 * sec, 90 * sec},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := Defaults()
			p.StartupSpent, p.UnauthenticatedSteps, p.AccumulatedSteps = true, 100*sec, 1000*sec
			l := newLimits(&p)
			l.day.start(start)
			for _, by := range row.others {
				l.moved(by)
			}
			if by := l.allows(start, row.step, false, false); by != LimitNone {
				t.Fatal(l.why(start, by, row.step))
			}
			w := wish{at: start}
			l.accepted(true, w)
			l.stepped(row.step)
			if got := l.day.at(start).Sum; got != row.spent || l.sum != row.step.Abs() {
				t.Errorf("spent %v of the day, want %v; %v in all", got, row.spent, l.sum)
			}
			l.moved(-row.step)
			l.accepted(false, w)
			l.accepted(true, w)
			l.stepped(row.step)
			if got := l.day.at(start).Sum - row.spent; got != row.step.Abs() {
				t.Errorf("a step after a consensus that was content counts as %v", got)
			}
		})
	}
}

// TestUnauthenticatedSteps_Forbidden: 0 forbids also what takes back what others did.
func TestUnauthenticatedSteps_Forbidden(t *testing.T) {
	p := Defaults()
	p.StartupSpent, p.UnauthenticatedSteps = true, 0
	l := newLimits(&p)
	l.moved(90 * sec)
	if by := l.allows(start, -90*sec, false, false); by != LimitUnauthenticated {
		t.Errorf("refused by %q", by)
	}
}

// TestUnauthenticatedSteps_OthersAllDay: a program that sets the clock wrong every hour does not use up what the sources may do in a day.
// Nobody can see why a clock is displaced when no battery clock tells: that counts, since those who claim it may be liars.
func TestUnauthenticatedSteps_OthersAllDay(t *testing.T) {
	for _, row := range []struct {
		name   string
		meddle func(b *bench)
		spent  time.Duration
	}{
		{"another program", func(b *bench) {
			b.apply(ntp.LedgerEntry{Step: 400 * sec, Foreign: true})
			b.epoch++
			b.handle(ForeignStep{})
		}, 0},
		{"stood still", func(b *bench) {
			b.truth += 400 * sec
			b.apply(ntp.LedgerEntry{Foreign: true})
			b.handle(ForeignStep{Stood: 400 * sec})
		}, 0},
		{"nobody knows", func(b *bench) { b.truth += 400 * sec }, 800 * sec},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, ids := synchronized(t, 3, nil, nil)
			for range 4 {
				row.meddle(b)
				b.poll(600, nil, ids...)
			}
			r := b.sys.Report()
			if row.spent == 0 && (r.State != Synchronized || r.Steps < 4) || r.Spent.Sum < row.spent || r.Spent.Sum > row.spent+sec {
				t.Errorf("%v, %d steps, %v spent of the day; %v", r.State, r.Steps, r.Spent.Sum, r.Refusal)
			}
		})
	}
}

// TestUnauthenticatedStepsOutliveARestart in the same boot, for another day.
func TestUnauthenticatedStepsOutliveARestart(t *testing.T) {
	p := Defaults()
	p.StartupSpent, p.Spent = true, Spent{Sum: 900 * sec, Excepted: true}
	l := newLimits(&p)
	l.day.start(start)
	if by := l.allows(start, 200*sec, false, false); by != LimitUnauthenticated {
		t.Errorf("the day begins anew with a restart: %q", by)
	}
	l.accepted(true, wish{at: start.Add(10 * time.Hour)})
	l.stepped(50 * sec)
	for after, want := range map[time.Duration]Spent{
		10 * time.Hour: {950 * sec, true}, 24 * time.Hour: {950 * sec, true}, 26 * time.Hour: {50 * sec, false}, 36 * time.Hour: {},
	} {
		if got := l.day.at(start.Add(after)); got != want {
			t.Errorf("after %v: %+v, want %+v", after, got, want)
		}
	}
}

// TestLimits_Named: the operator finds the limit that refused a step by its name in the configuration.
func TestLimits_Named(t *testing.T) {
	seen := map[string]bool{"": true}
	for _, l := range Limits() {
		if seen[l.String()] {
			t.Errorf("limit %d is called %q", l, l)
		}
		seen[l.String()] = true
	}
	if len(Limits()) != int(limitCount)-1 {
		t.Errorf("%d of %d limits", len(Limits()), limitCount-1)
	}
}
