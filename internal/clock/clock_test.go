package clock

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// The three clocks fit the interface.
var (
	_ Clock = (*Kernel)(nil)
	_ Clock = (*Virtual)(nil)
	_ Clock = (*ReadOnly)(nil)
)

// steadyKernel is a kernel clock that is right and moves only when told to.
type steadyKernel struct{ s sample }

func newSteadyKernel() *steadyKernel {
	return &steadyKernel{sample{real: ntp.FromUnix(1_700_000_000, 0), boot: time.Hour, mono: time.Hour, raw: time.Hour, width: time.Microsecond}}
}
func (w *steadyKernel) read() sample { return w.s }
func (w *steadyKernel) advance(d time.Duration) {
	w.s.real, w.s.boot, w.s.mono, w.s.raw = w.s.real.Add(d), w.s.boot+d, w.s.mono+d, w.s.raw+d
}

// ahead is virtual time minus kernel time, now.
func (w *steadyKernel) ahead(v *Virtual) time.Duration { return v.Map(w.s.real).Sub(w.s.real) }

func near(t *testing.T, what string, got, want, limit time.Duration) {
	t.Helper()
	if (got - want).Abs() > limit {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestVirtualStartsWrongAndIsSteered(t *testing.T) {
	w := newSteadyKernel()
	v := newVirtual(250*time.Millisecond, 50e-6, w.read)
	near(t, "start", w.ahead(v), 250*time.Millisecond, 1)
	w.advance(100 * time.Second)
	near(t, "free running", w.ahead(v), 255*time.Millisecond, 2)

	l := ntp.NewLedger(v.Map(w.s.real), v.Frequency())
	true0 := w.s.raw
	e, err := v.SetFrequency(1/(1+50e-6) - 1)
	if err != nil || e.Time != v.Map(w.s.real) || e.Step != 0 || v.Epoch() != 0 {
		t.Fatalf("frequency: %+v %v", e, err)
	}
	l = l.Append(e, 0)
	w.advance(100 * time.Second)
	near(t, "right frequency", w.ahead(v), 255*time.Millisecond, 3)

	before := w.s.real
	e, err = v.Step(-255 * time.Millisecond)
	if err != nil || e.Step != -255*time.Millisecond || v.Epoch() != 1 {
		t.Fatalf("step: %+v %v", e, err)
	}
	l = l.Append(e, 0)
	near(t, "stepped", w.ahead(v), 0, 3)
	w.advance(time.Second)
	stamp := before.Add(-time.Millisecond)
	near(t, "stamp from before the step", v.Map(stamp).Sub(stamp), 255*time.Millisecond, 4)

	local := time.Duration(l.Local(v.Map(w.s.real)))
	elapsed := w.s.raw - true0
	near(t, "ledger", local, elapsed+time.Duration(float64(elapsed)*50e-6), 10)
}

func TestK08_VirtualRefusesImpossibleValues(t *testing.T) {
	w := newSteadyKernel()
	v := newVirtual(0, math.NaN(), w.read)
	w.advance(time.Hour)
	near(t, "a frequency that is no number", w.ahead(v), 0, 0)
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300, 0.2} {
		if _, err := v.SetFrequency(f); !errors.Is(err, ErrBadValue) {
			t.Errorf("SetFrequency(%g): %v", f, err)
		}
		if err := v.SetBase(f); !errors.Is(err, ErrBadValue) {
			t.Errorf("SetBase(%g): %v", f, err)
		}
	}
	if e, err := v.SetFrequency(0.001); err != nil || e.Frequency != MaxFrequency || v.Frequency() != MaxFrequency {
		t.Errorf("beyond the limit: %+v %v", e, err)
	}
	if err := v.SetBase(7e-6); err != nil {
		t.Fatal(err)
	}
	if err := v.Rest(); err != nil || v.Frequency() != 7e-6 {
		t.Errorf("rest: %g %v", v.Frequency(), err)
	}
}

func TestK05_VirtualAndReadOnlyNoticeSteps(t *testing.T) {
	for _, row := range []struct {
		name        string
		jump, sleep time.Duration
	}{{"forward", 100 * time.Second, 0}, {"backward", -3 * time.Second, 0}, {"suspend", 0, time.Hour}} {
		w := newSteadyKernel()
		v := newVirtual(time.Second, 100e-6, w.read)
		r := newReadOnly(w.read)
		w.advance(10 * time.Second)
		if _, err := v.SetFrequency(200e-6); err != nil {
			t.Fatal(err)
		}
		w.advance(time.Minute)
		w.s.real = w.s.real.Add(row.jump + row.sleep)
		w.s.boot += row.sleep
		if _, err := v.Step(1); !errors.Is(err, ntp.ErrForeignChange) {
			t.Errorf("%s: step: %v, want ntp.ErrForeignChange", row.name, err)
		}
		for name, c := range map[string]Clock{"virtual": v, "read only": r} {
			f, ok := c.CheckForeign()
			if !ok || !f.Entry.Foreign || (f.Jump-row.jump).Abs() > 1 || f.Sleep != row.sleep || c.Epoch() != 1 || f.Entry.Time != c.Map(w.s.real) {
				t.Errorf("%s, %s: %v %+v", row.name, name, ok, f)
			}
			if _, ok := c.CheckForeign(); ok {
				t.Errorf("%s, %s: noticed twice", row.name, name)
			}
			if name == "virtual" {
				near(t, row.name+" elapsed", f.Elapsed, time.Minute+6*time.Millisecond, 2)
			} else {
				near(t, row.name+" elapsed", f.Elapsed, 70*time.Second, 2)
			}
		}
	}
}

func TestVirtualKeepsManySegments(t *testing.T) {
	w := newSteadyKernel()
	v := newVirtual(0, 0, w.read)
	for range 1000 {
		w.advance(time.Second)
		if _, err := v.SetFrequency(100e-6); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.line); n != keptSegments {
		t.Errorf("%d segments kept", n)
	}
	near(t, "sum", w.ahead(v), 999*100*time.Microsecond, 1000)
}

// Readers need no lock while the clock is steered (run with -race).
func TestVirtualConcurrentReaders(t *testing.T) {
	v := NewVirtual(-time.Second, 20e-6)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			prev := v.Now()
			for {
				select {
				case <-stop:
					return
				default:
				}
				now := v.Now()
				if now.Before(prev) {
					t.Errorf("went back by %v", prev.Sub(now))
					return
				}
				prev = now
				_ = v.Epoch()
			}
		})
	}
	for i := range 500 {
		if _, err := v.SetFrequency(float64(i%7) * 10e-6); err != nil && !errors.Is(err, ntp.ErrForeignChange) {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

// TestVirtualReadingHasOneValue: a goroutine that reads while a change is under way, here one whose thread lost its
// processor between its reading of the kernel's clock and the end, is mapped by the new rate or not at all yet. By the
// old rate its next reading could be an earlier one.
func TestVirtualReadingHasOneValue(t *testing.T) {
	read := sampler()
	var hook func()
	v := newVirtual(0, 1e-2, func() sample {
		s := read()
		if hook != nil {
			hook()
		}
		return s
	})
	type reading struct{ kernel, virtual ntp.Timestamp }
	got := make(chan reading, 1)
	reads := 0
	hook = func() {
		if reads++; reads != sampleTries {
			return
		}
		begin := realtime()
		for realtime().Sub(begin) < time.Millisecond {
		}
		done := make(chan struct{})
		go func() {
			k := realtime()
			got <- reading{k, v.Map(k)}
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(50 * time.Millisecond): // it waits for us, as it should
		}
	}
	if _, err := v.SetFrequency(-500e-6); err != nil {
		t.Fatal(err)
	}
	if r := <-got; r.virtual != v.Map(r.kernel) {
		t.Errorf("read %v during a change, %v after it", r.virtual, v.Map(r.kernel))
	}
}

func TestReadOnlyRefuses(t *testing.T) {
	r := OpenReadOnly()
	if _, err := r.SetFrequency(0); !errors.Is(err, ntp.ErrClockReadOnly) {
		t.Errorf("frequency: %v", err)
	}
	if _, err := r.Step(1); !errors.Is(err, ntp.ErrClockReadOnly) {
		t.Errorf("step: %v", err)
	}
	if err := errors.Join(r.SetStatus(ntp.ClockStatus{}), r.SetBase(1), r.Rest()); err != nil {
		t.Error(err)
	}
	if r.Frequency() != 0 || r.Now().IsZero() {
		t.Error("reads nothing")
	}
}

func TestWatchStepsEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- WatchSteps(ctx, func() {}) }()
	select {
	case err := <-done:
		t.Fatalf("ended early: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("does not end")
	}
}

func TestPrecision(t *testing.T) {
	for _, row := range []struct {
		name string
		step ntp.Timestamp // 2^-32 s per reading
		want int8
	}{
		{"40 ns", 172, -24}, {"exactly 2^-20", 4096, -20}, {"just above", 4097, -19},
		{"too good", 1, finestPrecision}, {"stands still", 0, coarsestPrecision}, {"10 ms", 42949673, -6}, {"a minute", 60 << 32, coarsestPrecision},
	} {
		now := ntp.Timestamp(1 << 40)
		if got := Precision(func() ntp.Timestamp { now += row.step; return now }); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}
	if p := Precision(realtime); p < finestPrecision || p > -10 {
		t.Errorf("this machine: %d", p)
	}
}

func TestNowAllocatesNothing(t *testing.T) {
	v := NewVirtual(time.Second, 1e-6)
	r := OpenReadOnly()
	if n := testing.AllocsPerRun(100, func() { _ = v.Now(); _ = r.Now() }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// Where reading the clocks takes microseconds, as in a virtual machine, their differences are never exactly 0: a step
// must not be told as a suspend of some nanoseconds, nor a suspend as a step.
func TestK05_NoiseIsNeitherStepNorSuspend(t *testing.T) {
	const noise = 56
	for _, row := range []struct{ step, suspend time.Duration }{{-100 * time.Second, 0}, {0, time.Hour}} {
		w := newSteadyKernel()
		w.s.width = 5 * time.Microsecond
		clocks := map[string]Clock{"virtual": newVirtual(0, 0, w.read), "read only": newReadOnly(w.read)}
		w.advance(time.Minute)
		w.s.boot += noise
		for name, c := range clocks {
			if f, ok := c.CheckForeign(); ok {
				t.Errorf("%s: %+v out of noise", name, f)
			}
		}
		w.s.real = w.s.real.Add(row.step + row.suspend)
		w.s.boot += row.suspend + noise
		for name, c := range clocks {
			f, ok := c.CheckForeign()
			if !ok || (f.Jump-row.step).Abs() > 2*noise || (f.Sleep-row.suspend).Abs() > 2*noise || row.step == 0 && f.Jump != 0 || row.suspend == 0 && f.Sleep != 0 {
				t.Errorf("%s: %v %+v, want %+v", name, ok, f, row)
			}
		}
	}
}

// A reader that takes the epoch first and the clock then, as the source tasks do, never pairs the epoch after a step
// with a reading before it.
func TestVirtualEpochFollowsTheStep(t *testing.T) {
	v := NewVirtual(0, 0)
	const step = time.Hour
	start := v.Now()
	stop, done := make(chan struct{}), make(chan string)
	go func() {
		defer close(done)
		for {
			e := v.Epoch()
			if d := v.Now().Sub(start); d < time.Duration(e)*step {
				done <- fmt.Sprintf("epoch %d with a reading of %v", e, d)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for range 2000 {
		if _, err := v.Step(step); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if bad := <-done; bad != "" {
		t.Error(bad)
	}
}
