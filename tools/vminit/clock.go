//go:build linux && amd64

package main

import (
	"fmt"
	"time"

	"github.com/beevik/ntp"
	"golang.org/x/sys/unix"
)

// tolerance is the bound of the acceptance rows.
const tolerance = time.Millisecond

// kernel reads the kernel's clock state.
func kernel() (tx unix.Timex, state int, err error) {
	state, err = unix.Adjtimex(&tx)
	return tx, state, err
}

// kernelPPM is the frequency that the kernel applies.
func kernelPPM() float64 {
	tx, _, err := kernel()
	if err != nil {
		return -1e9
	}
	return float64(tx.Freq) / 65536
}

// setKernelPPM sets the frequency as another program would.
func setKernelPPM(ppm float64) error {
	tx := unix.Timex{Modes: unix.ADJ_FREQUENCY, Freq: int64(ppm * 65536)}
	_, err := unix.Adjtimex(&tx)
	return err
}

// stepBy sets the clock as another program would: reads it, adds d, writes it.
func stepBy(d time.Duration) error {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return err
	}
	tv := unix.NsecToTimeval(ts.Nano() + int64(d))
	return unix.Settimeofday(&tv)
}

// measure asks the server several times with a client that is not ours and takes the answer with the shortest way.
// Positive: our clock is slow. The error of the result is at most half of delay.
func measure() (offset, delay time.Duration, err error) {
	const tries = 8
	for range tries {
		r, qerr := ntp.QueryWithOptions(serverAddress, ntp.QueryOptions{Timeout: time.Second})
		if qerr != nil {
			err = qerr
			continue
		}
		if delay == 0 || r.RTT < delay {
			offset, delay = r.ClockOffset, r.RTT
		}
	}
	if delay == 0 {
		return 0, 0, fmt.Errorf("measure: %w", err)
	}
	return offset, delay, nil
}

// askOnce asks the server once.
func askOnce() (offset, delay time.Duration, err error) {
	r, err := ntp.QueryWithOptions(serverAddress, ntp.QueryOptions{Timeout: 200 * time.Millisecond})
	if err != nil {
		return 0, 0, err
	}
	return r.ClockOffset, r.RTT, nil
}

// settled waits until the clock is within the tolerance of the server's at three measurements in a row, and returns
// how long that took from begin on, and the last offset.
func settled(begin, limit time.Duration) (took, offset time.Duration, ok bool) {
	good := 0
	until(limit, func() bool {
		o, _, err := measure()
		if err != nil || o.Abs() > tolerance {
			good = 0
			if err == nil {
				offset = o
			}
			return false
		}
		if good++; good == 1 {
			took = monotonic() - begin
		}
		offset = o
		return good == 3
	})
	return took, offset, good == 3
}

// correct puts the clock right by hand, after a scenario that leaves it wrong.
func correct() error {
	offset, _, err := measure()
	if err != nil {
		return err
	}
	return stepBy(offset)
}
