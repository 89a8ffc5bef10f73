package clock

import (
	"errors"
	"math"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// The layout must be the kernel's struct __kernel_timex on every architecture.
func TestTimexLayout(t *testing.T) {
	var x timex
	for _, row := range []struct {
		name      string
		got, want uintptr
	}{
		{"offset", unsafe.Offsetof(x.offset), 8}, {"freq", unsafe.Offsetof(x.freq), 16},
		{"status", unsafe.Offsetof(x.status), 40}, {"sec", unsafe.Offsetof(x.sec), 72},
		{"tick", unsafe.Offsetof(x.tick), 88}, {"tai", unsafe.Offsetof(x.tai), 160},
		{"size", unsafe.Sizeof(x), 208},
	} {
		if row.got != row.want {
			t.Errorf("%s at %d, want %d", row.name, row.got, row.want)
		}
	}
}

// A read-only call to the real kernel: it writes nothing and needs no privilege.
func TestKernelAnswersReadOnlyCall(t *testing.T) {
	var tx timex
	if _, err := clockAdjtime(&tx); err != nil {
		t.Skipf("clock_adjtime is not available here: %v", err)
	}
	if d := realtime().Sub(tx.reading()); d < 0 || d > 10*time.Second {
		t.Errorf("kernel's reading is %v before ours", d)
	}
	if tx.tick < 9000 || tx.tick > 11000 {
		t.Errorf("tick %d", tx.tick)
	}
	s := readSample()
	if d := s.real.Sub(tx.reading()); d < 0 || d > 10*time.Second || s.raw == 0 || s.boot < s.mono-10*time.Second {
		t.Errorf("sample %+v", s)
	}
}

func open(t *testing.T, f *fakeKernel) *Kernel {
	t.Helper()
	k, _, err := openKernel(f.call, f.sample)
	if err != nil {
		t.Fatal(err)
	}
	f.writes = nil
	return k
}

func TestK01_LeftoversAreNormalised(t *testing.T) {
	for _, row := range []struct {
		name string
		mess func(*fakeKernel)
		want []string
	}{
		{"clean clock", func(*fakeKernel) {}, nil},
		{"everything at once", func(f *fakeKernel) {
			f.freq, f.tick = maxKernelUnits, 10100
			f.status = unix.STA_PLL | unix.STA_FREQHOLD | unix.STA_INS
			f.offset, f.adjtime = 123456, -2500
		}, []string{"pll", "freqhold", "leap", "tick", "offset", "adjtime"}},
		{"offset left, loop off", func(f *fakeKernel) { f.offset = 99 }, []string{"offset"}},
		{"frequency loop and deleted second", func(f *fakeKernel) { f.status = unix.STA_FLL | unix.STA_DEL }, []string{"fll", "leap"}},
		{"pulse per second", func(f *fakeKernel) { f.status = unix.STA_PPSTIME | unix.STA_PPSFREQ }, []string{"pps"}},
		{"adjtime in progress", func(f *fakeKernel) { f.adjtime = 1 }, []string{"adjtime"}},
		{"nanosecond mode already on", func(f *fakeKernel) { f.status = unix.STA_NANO | unix.STA_PLL; f.offset = -5 }, []string{"pll", "offset"}},
	} {
		t.Run("K01 "+row.name, func(t *testing.T) {
			f := newFakeKernel()
			row.mess(f)
			freq := f.freq
			k, left, err := openKernel(f.call, f.sample)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(left.Fixed, row.want) {
				t.Errorf("fixed %q, want %q", left.Fixed, row.want)
			}
			if f.tick != nominalTick || f.offset != 0 || f.adjtime != 0 || f.status != unix.STA_UNSYNC|unix.STA_NANO {
				t.Errorf("tick %d offset %d adjtime %d status %#x", f.tick, f.offset, f.adjtime, f.status)
			}
			if f.freq != freq || k.Frequency() != fromKernel(freq) || k.base != fromKernel(freq) {
				t.Errorf("frequency %d, Frequency %g, base %g; want %d kept", f.freq, k.Frequency(), k.base, freq)
			}
			if f.tai != 37 {
				t.Errorf("TAI offset became %d", f.tai)
			}
		})
	}
}

func TestK07_NoPermission(t *testing.T) {
	f := newFakeKernel()
	f.refuse = unix.EPERM
	if _, _, err := openKernel(f.call, f.sample); !errors.Is(err, ntp.ErrClockPermission) {
		t.Errorf("open: %v, want ntp.ErrClockPermission", err)
	}
	f.refuse = nil
	k := open(t, f)
	f.refuse = unix.EPERM
	if _, err := k.SetFrequency(1e-6); !errors.Is(err, ntp.ErrClockPermission) {
		t.Errorf("set frequency: %v, want ntp.ErrClockPermission", err)
	}
	if err := k.SetStatus(ntp.ClockStatus{}); !errors.Is(err, ntp.ErrClockPermission) {
		t.Errorf("set status: %v, want ntp.ErrClockPermission", err)
	}
	f.refuse = unix.ENOSYS
	if _, err := k.Step(1); !errors.Is(err, ErrUnsupported) {
		t.Errorf("step: %v, want ErrUnsupported", err)
	}
}

func TestK08_ImpossibleValues(t *testing.T) {
	for _, row := range []struct {
		f    float64
		want float64
		err  error
	}{
		{0, 0, nil}, {20e-6, fromKernel(20 << 16), nil}, {-1e-12, 0, nil},
		{500e-6, 500e-6, nil}, {520e-6, 500e-6, nil}, {-0.09, -500e-6, nil},
		{math.NaN(), 0, ErrBadValue}, {math.Inf(1), 0, ErrBadValue}, {math.Inf(-1), 0, ErrBadValue}, {1e300, 0, ErrBadValue}, {-0.2, 0, ErrBadValue},
	} {
		f := newFakeKernel()
		k := open(t, f)
		e, err := k.SetFrequency(row.f)
		if !errors.Is(err, row.err) || math.Abs(e.Frequency-row.want) > 1e-18 || k.Frequency() != e.Frequency || f.freq != toKernel(row.want) {
			t.Errorf("SetFrequency(%g) = %g, %v; kernel %d; want %g, %v", row.f, e.Frequency, err, f.freq, row.want, row.err)
		}
		if err := k.SetBase(row.f); !errors.Is(err, row.err) {
			t.Errorf("SetBase(%g) = %v", row.f, err)
		}
	}
	k := open(t, newFakeKernel())
	for _, d := range []time.Duration{math.MinInt64, -60 * 365 * 24 * time.Hour} {
		if _, err := k.Step(d); !errors.Is(err, ErrBadValue) {
			t.Errorf("Step(%v) = %v, want ErrBadValue", d, err)
		}
	}
	if k.Epoch() != 0 {
		t.Error("a refused step counts")
	}
}

func TestFrequencyUnitsAreExact(t *testing.T) {
	for n := int64(-maxKernelUnits); n <= maxKernelUnits; n += 97 {
		if got := toKernel(fromKernel(n)); got != n {
			t.Fatalf("%d → %g → %d", n, fromKernel(n), got)
		}
	}
	if toKernel(1e-6) != 65536 || toKernel(500e-6) != maxKernelUnits || toKernel(-500e-6) != -maxKernelUnits {
		t.Error("1 ppm must be 65536 units")
	}
}

func TestStep(t *testing.T) {
	for _, d := range []time.Duration{1, -1, 250 * time.Millisecond, -1500 * time.Millisecond, time.Second, -time.Second, 40 * 365 * 24 * time.Hour} {
		f := newFakeKernel()
		k := open(t, f)
		if _, err := k.SetFrequency(30e-6); err != nil {
			t.Fatal(err)
		}
		f.writes = nil
		before := f.wall
		e, err := k.Step(d)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.wall - before - d; got < 0 || got > 10*time.Microsecond {
			t.Errorf("step %v: clock moved by %v more", d, got)
		}
		if lag := f.sample().real.Sub(e.Time); lag < 0 || lag > 10*time.Microsecond {
			t.Errorf("step %v: entry is %v old", d, lag)
		}
		if e.Step != d || e.Frequency != fromKernel(30<<16) || e.Foreign || k.Epoch() != 1 {
			t.Errorf("step %v: entry %+v epoch %d", d, e, k.Epoch())
		}
		if since := k.EpochSince().Sub(f.sample().real.Add(min(max(0, -d), longestWait))); since.Abs() > 10*time.Microsecond {
			t.Errorf("step %v: the limit for stamps of before is %v off", d, since)
		}
		if _, ok := k.CheckForeign(); ok {
			t.Errorf("step %v: taken for a foreign one", d)
		}
		if len(f.writes) != 1 {
			t.Errorf("step %v: %d writes", d, len(f.writes))
		}
	}
}

// The ledger built from the entries follows the oscillator, whatever is done to the clock.
func TestEntriesKeepLedgerOnOscillator(t *testing.T) {
	f := newFakeKernel()
	f.freq = toKernel(-70e-6)
	k := open(t, f)
	s := f.sample()
	l := ntp.NewLedger(s.real, k.Frequency())
	start := f.true
	check := func(what string) {
		t.Helper()
		if d := time.Duration(l.Local(f.sample().real)) - (f.true - start); d.Abs() > 200*time.Nanosecond {
			t.Errorf("%s: local time is off by %v", what, d)
		}
	}
	add := func(e ntp.LedgerEntry, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		l = l.Append(e, 0)
	}
	f.advance(16 * time.Second)
	check("start")
	add(k.SetFrequency(430e-6))
	f.advance(16 * time.Second)
	check("slew")
	add(k.Step(-300 * time.Millisecond))
	f.advance(time.Hour)
	check("step")

	f.freq, f.tick = toKernel(-200e-6), 10002 // K06: somebody else writes
	f.advance(16 * time.Second)
	add(k.SetFrequency(10e-6))
	f.advance(16 * time.Second)
	check("K06 overruled")
	if f.tick != nominalTick {
		t.Errorf("K06: tick %d stays", f.tick)
	}

	f.freq = toKernel(100e-6)
	f.advance(10 * time.Second)
	fo, ok := k.CheckForeign()
	if !ok || !fo.Tampered || fo.Entry.Foreign || fo.Entry.Frequency != fromKernel(100<<16) || fo.Jump != 0 {
		t.Fatalf("K06 noticed: %v %+v", ok, fo)
	}
	l = l.Append(fo.Entry, fo.Elapsed)
	f.advance(10 * time.Second)
	check("K06 adopted")

	f.wall += 100 * time.Second // K05
	f.advance(300 * time.Millisecond)
	fo, ok = k.CheckForeign()
	if !ok || !fo.Entry.Foreign || fo.Jump != 100*time.Second || fo.Tampered {
		t.Fatalf("K05 noticed: %v %+v", ok, fo)
	}
	l = l.Append(fo.Entry, fo.Elapsed)
	f.advance(10 * time.Second)
	check("K05 foreign step")

	f.suspend(time.Hour)
	if fo, ok = k.CheckForeign(); !ok {
		t.Fatal("suspend not noticed")
	}
	l = l.Append(fo.Entry, fo.Elapsed)
	f.advance(time.Second)
	check("suspend")
	if k.Epoch() != 3 {
		t.Errorf("epoch %d after three steps", k.Epoch())
	}
}

func TestK05_ForeignStepStopsWrites(t *testing.T) {
	for _, d := range []time.Duration{time.Millisecond, 100 * time.Second, -100 * time.Second, 1e5 * time.Second, -1e8 * time.Second} {
		f := newFakeKernel()
		k := open(t, f)
		f.wall += d
		for what, write := range map[string]func() error{
			"frequency": func() error { _, err := k.SetFrequency(1e-6); return err },
			"step":      func() error { _, err := k.Step(time.Second); return err },
			"status":    func() error { return k.SetStatus(ntp.ClockStatus{Synchronized: true}) },
		} {
			if err := write(); !errors.Is(err, ntp.ErrForeignChange) {
				t.Errorf("%v, %s: %v, want ntp.ErrForeignChange", d, what, err)
			}
		}
		if len(f.writes) != 0 || k.Epoch() != 0 {
			t.Errorf("%v: written %d times", d, len(f.writes))
		}
		fo, ok := k.CheckForeign()
		if !ok || (fo.Jump-d).Abs() > time.Microsecond || !fo.Entry.Foreign || k.Epoch() != 1 {
			t.Errorf("%v: %v %+v", d, ok, fo)
		}
		if since := k.EpochSince().Sub(f.sample().real.Add(min(max(0, -d), longestWait))); since.Abs() > 10*time.Microsecond {
			t.Errorf("%v: the limit for stamps of before is %v off", d, since)
		}
		if len(f.writes) != 0 {
			t.Errorf("%v: looking wrote to the clock", d)
		}
		if _, err := k.SetFrequency(1e-6); err != nil {
			t.Errorf("%v: after the look: %v", d, err)
		}
	}
}

func TestK06_OtherWriters(t *testing.T) {
	for _, row := range []struct {
		name string
		mess func(*fakeKernel)
	}{
		{"frequency", func(f *fakeKernel) { f.freq = 1 }},
		{"tick", func(f *fakeKernel) { f.tick = 9999 }},
		{"loop with offset", func(f *fakeKernel) { f.status |= unix.STA_PLL; f.offset = 1000 }},
		{"leap second", func(f *fakeKernel) { f.status |= unix.STA_INS }},
		{"adjtime", func(f *fakeKernel) { f.adjtime = 7 }},
	} {
		t.Run("K06 "+row.name, func(t *testing.T) {
			f := newFakeKernel()
			k := open(t, f)
			row.mess(f)
			if err := k.SetStatus(ntp.ClockStatus{Synchronized: true}); !errors.Is(err, ntp.ErrForeignChange) {
				t.Errorf("status: %v, want ntp.ErrForeignChange", err)
			}
			fo, ok := k.CheckForeign()
			if !ok || !fo.Tampered || fo.Is != fromKernel(f.freq) || len(f.writes) != 0 {
				t.Fatalf("%v %+v, %d writes", ok, fo, len(f.writes))
			}
			if _, again := k.CheckForeign(); again {
				t.Error("noticed twice")
			}
			if _, err := k.SetFrequency(5e-6); err != nil {
				t.Fatal(err)
			}
			if f.freq != 5<<16 || f.tick != nominalTick || f.offset != 0 || f.adjtime != 0 || f.status&ownedStatus != 0 {
				t.Errorf("not put right: %+v", f)
			}
			if _, ok := k.CheckForeign(); ok {
				t.Error("our own repair is taken for foreign")
			}
		})
	}
}

// A step by another program in the instant of our own write is still found by the next look.
func TestForeignStepDuringWrite(t *testing.T) {
	f := newFakeKernel()
	k := open(t, f)
	f.onWrite = func() { f.wall += 5 * time.Second; f.onWrite = nil }
	if _, err := k.Step(time.Second); err != nil {
		t.Fatal(err)
	}
	if fo, ok := k.CheckForeign(); !ok || (fo.Jump-5*time.Second).Abs() > time.Millisecond {
		t.Errorf("%v %+v", ok, fo)
	}
}

func TestK09_StatusAndLeap(t *testing.T) {
	for _, row := range []struct {
		name          string
		s             ntp.ClockStatus
		status        int32
		maxerr, ester int64
	}{
		{"synchronised", ntp.ClockStatus{Synchronized: true, MaxError: 1500 * time.Nanosecond, EstError: time.Microsecond}, 0, 2, 1},
		{"insert", ntp.ClockStatus{Synchronized: true, Leap: ntp.LeapInsert}, unix.STA_INS, 0, 0},
		{"delete", ntp.ClockStatus{Synchronized: true, Leap: ntp.LeapDelete}, unix.STA_DEL, 0, 0},
		{"unknown leap", ntp.ClockStatus{Synchronized: true, Leap: ntp.LeapUnknown}, 0, 0, 0},
		{"not synchronised disarms", ntp.ClockStatus{Leap: ntp.LeapInsert, MaxError: time.Hour}, unix.STA_UNSYNC, 16e6, 0},
		{"negative", ntp.ClockStatus{Synchronized: true, MaxError: -1, EstError: -time.Hour}, 0, 0, 0},
	} {
		t.Run("K09 "+row.name, func(t *testing.T) {
			f := newFakeKernel()
			k := open(t, f)
			for range 2 { // the second time nothing may look foreign
				if err := k.SetStatus(row.s); err != nil {
					t.Fatal(err)
				}
			}
			if f.status&^unix.STA_NANO != row.status || f.maxerr != row.maxerr || f.esterr != row.ester || f.tai != 37 {
				t.Errorf("status %#x maxerror %d esterror %d", f.status, f.maxerr, f.esterr)
			}
			if _, err := k.SetFrequency(1e-6); err != nil || f.status&^unix.STA_NANO != row.status {
				t.Errorf("setting the frequency changed the status to %#x (%v)", f.status, err)
			}
			if err := k.SetStatus(ntp.ClockStatus{Synchronized: true}); err != nil || f.status != unix.STA_NANO {
				t.Errorf("withdrawn flag stays: %#x (%v)", f.status, err)
			}
		})
	}
}

// TestK16_TAI: the kernel is told TAI - UTC where it is known, once, and by a synchronised clock only.
func TestK16_TAI(t *testing.T) {
	for _, row := range []struct {
		s    ntp.ClockStatus
		want int32
	}{
		{ntp.ClockStatus{Synchronized: true, TAI: 38}, 38},
		{ntp.ClockStatus{Synchronized: true}, 37},
		{ntp.ClockStatus{TAI: 38}, 37},
	} {
		f := newFakeKernel()
		k := open(t, f)
		var writes int
		for range 2 {
			writes = len(f.writes)
			if err := k.SetStatus(row.s); err != nil {
				t.Fatal(err)
			}
		}
		if f.tai != row.want || len(f.writes) != writes+1 {
			t.Errorf("%+v: TAI %d, %d writes the second time", row.s, f.tai, len(f.writes)-writes)
		}
		if c, ok := k.CheckForeign(); ok {
			t.Errorf("our own word is taken for foreign: %+v", c)
		}
	}
}

func TestK10_LeapSecondIsOurs(t *testing.T) {
	for _, row := range []struct {
		leap ntp.LeapIndicator
		jump time.Duration
		ours bool
	}{
		{ntp.LeapInsert, -time.Second, true}, {ntp.LeapDelete, time.Second, true},
		{ntp.LeapInsert, time.Second, false}, {ntp.LeapNone, -time.Second, false}, {ntp.LeapInsert, -990 * time.Millisecond, false},
	} {
		f := newFakeKernel()
		k := open(t, f)
		if err := k.SetStatus(ntp.ClockStatus{Synchronized: true, Leap: row.leap}); err != nil {
			t.Fatal(err)
		}
		f.wall += row.jump
		fo, ok := k.CheckForeign()
		if !ok || fo.Leap != row.ours || fo.Entry.Leap != row.ours || fo.Entry.Foreign == row.ours || row.ours && fo.Entry.Step != row.jump {
			t.Errorf("%v %v: %v %+v", row.leap, row.jump, ok, fo)
		}
	}
}

func TestK12_SuspendIsNoticed(t *testing.T) {
	f := newFakeKernel()
	k := open(t, f)
	f.advance(time.Minute)
	f.suspend(2 * time.Hour)
	if _, err := k.SetFrequency(0); !errors.Is(err, ntp.ErrForeignChange) {
		t.Errorf("write after suspend: %v", err)
	}
	fo, ok := k.CheckForeign()
	if !ok || !fo.Entry.Foreign || fo.Sleep != 2*time.Hour || fo.Jump != 0 || (fo.Elapsed-time.Minute).Abs() > time.Millisecond {
		t.Errorf("%v %+v", ok, fo)
	}
}

func TestK15_Rest(t *testing.T) {
	f := newFakeKernel()
	f.freq = toKernel(12e-6)
	k := open(t, f)
	if _, err := k.SetFrequency(400e-6); err != nil {
		t.Fatal(err)
	}
	if err := k.SetStatus(ntp.ClockStatus{Synchronized: true, Leap: ntp.LeapInsert, MaxError: time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := k.Rest(); err != nil {
		t.Fatal(err)
	}
	if f.freq != 12<<16 || f.status != unix.STA_NANO || f.maxerr != 1e6 {
		t.Errorf("frequency %d status %#x maxerror %d", f.freq, f.status, f.maxerr)
	}
	if err := k.SetBase(-3e-6); err != nil {
		t.Fatal(err)
	}
	f.wall += time.Hour // a foreign step does not stop an orderly exit
	if err := k.Rest(); err != nil || f.freq != -3<<16 {
		t.Errorf("frequency %d, %v", f.freq, err)
	}
}

// The entry holds the frequency that the kernel confirms, not the one that was asked for.
func TestFrequencyIsReadBack(t *testing.T) {
	for _, off := range []int64{0, 1, -1000} {
		f := newFakeKernel()
		k := open(t, f)
		k.adjtime = func(tx *timex) (int, error) {
			if tx.modes&unix.ADJ_FREQUENCY != 0 {
				tx.freq += off
			}
			return f.call(tx)
		}
		e, err := k.SetFrequency(1e-6)
		if err != nil || e.Frequency != fromKernel(65536+off) || k.Frequency() != e.Frequency {
			t.Errorf("%d units off: %+v %v", off, e, err)
		}
		if _, ok := k.CheckForeign(); ok {
			t.Errorf("%d units off: taken for foreign", off)
		}
	}
}

// The clocks are never read at quite the same moment: a step is not a suspend of some nanoseconds.
func TestK05_KernelNoiseIsNoSuspend(t *testing.T) {
	f := newFakeKernel()
	k := open(t, f)
	f.boot += 56
	f.wall -= 100 * time.Second
	if fo, ok := k.CheckForeign(); !ok || fo.Sleep != 0 || (fo.Jump+100*time.Second).Abs() > time.Microsecond {
		t.Errorf("%v %+v", ok, fo)
	}
}
