package clock

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

const (
	// maxKernelError is where the kernel's error bounds end (NTP_PHASE_LIMIT: 16 s).
	maxKernelError = 16 * time.Second

	// maxEntryLag is how long after a change the clocks may be read and still be traced back to it.
	maxEntryLag = time.Second
)

// Kernel steers CLOCK_REALTIME. Its frequency is the kernel's; a clock that runs at the nominal tick with
// frequency zero is the bare oscillator, which CLOCK_MONOTONIC_RAW shows to within 0.1 ppm.
type Kernel struct {
	adjtime func(*timex) (int, error)
	read    func() sample
	epochs

	// The timekeeper's.
	known   State           // what acts on the clock, as last written by us or adopted
	leap    int             // leap bits that we armed
	base    float64         // the frequency that Rest leaves behind, s/s
	last    ntp.LedgerEntry // the newest change
	entered time.Duration   // CLOCK_MONOTONIC_RAW at the newest change
	origin  sample          // steps and suspends are measured against it; our own steps are added to it
}

// OpenKernel takes the system clock over: what other programs left behind is put right, the frequency found is
// kept as the base, and the kernel reports an unsynchronised clock until the first SetStatus. It needs
// CAP_SYS_TIME (ntp.ErrClockPermission); ErrUnsupported on Linux before 5.1 on 32-bit machines.
func OpenKernel() (*Kernel, Leftovers, error) { return openKernel(clockAdjtime, sampler()) }

func openKernel(adjtime func(*timex) (int, error), read func() sample) (*Kernel, Leftovers, error) {
	before, tx, err := readState(adjtime)
	if err != nil {
		return nil, Leftovers{}, err
	}
	left := Leftovers{Fixed: before.leftovers()}
	if err := normalise(adjtime, before, 0); err != nil {
		return nil, left, err
	}
	after, tx, err := readState(adjtime)
	if err != nil {
		return nil, left, err
	}
	if !after.clean(0) {
		return nil, left, fmt.Errorf("normalise clock: kernel keeps %v: %w", after.leftovers(), ntp.ErrForeignChange)
	}
	k := &Kernel{adjtime: adjtime, read: read, base: after.Frequency}
	k.origin = narrowest(read)
	k.enter(ntp.LedgerEntry{Time: tx.reading(), Frequency: after.rate()}, after)
	return k, left, nil
}

// Now implements Clock.
func (k *Kernel) Now() ntp.Timestamp { return realtime() }

// Map implements Clock: the kernel's stamps are this clock's readings.
func (k *Kernel) Map(kernel ntp.Timestamp) ntp.Timestamp { return kernel }

// Frequency implements Clock.
func (k *Kernel) Frequency() float64 { return k.last.Frequency }

// SetBase implements Clock.
func (k *Kernel) SetBase(f float64) error {
	if err := checkFrequency(f); err != nil {
		return err
	}
	k.base = clampFrequency(f)
	return nil
}

// SetFrequency implements Clock. When another program has changed the frequency, the tick or a slew since our
// last word, it is overruled, and the entry's Step is what the clock gained by it (row K06).
func (k *Kernel) SetFrequency(f float64) (ntp.LedgerEntry, error) {
	if err := checkFrequency(f); err != nil {
		return ntp.LedgerEntry{}, err
	}
	return k.change("set clock frequency", timex{modes: unix.ADJ_FREQUENCY, freq: toKernel(f)}, 0)
}

// Step implements Clock. The kernel forgets its error bounds and says "not synchronised" until the next
// SetStatus. A result before 1970 or beyond the kernel's range is ErrBadValue.
func (k *Kernel) Step(d time.Duration) (ntp.LedgerEntry, error) {
	sec, nsec := int64(d/time.Second), int64(d%time.Second)
	if nsec < 0 { // the kernel wants the fraction positive
		sec, nsec = sec-1, nsec+int64(time.Second)
	}
	tx := timex{
		modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO | unix.ADJ_FREQUENCY,
		freq:  toKernel(k.known.Frequency), // as we know it, whoever wrote since
		sec:   sec, subsec: nsec,
	}
	return k.change("step clock", tx, d)
}

// change writes one correction, after making sure that the clock is still as we know it, and enters what the
// kernel confirms: reading and frequency are those that the kernel returned from the same call.
func (k *Kernel) change(what string, tx timex, step time.Duration) (ntp.LedgerEntry, error) {
	is, s, err := k.look()
	if err != nil {
		return ntp.LedgerEntry{}, fmt.Errorf("%s: %w", what, err)
	}
	if jumped(k.origin, s) {
		return ntp.LedgerEntry{}, fmt.Errorf("%s: %w", what, ntp.ErrForeignChange)
	}
	tampered := is != k.known
	if !is.clean(k.leap) {
		if err := normalise(k.adjtime, is, k.leap); err != nil {
			return ntp.LedgerEntry{}, fmt.Errorf("%s: %w", what, err)
		}
	}
	if _, err := k.adjtime(&tx); err != nil {
		if errors.Is(err, unix.EINVAL) {
			err = ErrBadValue
		}
		return ntp.LedgerEntry{}, kernelError(what, err)
	}
	if step != 0 {
		k.advance(k.read().real, step)
		k.origin.real = k.origin.real.Add(step)
	}
	e := ntp.LedgerEntry{Time: tx.reading(), Step: step, Frequency: fromKernel(tx.freq)}
	if tampered {
		e.Step += k.excess(e.Time.Sub(k.last.Time)-step, k.rawAt(e.Time)-k.entered)
	}
	k.enter(e, State{Frequency: e.Frequency, Tick: nominalTick, Status: k.leap})
	return e, nil
}

// look reads what acts on the clock, and the clocks.
func (k *Kernel) look() (State, sample, error) {
	is, _, err := readState(k.adjtime)
	return is, narrowest(k.read), err
}

// enter remembers a change that the kernel confirmed, and the state of the clock after it.
func (k *Kernel) enter(e ntp.LedgerEntry, is State) {
	k.entered = k.rawAt(e.Time)
	k.last, k.known = e, is
}

// rawAt is CLOCK_MONOTONIC_RAW at the reading t of the clock, which must be very recent.
func (k *Kernel) rawAt(t ntp.Timestamp) time.Duration {
	s := narrowest(k.read)
	lag := s.real.Sub(t)
	if lag.Abs() > maxEntryLag { // stepped again, by somebody else
		return s.raw
	}
	return s.raw - lag
}

// excess is how much the clock gained, beyond what the known frequency makes of the elapsed oscillator time.
func (k *Kernel) excess(clock, elapsed time.Duration) time.Duration {
	return clock - elapsed - gain(elapsed, k.last.Frequency)
}

// SetStatus implements Clock. It refuses with ntp.ErrForeignChange when anything about the clock was changed by others.
func (k *Kernel) SetStatus(s ntp.ClockStatus) error {
	is, now, err := k.look()
	if err != nil {
		return fmt.Errorf("set clock status: %w", err)
	}
	if is != k.known || jumped(k.origin, now) {
		return fmt.Errorf("set clock status: %w", ntp.ErrForeignChange)
	}
	tx := timex{
		modes:    unix.ADJ_STATUS | unix.ADJ_MAXERROR | unix.ADJ_ESTERROR,
		maxerror: kernelMicros(s.MaxError),
		esterror: kernelMicros(s.EstError),
	}
	leap := 0
	switch {
	case !s.Synchronized:
		tx.status = unix.STA_UNSYNC
	case s.Leap == ntp.LeapInsert:
		leap = unix.STA_INS
	case s.Leap == ntp.LeapDelete:
		leap = unix.STA_DEL
	}
	tx.status |= int32(leap)
	if _, err := k.adjtime(&tx); err != nil {
		return kernelError("set clock status", err)
	}
	k.leap, k.known.Status = leap, leap
	if !s.Synchronized || s.TAI == 0 || s.TAI == int(tx.tai) {
		return nil
	}
	tai := timex{modes: unix.ADJ_TAI, constant: int64(s.TAI)}
	if _, err := k.adjtime(&tai); err != nil {
		return kernelError("set TAI offset", err)
	}
	return nil
}

// kernelMicros rounds an error bound up to the kernel's microseconds, inside the kernel's limits.
func kernelMicros(d time.Duration) int64 {
	d = min(max(d, 0), maxKernelError)
	return int64((d + time.Microsecond - 1) / time.Microsecond)
}

// Rest implements Clock. Whether the clock counts as synchronised stays as it is: the kernel lets its error
// bound grow and withdraws the claim by itself (row K15).
func (k *Kernel) Rest() error {
	_, err := k.SetFrequency(k.base)
	if errors.Is(err, ntp.ErrForeignChange) {
		k.CheckForeign()
		_, err = k.SetFrequency(k.base)
	}
	if err != nil || k.leap == 0 {
		return err
	}
	var tx timex
	if _, err := k.adjtime(&tx); err != nil {
		return kernelError("disarm leap second", err)
	}
	off := timex{modes: unix.ADJ_STATUS, status: tx.status & unix.STA_UNSYNC}
	if _, err := k.adjtime(&off); err != nil {
		return kernelError("disarm leap second", err)
	}
	k.leap, k.known.Status = 0, 0
	return nil
}
