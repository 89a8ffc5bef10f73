package daemon

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/assoc"
	"ntp-daemon/internal/clock"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/timekeeper"
	"ntp-daemon/internal/version"
)

// notedClock is a virtual clock that remembers what the kernel would have been told.
type notedClock struct {
	*clock.Virtual
	statuses int
	bases    []float64
	denied   bool // corrections are refused
	foreign  *ntp.ForeignChange
}

// CheckForeign tells of what the test had others do.
func (c *notedClock) CheckForeign() (ntp.ForeignChange, bool) {
	if f := c.foreign; f != nil {
		c.foreign = nil
		return *f, true
	}
	return c.Virtual.CheckForeign()
}

func (c *notedClock) SetFrequency(f float64) (ntp.LedgerEntry, error) {
	if c.denied {
		return ntp.LedgerEntry{}, ntp.ErrClockPermission
	}
	return c.Virtual.SetFrequency(f)
}

func (c *notedClock) Step(d time.Duration) (ntp.LedgerEntry, error) {
	if c.denied {
		return ntp.LedgerEntry{}, ntp.ErrClockPermission
	}
	return c.Virtual.Step(d)
}

func (c *notedClock) SetStatus(ntp.ClockStatus) error { c.statuses++; return nil }

func (c *notedClock) SetBase(f float64) error {
	c.bases = append(c.bases, f)
	return c.Virtual.SetBase(f)
}

// trial is a timekeeper with one source, whose samples the test makes.
type trial struct {
	*keeper
	c      *notedClock
	drifts chan drift
}

func newTrial(t *testing.T, params system.Params) *trial {
	c := &notedClock{Virtual: clock.NewVirtual(0, 0)}
	drifts := make(chan drift, 1)
	params.Algorithm.MinimumAgreeing = 1
	r := &trial{c: c, drifts: drifts, keeper: &keeper{
		Keeper: timekeeper.New(c, c.Frequency(), params), clock: c, log: zerolog.Nop(),
		advice: map[ntp.SourceID]chan<- ntp.Advice{}, quiet: logging.NewLimiter(time.Hour),
		view: &atomic.Pointer[ntp.View]{}, report: &atomic.Pointer[system.Report]{}, saved: drifts, notify: newNotifier(&Deps{}),
	}}
	r.handle(t, r.register(assoc.Message{Event: system.Added{ID: 1, Name: "test"}}))
	return r
}

func (r *trial) handle(t *testing.T, ev system.Event) {
	t.Helper()
	if _, err := r.turn(time.Now(), ev); err != nil {
		t.Fatal(err)
	}
}

// sample is a reply of a server that is ahead by offset, over a round trip that takes no time of ours.
func (r *trial) sample(t *testing.T, offset time.Duration) {
	t.Helper()
	r.handle(t, r.reply(offset))
	time.Sleep(2 * time.Millisecond) // samples need times of their own
}

func (r *trial) reply(offset time.Duration) system.Measured {
	const rtt = 200 * time.Microsecond
	t4 := r.c.Now()
	server := t4.Add(offset - rtt/2)
	return system.Measured{Measurement: ntp.Measurement{
		Source: 1, Kind: ntp.TwoWay, Stratum: 1, Precision: time.Microsecond, Epoch: r.c.Epoch(), Reference: server,
		T1: ntp.Stamp{Time: t4.Add(-rtt)}, T2: ntp.Stamp{Time: server}, T3: ntp.Stamp{Time: server}, T4: ntp.Stamp{Time: t4},
	}}
}

// The published report names the latest step and, when it comes to that, why steering was given up; nobody is served the
// refused clock as a good one.
func TestK02_RefusalIsReported(t *testing.T) {
	p := system.Defaults()
	p.PanicAction = system.PanicExit
	r := newTrial(t, p)
	// The samples end with the step: the clock follows it, and more of them would be another offset.
	for n := 0; n < 20 && (r.report.Load() == nil || r.report.Load().Steps == 0); n++ {
		r.sample(t, 50*time.Millisecond)
	}
	rep := r.report.Load()
	if rep.Steps == 0 || rep.LastStep.Round(time.Millisecond) != 50*time.Millisecond || rep.Refusal.Text != "" {
		t.Fatalf("steps %d, last %v, refusal %q", rep.Steps, rep.LastStep, rep.Refusal.Text)
	}
	var err error
	for n := 0; n < 40 && err == nil; n++ {
		m := r.reply(time.Hour)
		_, err = r.turn(time.Now(), m)
		time.Sleep(2 * time.Millisecond)
	}
	if !errors.As(err, new(*timekeeper.RefusedError)) || program.ExitCode(err, ExitCode) != program.ExitSoftware {
		t.Fatalf("%v", err)
	}
	if rep := r.report.Load(); rep.Refusal.Text == "" || rep.State != system.Refused || r.view.Load().Synchronized {
		t.Errorf("state %v, refusal %q, view %+v", rep.State, rep.Refusal.Text, *r.view.Load())
	}
}

// Row K07, beyond the start: a permission that is taken away is published and logged as what it is, and so is its return.
func TestK07_PermissionTakenAway(t *testing.T) {
	for _, off := range []time.Duration{2 * time.Millisecond, 50 * time.Millisecond} { // slewed, stepped
		r := newTrial(t, system.Defaults())
		var log bytes.Buffer
		r.log = zerolog.New(&log)
		for range 8 {
			r.sample(t, time.Millisecond)
		}
		if !r.view.Load().Synchronized || r.report.Load().State != system.Synchronized {
			t.Fatalf("%+v", *r.view.Load())
		}
		log.Reset()
		r.c.denied = true
		for range 40 {
			r.sample(t, off)
		}
		if v := r.view.Load(); v.Synchronized || v.Stratum != ntp.MaxStratum || v.Leap != ntp.LeapUnknown || r.report.Load().State != system.Unsynchronized {
			t.Errorf("state %v, view %+v", r.report.Load().State, *v)
		}
		if said := log.String(); strings.Count(said, "could not be corrected") != 1 || strings.Contains(said, "Jumped") || !strings.Contains(said, "CAP_SYS_TIME again") {
			t.Errorf("log %q", said)
		}
		r.c.denied = false
		if _, err := r.turn(time.Now().Add(time.Minute), system.Tick{}); err != nil {
			t.Fatal(err)
		}
		for range 12 {
			r.sample(t, time.Millisecond)
		}
		if !r.view.Load().Synchronized || r.report.Load().State != system.Synchronized || !strings.Contains(log.String(), "corrected again") {
			t.Errorf("with the permission again: state %v, view %+v", r.report.Load().State, *r.view.Load())
		}
	}
}

// Rows K02 and KC19, what the state keeper is offered: the allowance of the start is stored as spent although the clock is
// still so far off, and slewed, that nobody is served, and the time that goes with it is the sources'.
func TestK02_SpentWhileSlewing(t *testing.T) {
	params := system.Defaults()
	params.Algorithm.StepThreshold = 100
	r := newTrial(t, params)
	for range 4 {
		r.sample(t, 10*time.Second)
	}
	if v := r.view.Load(); v.Synchronized {
		t.Fatalf("%+v", *v)
	}
	select {
	case d := <-r.drifts:
		right := r.c.Now().Time(version.Built()).Add(10 * time.Second)
		if !d.StartupSpent || right.Sub(d.Saved).Abs() > time.Second {
			t.Errorf("%+v, the sources' time is %v", d, right)
		}
	default:
		t.Error("nothing stored")
	}
}

// TestC33_ClockOutsideTheWindow: a clock further than 68 years from the build date is not stepped into another era, it
// stays what it is and is not served; one that is nearer has the configured allowance.
func TestC33_ClockOutsideTheWindow(t *testing.T) {
	const year = 365 * 24 * time.Hour
	built := version.Built()
	for _, row := range []struct {
		shows time.Time
		lost  bool
	}{
		{built, false}, {time.Unix(0, 0), false}, {time.Unix(-1, 0), false}, {built.Add(67 * year), false}, {built.Add(-67 * year), false},
		{built.Add(69 * year), true}, {built.Add(-69 * year), true}, {time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), true},
		{time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), true}, {time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), true},
	} {
		params := system.Defaults()
		if limitLostClock(&params, row.shows) != row.lost || (params.StartupStep != system.Defaults().StartupStep) != row.lost {
			t.Errorf("%v: lost %v, first step %v", row.shows, !row.lost, params.StartupStep)
		}
		r := newTrial(t, params)
		for n := 0; n < 20 && (r.report.Load() == nil || r.report.Load().Steps == 0); n++ {
			r.sample(t, 62*year) // as a clock in 2100 sees a server in 2026
		}
		if rep := r.report.Load(); rep.Steps > 0 == row.lost || row.lost && (rep.State != system.Refused || r.view.Load().Synchronized) {
			t.Errorf("%v: %d steps, %v, refused %v, serves %+v", row.shows, rep.Steps, rep.State, rep.Refusal, *r.view.Load())
		}
	}
}

// Rows L04 and K06: a second time daemon that sets the frequency again and again, as chronyd does, costs one warning an hour, and
// ours goes on.
func TestL04_K06_AnotherDaemonSteersTheClock(t *testing.T) {
	r := newTrial(t, system.Defaults())
	var log bytes.Buffer
	r.log = zerolog.New(&log).Level(zerolog.InfoLevel)
	for range 8 {
		r.sample(t, time.Millisecond)
	}
	log.Reset()
	begun := time.Now()
	for n := range 300 { // an hour and a quarter
		r.c.foreign = &ntp.ForeignChange{
			Entry: ntp.LedgerEntry{Time: r.c.Now(), Local: 0, Frequency: float64(n%2) * 1e-6}, Tampered: true, Is: float64(n%2) * 1e-6,
		}
		if _, err := r.turn(begun.Add(time.Duration(n)*15*time.Second), system.Tick{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 2 || strings.Count(log.String(), "is a second time daemon running?") != n {
		t.Errorf("%d lines in 75 minutes:\n%s", n, log.String())
	}
	if r.report.Load().State != system.Synchronized || !r.view.Load().Synchronized {
		t.Errorf("state %v, view %+v", r.report.Load().State, *r.view.Load())
	}
}

// The first accepted update, and nothing before it, says that the clock can judge certificates.
func TestKC19_FirstUpdateSettles(t *testing.T) {
	r := newTrial(t, system.Defaults())
	begun := time.Unix(0, 0)
	r.boot = assoc.NewBootstrap(begun.AddDate(50, 0, 0), time.Time{}, true)
	r.handle(t, system.Tick{})
	if r.boot.Settled() {
		t.Fatal("settled without a sample")
	}
	for range 4 {
		r.sample(t, 50*time.Millisecond)
	}
	if rep := r.report.Load(); rep.State != system.Synchronized || !r.boot.Settled() {
		t.Errorf("state %v, settled %v", rep.State, r.boot.Settled())
	}
}

// The floor is the later one of the build and the last time that was known to be right; what is not steered has none.
func TestKC19_Floor(t *testing.T) {
	built := version.Built()
	for _, row := range []struct {
		saved          time.Time
		wanted, steers bool
		floor          time.Time
	}{
		{time.Time{}, true, true, built},
		{built.AddDate(0, 0, -9), true, true, built},
		{built.AddDate(0, 7, 0), true, true, built.AddDate(0, 7, 0)},
		{built.AddDate(19, 0, 0), true, true, built.AddDate(19, 0, 0)},
		{built.AddDate(21, 0, 0), true, true, built}, // nobody runs a program for so long
		{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), true, true, built},
		{time.Time{}, true, false, time.Time{}},
		{time.Time{}, false, true, time.Time{}},
	} {
		d := &Daemon{cfg: &config.Config{}, steers: row.steers}
		d.cfg.Synchronization.NTSBootstrap = row.wanted
		at, provisional := d.bootstrap(&drift{Saved: row.saved}).Judge(time.Unix(0, 0))
		if provisional != !row.floor.IsZero() || provisional && !at.Equal(row.floor) {
			t.Errorf("%+v: judged at %v, provisional %v", row, at, provisional)
		}
	}
}
