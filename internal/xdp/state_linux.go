package xdp

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"ntp-daemon/internal/fastpath"
	"ntp-daemon/internal/ntp"
)

// kernelState is what a reply is made of: struct state of ntp.c.
type kernelState struct {
	Serial      uint64
	Header      [ntp.HeaderLen]byte
	Until       uint64 // on the monotonic clock, ns
	TAIOffset   uint64 // s
	TAIBase     uint64 // TAI minus monotonic clock, ns
	Reference   uint64
	Dispersion  uint64
	Rate        uint64
	SerialAgain uint64
}

// publisher writes states into the maps of one program. The program reads the slot that the current serial names; the next
// state goes into the other one and only then becomes current. A program that has begun with a slot is done with it long
// before its turn comes again, which is at the next state but one.
type publisher struct {
	current, states *ebpf.Map
	serial          uint64
	last            time.Time // of the last publish
}

// publishGap is the least time between two states. A packet is done with a slot in microseconds; ten milliseconds also bear a
// kernel that lets its network code be interrupted.
const publishGap = 10 * time.Millisecond

// publish puts a state in force.
func (p *publisher) publish(s *fastpath.State, c *clocks, until time.Duration) error {
	time.Sleep(publishGap - time.Since(p.last))
	p.last = time.Now()
	p.serial++
	k := kernelState{
		Serial: p.serial, SerialAgain: p.serial, Until: uint64(until),
		TAIOffset: uint64(c.offset), TAIBase: uint64(c.base), Reference: s.Reference, Dispersion: s.Dispersion, Rate: s.Rate,
	}
	copy(k.Header[:], s.Header)
	if err := p.states.Put(uint32(p.serial&1), &k); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	return p.makeCurrent(p.serial)
}

// rest ends the answers until the next state.
func (p *publisher) rest() error { return p.makeCurrent(0) }

func (p *publisher) makeCurrent(serial uint64) error {
	if err := p.current.Put(uint32(0), serial); err != nil {
		return fmt.Errorf("put the state in force: %w", err)
	}
	return nil
}

// clocks is how the kernel's clocks stand to each other.
type clocks struct {
	offset    int64         // TAI minus UTC, s
	base      time.Duration // TAI minus monotonic clock
	monotonic time.Duration
}

// errClocks says that the clocks were changed while they were read, or that somebody inserts a leap second.
var errClocks = errors.New("the clock is being changed")

const (
	// readTries and readGap: a reading that was interrupted for so long is tried again.
	readTries = 5
	readGap   = time.Millisecond
)

// readClocks compares the clocks. A kernel that is told to insert or delete a leap second is an error: when it does,
// TAI goes on and its offset changes, and the program, which reads TAI, would be a second wrong until the next comparison.
func readClocks() (*clocks, error) {
	var tx unix.Timex
	state, err := unix.ClockAdjtime(unix.CLOCK_REALTIME, &tx)
	if err != nil {
		return nil, fmt.Errorf("read the state of the clock: %w", err)
	}
	if tx.Status&(unix.STA_INS|unix.STA_DEL) != 0 || state == unix.TIME_INS || state == unix.TIME_DEL || state == unix.TIME_OOP || state == unix.TIME_WAIT {
		return nil, fmt.Errorf("%w: a leap second is set", errClocks)
	}
	for range readTries {
		c, err := compareClocks()
		if err != nil || c != nil {
			return c, err
		}
	}
	return nil, errClocks
}

// monotonic reads the clock that the program's deadline is on.
func monotonic() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, fmt.Errorf("read the monotonic clock: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}

// compareClocks reads TAI between two readings of each of the others; nil when that took too long to be sure.
func compareClocks() (*clocks, error) {
	var t [5]time.Duration
	for i, id := range [...]int32{unix.CLOCK_MONOTONIC, unix.CLOCK_REALTIME, unix.CLOCK_TAI, unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC} {
		var ts unix.Timespec
		if err := unix.ClockGettime(id, &ts); err != nil {
			return nil, fmt.Errorf("read clock %d: %w", id, err)
		}
		t[i] = time.Duration(ts.Nano())
	}
	apart := t[2] - (t[1] + (t[3]-t[1])/2)
	whole := apart.Round(time.Second)
	if t[3] < t[1] || t[4]-t[0] > readGap || (apart-whole).Abs() > readGap || whole < 0 {
		return nil, nil
	}
	return &clocks{int64(whole / time.Second), t[2] - (t[0] + (t[4]-t[0])/2), t[4]}, nil
}
