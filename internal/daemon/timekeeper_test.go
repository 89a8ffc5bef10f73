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
	"ntp-daemon/internal/version"
)

// notedClock is a virtual clock that remembers what the kernel would have been told.
type notedClock struct {
	*clock.Virtual
	statuses int
	bases    []float64
	denied   bool // corrections are refused
}

func (c *notedClock) SetFrequency(f float64) (ntp.LedgerEntry, error) {
	if c.denied {
		return ntp.LedgerEntry{}, clock.ErrPermission
	}
	return c.Virtual.SetFrequency(f)
}

func (c *notedClock) Step(d time.Duration) (ntp.LedgerEntry, error) {
	if c.denied {
		return ntp.LedgerEntry{}, clock.ErrPermission
	}
	return c.Virtual.Step(d)
}

func (c *notedClock) SetStatus(clock.Status) error { c.statuses++; return nil }

func (c *notedClock) SetBase(f float64) error {
	c.bases = append(c.bases, f)
	return c.Virtual.SetBase(f)
}

// trial is a timekeeper with one source, whose samples the test makes.
type trial struct {
	*timekeeper
	c      *notedClock
	drifts chan drift
}

func newTrial(t *testing.T, params system.Params) *trial {
	c := &notedClock{Virtual: clock.NewVirtual(0, 0)}
	drifts := make(chan drift, 1)
	params.Algorithm.MinimumAgreeing = 1
	tk := &timekeeper{
		clock: c, steers: true, base: c.Frequency(), log: zerolog.Nop(), ledger: ntp.NewLedger(c.Now(), c.Frequency()),
		sys: system.New(params), advice: map[ntp.SourceID]chan<- ntp.Advice{}, quiet: logging.NewLimiter(time.Hour),
		view: &atomic.Pointer[ntp.View]{}, report: &atomic.Pointer[system.Report]{}, saved: drifts, notify: newNotifier(&Deps{}),
	}
	tk.sys.Applied(tk.ledger.Last())
	r := &trial{timekeeper: tk, c: c, drifts: drifts}
	r.handle(t, tk.register(assoc.Message{Event: system.Added{ID: 1, Name: "test"}}))
	return r
}

func (r *trial) handle(t *testing.T, ev system.Event) {
	t.Helper()
	if _, err := r.turn(ev); err != nil {
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
			r := newTrial(t, params)
			if _, err := r.c.SetFrequency(found); err != nil {
				t.Fatal(err)
			}
			r.base = found
			for i := range 6 {
				r.sample(t, time.Millisecond+time.Duration(i%2)*100*time.Microsecond)
			}
			rep := r.sys.Report()
			if rep.State != system.Synchronized || !rep.EstimateKnown {
				t.Fatalf("state %v", rep.State)
			}
			if learnt := len(r.c.bases) > 0; learnt != row.learn {
				t.Errorf("sigma %v: bases %v", rep.FreqSigma, r.c.bases)
			}
			if d := <-r.drifts; d.Frequency != found && !row.learn {
				t.Errorf("drift %+v", d)
			}
		})
	}
}

// Row K16: a step makes the kernel forget that it is synchronised; it is told again at once, not ten seconds later.
func TestK16_ToldAgainAfterStep(t *testing.T) {
	r := newTrial(t, system.Defaults())
	for range 4 {
		r.sample(t, time.Millisecond)
	}
	if r.c.statuses != 1 {
		t.Fatalf("told %d times", r.c.statuses)
	}
	if err := r.apply(system.Effects{
		Steer: system.Steer{Kind: system.Step, By: time.Second},
		View:  &ntp.View{Stratum: 2, Synchronized: true, Reference: r.c.Now()},
	}); err != nil {
		t.Fatal(err)
	}
	if r.c.statuses != 2 {
		t.Errorf("told %d times", r.c.statuses)
	}
}

// The snapshot names the latest step and, when it comes to that, why steering was given up; nobody is served the
// refused clock as a good one.
func TestK02_RefusalIsReported(t *testing.T) {
	r := newTrial(t, system.Defaults())
	// The samples end with the step: the clock follows it, and more of them would be another offset.
	for n := 0; n < 20 && (r.report.Load() == nil || r.report.Load().Steps == 0); n++ {
		r.sample(t, 50*time.Millisecond)
	}
	rep := r.report.Load()
	if rep.Steps == 0 || rep.LastStep.Round(time.Millisecond) != 50*time.Millisecond || rep.Refusal != "" {
		t.Fatalf("steps %d, last %v, refusal %q", rep.Steps, rep.LastStep, rep.Refusal)
	}
	var err error
	for n := 0; n < 40 && err == nil; n++ {
		m := r.reply(time.Hour)
		_, err = r.turn(m)
		time.Sleep(2 * time.Millisecond)
	}
	if !errors.As(err, new(*RefusedError)) || ExitCode(err) != program.ExitSoftware {
		t.Fatalf("%v", err)
	}
	if rep := r.report.Load(); rep.Refusal == "" || rep.State != system.Refused || r.view.Load().Synchronized {
		t.Errorf("state %v, refusal %q, view %+v", rep.State, rep.Refusal, *r.view.Load())
	}
}

// Row K07, beyond the start: a permission that is taken away costs the daemon the claim to know the time, not its life, and
// with the permission both come back. What was refused is neither entered in the ledger nor said to have been done, and
// is not asked for again and again.
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
		told := r.c.statuses
		for range 40 {
			r.sample(t, off)
		}
		ledger := r.ledger.Last()
		for range 5 {
			if wait, err := r.turn(system.Tick{}); err != nil || wait != powerRetry {
				t.Errorf("wait %v, %v", wait, err)
			}
		}
		if v := r.view.Load(); v.Synchronized || v.Stratum != ntp.MaxStratum || v.Leap != ntp.LeapUnknown || r.report.Load().State != system.Unsynchronized {
			t.Errorf("state %v, view %+v", r.report.Load().State, *v)
		}
		if r.ledger.Last() != ledger || r.c.Epoch() != 0 || r.c.statuses > told+1 {
			t.Errorf("ledger %+v, epoch %d, told %d times", r.ledger.Last(), r.c.Epoch(), r.c.statuses)
		}
		if said := log.String(); strings.Count(said, "could not be corrected") != 1 || strings.Contains(said, "Jumped") {
			t.Errorf("log %q", said)
		}
		r.c.denied = false
		r.tried = r.tried.Add(-powerRetry)
		for range 12 {
			r.sample(t, time.Millisecond)
		}
		if !r.view.Load().Synchronized || r.report.Load().State != system.Synchronized || !strings.Contains(log.String(), "corrected again") {
			t.Errorf("with the permission again: state %v, view %+v", r.report.Load().State, *r.view.Load())
		}
	}
}

// Row K02: the allowance of the start is stored as spent although the clock is still so far off, and slewed, that
// nobody is served.
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
		if !d.StartupSpent {
			t.Errorf("%+v", d)
		}
	default:
		t.Error("nothing stored")
	}
}

// Row K16: without a source that is followed the kernel is told nothing, whatever is served to clients.
func TestK16_OnlyWithASource(t *testing.T) {
	r := newTrial(t, system.Defaults())
	if err := r.apply(system.Effects{View: &ntp.View{Stratum: 10, Synchronized: true, Reference: r.c.Now()}}); err != nil {
		t.Fatal(err)
	}
	if r.c.statuses != 0 {
		t.Errorf("told %d times", r.c.statuses)
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
	if rep := r.sys.Report(); rep.State != system.Synchronized || !r.boot.Settled() {
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
		at, provisional := d.bootstrap(row.saved).Judge(time.Unix(0, 0))
		if provisional != !row.floor.IsZero() || provisional && !at.Equal(row.floor) {
			t.Errorf("%+v: judged at %v, provisional %v", row, at, provisional)
		}
	}
}

// What is stored as a time that was right is the sources' time, not that of a clock that is still being slewed.
func TestKC19_StoredTimeIsTheSources(t *testing.T) {
	params := system.Defaults()
	params.Algorithm.StepThreshold = 100
	r := newTrial(t, params)
	for range 4 {
		r.sample(t, 10*time.Second)
	}
	d := <-r.drifts
	right := r.c.Now().Time(version.Built()).Add(10 * time.Second)
	if diff := right.Sub(d.Saved); diff.Abs() > time.Second {
		t.Errorf("stored %v, the sources' time is %v", d.Saved, right)
	}
}
