// Package clock is the one place that reads and steers a clock.
//
// Three implementations of Clock exist. Kernel steers CLOCK_REALTIME through clock_adjtime; Virtual steers a
// clock of its own that runs over the kernel's, and never touches the kernel; ReadOnly measures and refuses
// every correction. A change returns the ntp.LedgerEntry that it made true, with the reading of the clock at
// which it began, so that the estimator can work on the bare oscillator's time and never on the steered clock.
//
// A Clock belongs to one goroutine, the timekeeper. Only Now, Epoch, EpochSince and Map may be called from others. The
// package decides nothing: limits on steps, slews and leap seconds belong to the system process; refused here are only
// values beyond what the kernel accepts (ErrBadValue) and changes of a clock that is not as we left it (ErrForeign).
//
// Signs: a positive step moves the clock forward, a positive frequency makes it run faster; frequencies are
// s/s relative to the bare oscillator. The TAI offset of the kernel is never written.
package clock
