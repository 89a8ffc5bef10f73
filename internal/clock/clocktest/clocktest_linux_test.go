package clocktest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/clock"
	"ntp-daemon/internal/ntp"
)

// crashEnv makes a test misbehave in a process of its own, to see that the keeper puts the clock back.
const crashEnv = "NTPD_TEST_CLOCK_CRASH"

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// entryError is how exact the reading in a ledger entry must be.
const entryError = 50 * time.Microsecond

func write(t *testing.T, tx unix.Timex) {
	t.Helper()
	if _, err := unix.Adjtimex(&tx); err != nil {
		t.Fatal(err)
	}
}

// mess leaves what a badly ended time program could leave.
func mess(t *testing.T) {
	t.Helper()
	write(t, unix.Timex{Modes: unix.ADJ_STATUS | unix.ADJ_FREQUENCY | unix.ADJ_TICK | unix.ADJ_NANO,
		Status: unix.STA_PLL | unix.STA_FREQHOLD | unix.STA_INS, Freq: 500 << 16, Tick: 10100})
	write(t, unix.Timex{Modes: unix.ADJ_OFFSET, Offset: 100_000_000})
	write(t, unix.Timex{Modes: unix.ADJ_OFFSET_SINGLESHOT, Offset: 5000})
}

func open(t *testing.T) (*clock.Kernel, clock.Leftovers) {
	t.Helper()
	k, left, err := clock.OpenKernel()
	if err != nil {
		t.Fatal(err)
	}
	return k, left
}

func TestK01_RealKernelIsNormalised(t *testing.T) {
	Guard(t)
	mess(t)
	start := time.Now()
	k, left := open(t)
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
	// STA_PLL with its bit for the frequency, the leap second, tick, offset and adjtime.
	if want := []string{"pll", "freqhold", "leap", "tick", "offset", "adjtime"}; !slices.Equal(left.Fixed, want) {
		t.Errorf("fixed %q, want %q", left.Fixed, want)
	}
	var after unix.Timex
	single := unix.Timex{Modes: unix.ADJ_OFFSET_SS_READ}
	if _, err := unix.Adjtimex(&after); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Adjtimex(&single); err != nil {
		t.Fatal(err)
	}
	if after.Freq != 500<<16 || after.Tick != 10000 || after.Offset != 0 || single.Offset != 0 || after.Status != unix.STA_UNSYNC|unix.STA_NANO {
		t.Errorf("freq %d tick %d offset %d adjtime %d status %#x", after.Freq, after.Tick, after.Offset, single.Offset, after.Status)
	}
	if k.Frequency() != 500e-6 {
		t.Errorf("frequency %g", k.Frequency())
	}
	_, again := open(t)
	if len(again.Fixed) != 0 {
		t.Errorf("a second start finds %q", again.Fixed)
	}
}

// The ledger must agree with CLOCK_MONOTONIC_RAW through steps and frequencies.
func TestEntriesAreExact(t *testing.T) {
	Guard(t)
	k, _ := open(t)
	for _, row := range []struct {
		name   string
		change func() (ntp.LedgerEntry, error)
		step   time.Duration
		freq   float64
	}{
		{"frequency +100 ppm", func() (ntp.LedgerEntry, error) { return k.SetFrequency(100e-6) }, 0, 100e-6},
		{"step +250 ms", func() (ntp.LedgerEntry, error) { return k.Step(250 * time.Millisecond) }, 250 * time.Millisecond, 100e-6},
		{"step -1.1 s", func() (ntp.LedgerEntry, error) { return k.Step(-1100 * time.Millisecond) }, -1100 * time.Millisecond, 100e-6},
		{"frequency -500 ppm", func() (ntp.LedgerEntry, error) { return k.SetFrequency(-500e-6) }, 0, -500e-6},
		{"frequency beyond the limit", func() (ntp.LedgerEntry, error) { return k.SetFrequency(700e-6) }, 0, 500e-6},
		{"step +1 ns", func() (ntp.LedgerEntry, error) { return k.Step(1) }, 1, 500e-6},
	} {
		realBefore, rawBefore := pair()
		old := k.Frequency()
		e, err := row.change()
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		if e.Step != row.step || (e.Frequency-row.freq) > 1e-11 || (row.freq-e.Frequency) > 1e-11 || e.Foreign {
			t.Errorf("%s: %+v", row.name, e)
		}
		// Where the clock was at the change, seen from before it: its oscillator time follows from the reading.
		gap := e.Time.Add(-e.Step).Sub(fromUnix(realBefore))
		oscillator := rawBefore + gap - time.Duration(float64(gap)*old/(1+old))
		time.Sleep(300 * time.Millisecond)
		realAfter, rawAfter := pair()
		elapsed := rawAfter - oscillator
		predicted := e.Time.Add(elapsed + time.Duration(float64(elapsed)*e.Frequency))
		off := fromUnix(realAfter).Sub(predicted)
		t.Logf("%s: entry is exact to %v", row.name, off)
		if off.Abs() > entryError {
			t.Errorf("%s: %v off after %v", row.name, off, elapsed)
		}
		if f, ok := k.CheckForeign(); ok {
			t.Errorf("%s: taken for foreign: %+v", row.name, f)
		}
	}
	if k.Epoch() != 3 {
		t.Errorf("epoch %d after three steps", k.Epoch())
	}
}

func TestK16_RealStatus(t *testing.T) {
	Guard(t)
	var tx unix.Timex
	k, _ := open(t)
	if err := k.SetStatus(ntp.ClockStatus{Synchronized: true, Leap: ntp.LeapInsert, MaxError: 12 * time.Millisecond, EstError: 340 * time.Microsecond}); err != nil {
		t.Fatal(err)
	}
	state, err := unix.Adjtimex(&tx)
	if err != nil || state == unix.TIME_ERROR || tx.Status&(unix.STA_UNSYNC|unix.STA_INS) != unix.STA_INS || tx.Maxerror < 12000 || tx.Maxerror > 13000 || tx.Esterror != 340 {
		t.Errorf("state %d status %#x maxerror %d esterror %d, %v", state, tx.Status, tx.Maxerror, tx.Esterror, err)
	}
	if _, err := k.SetFrequency(200e-6); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(k.SetBase(-7e-6), k.Rest()); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Adjtimex(&tx); err != nil || tx.Freq != -7<<16 || tx.Status&(unix.STA_INS|unix.STA_UNSYNC) != 0 {
		t.Errorf("after rest: freq %d status %#x, %v", tx.Freq, tx.Status, err)
	}
}

func TestK05_RealForeignStepIsNoticed(t *testing.T) {
	Guard(t)
	k, _ := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	changed := make(chan struct{}, 10)
	watching := make(chan error, 1)
	go func() { watching <- clock.WatchSteps(ctx, func() { changed <- struct{}{} }) }()
	time.Sleep(50 * time.Millisecond) // the watcher's start is nowhere to be seen; a missed step fails below
	for _, d := range []time.Duration{1500 * time.Millisecond, -1500 * time.Millisecond} {
		now, _ := pair()
		ts := unix.NsecToTimespec(int64(now + d))
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case err := <-watching:
			t.Fatal(err)
		case <-time.After(time.Second):
			t.Fatalf("step of %v not noticed within 1 s", d)
		}
		if _, err := k.SetFrequency(0); !errors.Is(err, ntp.ErrForeignChange) {
			t.Errorf("write after a step of %v: %v", d, err)
		}
		f, ok := k.CheckForeign()
		if !ok || !f.Entry.Foreign || (f.Jump-d).Abs() > time.Millisecond || f.Sleep.Abs() > time.Millisecond {
			t.Errorf("step of %v: %v %+v", d, ok, f)
		}
	}
	if _, err := k.Step(time.Millisecond); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed: // our own steps wake the watcher too
	case <-time.After(time.Second):
		t.Error("own step does not wake the watcher")
	}
	if f, ok := k.CheckForeign(); ok {
		t.Errorf("own step is taken for foreign: %+v", f)
	}
}

func TestK06_RealInterferenceIsAccountedFor(t *testing.T) {
	Guard(t)
	k, _ := open(t)
	real0, raw0 := pair()
	l := ntp.NewLedger(fromUnix(real0), k.Frequency())
	for i := range 3 {
		write(t, unix.Timex{Modes: unix.ADJ_FREQUENCY, Freq: 400 << 16})
		time.Sleep(200 * time.Millisecond)
		e, err := k.SetFrequency(float64(i) * 1e-6)
		if err != nil {
			t.Fatal(err)
		}
		l = l.Append(e, 0)
	}
	time.Sleep(100 * time.Millisecond)
	real1, raw1 := pair()
	if d := time.Duration(l.Local(fromUnix(real1))) - (raw1 - raw0); d.Abs() > entryError {
		t.Errorf("local time is %v off", d)
	}
}

// The keeper's own promise: whatever happens to the test's process, the clock comes back.
func TestKeeperPutsClockBack(t *testing.T) {
	switch os.Getenv(crashEnv) {
	case "":
	case "panic":
		Guard(t)
		mess(t)
		write(t, step(1300*time.Millisecond))
		panic("as promised")
	case "goroutine":
		Guard(t)
		mess(t)
		write(t, step(-1300*time.Millisecond))
		go func() { panic("as promised") }()
		select {}
	case "term", "kill":
		Guard(t)
		mess(t)
		write(t, step(900*time.Millisecond))
		sig := unix.SIGTERM
		if os.Getenv(crashEnv) == "kill" {
			sig = unix.SIGKILL
		}
		unix.Kill(os.Getpid(), sig)
		select {}
	case "far":
		Guard(t)
		write(t, step(5*time.Second))
		time.Sleep(10 * watchEvery) // the keeper acts
		return
	}
	if os.Getenv(enableEnv) != "1" || os.Geteuid() != 0 {
		Guard(t) // skips with the reason
	}
	lock, err := takeLock(lockPath, lockWait)
	if err != nil {
		t.Fatal(err)
	}
	watch, err := save()
	if err != nil {
		t.Fatal(err)
	}
	lock.Close() // the children take it; nobody else moves the clock and leaves it moved
	for _, how := range []string{"panic", "goroutine", "term", "kill", "far"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKeeperPutsClockBack$", "-test.v")
		cmd.Env = append(os.Environ(), crashEnv+"="+how)
		out, err := cmd.CombinedOutput()
		if err == nil || strings.Contains(string(out), "SKIP") {
			t.Errorf("%s: the process ended well: %s", how, out)
		}
		if how == "far" && !strings.Contains(string(out), "put back at once") {
			t.Errorf("%s: %s", how, out)
		}
		lock, err := takeLock(lockPath, 10*time.Second) // until its keeper is done
		if err != nil {
			t.Fatal(err)
		}
		var now unix.Timex
		if _, err := unix.Adjtimex(&now); err != nil {
			t.Fatal(err)
		}
		d := watch.displacement()
		t.Logf("%s: clock is %v from its place", how, d)
		if d.Abs() > 4*maxResidue || now.Freq != watch.tx.Freq || now.Tick != watch.tx.Tick || now.Status != watch.tx.Status || now.Offset != watch.tx.Offset {
			t.Errorf("%s: %v off, freq %d tick %d status %#x", how, d, now.Freq, now.Tick, now.Status)
		}
		lock.Close()
	}
}

func step(d time.Duration) unix.Timex {
	tx := unix.Timex{Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO}
	sec := d / time.Second
	if d%time.Second < 0 {
		sec--
	}
	tx.Time.Sec += clampLong(int64(sec))
	tx.Time.Usec += clampLong(int64(d - sec*time.Second))
	return tx
}

// The reference needs no privilege and moves nothing.
func TestReference(t *testing.T) {
	var tx unix.Timex
	if _, err := unix.Adjtimex(&tx); err != nil {
		t.Skipf("skipped: adjtimex is not available: %v", err)
	}
	r := NewReference(50*time.Millisecond, 20e-6)
	if e := r.Error() + 50*time.Millisecond; e.Abs() > time.Millisecond {
		t.Errorf("starts %v off", e)
	}
	now := r.Now()
	if d := r.Map(fromUnix(gettime(unix.CLOCK_REALTIME))).Sub(now); d < 0 || d > 100*time.Millisecond {
		t.Errorf("mapped %v after", d)
	}
}
