package clocktest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// ready is the keeper's first line.
	ready = "ready\n"

	// watchEvery is how often the keeper looks where the clock is.
	watchEvery = 20 * time.Millisecond

	// maxResidue is how far from its place the clock may be left; reading two clocks takes less than 1 µs, an
	// interruption somewhat more.
	maxResidue = 50 * time.Microsecond

	// minRestore is the distance below which the time is left alone.
	minRestore = 5 * time.Microsecond
)

// keep remembers the clock, says ready, waits for the end of in, puts the clock back and reports. It returns
// the exit code of the keeper's process.
func keep(in io.Reader, out io.Writer) int {
	signal.Ignore(os.Interrupt, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE)
	saved, err := save()
	if err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	fmt.Fprint(out, ready)
	done := make(chan struct{})
	go func() {
		io.Copy(io.Discard, in) // until the test's process closes it, or dies
		close(done)
	}()
	code := 0
	for tick := time.NewTicker(watchEvery); ; {
		select {
		case <-tick.C:
			if moved := saved.displacement(); moved.Abs() > MaxMove {
				fmt.Fprintf(out, "clock was moved by %v, more than %v: put back at once (%v); ", moved, MaxMove, saved.restore())
				code = 1
			}
			continue
		case <-done:
		}
		break
	}
	moved := saved.displacement()
	if err := saved.restore(); err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	fmt.Fprintf(out, "clock was %v off at the end, put back to within %v\n", moved, saved.displacement())
	return code
}

// saved is the clock as it was.
type saved struct {
	tx      unix.Timex
	adjtime int64 // µs left of an adjtime(3) request
	real    time.Duration
	raw     time.Duration
	rate    float64 // s/s against CLOCK_MONOTONIC_RAW
}

func save() (*saved, error) {
	var s saved
	single := unix.Timex{Modes: unix.ADJ_OFFSET_SS_READ}
	if _, err := unix.Adjtimex(&s.tx); err != nil {
		return nil, fmt.Errorf("read clock: %w", err)
	}
	if _, err := unix.Adjtimex(&single); err != nil {
		return nil, fmt.Errorf("read adjtime: %w", err)
	}
	s.adjtime = int64(single.Offset)
	s.rate = float64(s.tx.Freq)/65536e6 + float64(s.tx.Tick-10000)/10000
	s.real, s.raw = pair()
	return &s, nil
}

// displacement is how far the clock is from where it would be without the test; positive = ahead.
func (s *saved) displacement() time.Duration {
	real, raw := pair()
	elapsed := raw - s.raw
	return real - s.real - elapsed - time.Duration(float64(elapsed)*s.rate)
}

// restore puts everything back: first what acts on the clock, then the time, then what the step wiped out.
func (s *saved) restore() error {
	clear := unix.Timex{Modes: unix.ADJ_OFFSET | unix.ADJ_STATUS, Status: unix.STA_PLL | unix.STA_FREQHOLD}
	run := unix.Timex{Modes: unix.ADJ_STATUS | unix.ADJ_FREQUENCY | unix.ADJ_TICK | unix.ADJ_TIMECONST,
		Status: unix.STA_UNSYNC, Freq: s.tx.Freq, Tick: s.tx.Tick, Constant: s.tx.Constant}
	single := unix.Timex{Modes: unix.ADJ_OFFSET_SINGLESHOT}
	single.Offset += clampLong(s.adjtime)
	_, err1 := unix.Adjtimex(&clear)
	_, err2 := unix.Adjtimex(&run)
	err3 := s.putBackTime()
	_, err4 := unix.Adjtimex(&single)
	err5 := s.putBackStatus()
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return fmt.Errorf("put the clock back: %w", err)
	}
	if d := s.displacement(); d.Abs() > maxResidue {
		return fmt.Errorf("clock is left %v from its place", d)
	}
	return nil
}

// putBackTime steps the clock to where it belongs, as often as an interruption spoils it.
func (s *saved) putBackTime() error {
	for range 3 {
		d := -s.displacement()
		if d.Abs() < minRestore {
			return nil
		}
		step := unix.Timex{Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO}
		sec := d / time.Second
		if d%time.Second < 0 {
			sec--
		}
		step.Time.Sec += clampLong(int64(sec))
		step.Time.Usec += clampLong(int64(d - sec*time.Second)) // ns
		if _, err := unix.Adjtimex(&step); err != nil {
			return err
		}
	}
	return nil
}

// putBackStatus restores status bits, error bounds, unit and, if it was changed, the TAI offset.
func (s *saved) putBackStatus() error {
	unit := uint32(unix.ADJ_MICRO)
	if s.tx.Status&unix.STA_NANO != 0 {
		unit = unix.ADJ_NANO
	}
	st := unix.Timex{Modes: unit | unix.ADJ_STATUS | unix.ADJ_MAXERROR | unix.ADJ_ESTERROR,
		Status: s.tx.Status, Maxerror: s.tx.Maxerror, Esterror: s.tx.Esterror}
	if _, err := unix.Adjtimex(&st); err != nil {
		return err
	}
	if st.Tai == s.tx.Tai {
		return nil
	}
	tai := unix.Timex{Modes: unix.ADJ_TAI}
	tai.Constant += clampLong(int64(s.tx.Tai))
	_, err := unix.Adjtimex(&tai)
	return err
}
