package clock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// batteryPath is the battery clock, whole seconds since 1970; everybody may read it.
	batteryPath = "/sys/class/rtc/rtc0/since_epoch"
	// batteryEvery is how often it is read: a standstill is noticed within a second.
	batteryEvery = 900 * time.Millisecond
	// minStandstill is what whole seconds and a busy machine cannot feign. A shorter one shows at the next measurement.
	minStandstill = 2500 * time.Millisecond
	// maxReading is how long the readings of one moment may take: two that take longer, and whole seconds, come near minStandstill.
	maxReading = 500 * time.Millisecond
	// maxStandstill is longer than any that would not rather be a battery clock that was set.
	maxStandstill = 10 * 365 * 24 * time.Hour
)

// CanStandStill reports whether this machine says of itself that it is a virtual one. Only such a machine can be stopped without
// its clocks knowing.
func CanStandStill() bool {
	b, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && hypervisor(b)
}

// hypervisor finds the flag by which a processor of the x86 family says that it is shared.
func hypervisor(cpuinfo []byte) bool {
	for line := range bytes.Lines(cpuinfo) {
		if bytes.HasPrefix(line, []byte("flags")) {
			return bytes.Contains(line, []byte(" hypervisor"))
		}
	}
	return false
}

// HasBattery reports whether the machine has a clock that runs while it is switched off.
func HasBattery() bool {
	_, err := os.Stat(batteryPath)
	return err == nil
}

// WatchStandstills calls stood when a virtual machine was stopped and went on, or was restored from a saved state: its
// clocks, the monotonic ones included, do not know, but the battery clock is the host's and went on. look asks for a look at
// once, beside the one every second. It returns when ctx ends, with its error, or when there is no battery clock that can be
// read. stood must be quick; it runs on the caller's goroutine.
func WatchStandstills(ctx context.Context, look <-chan struct{}, stood func(time.Duration)) error {
	f, err := os.Open(batteryPath)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("watch battery clock: %w", ErrUnsupported)
	}
	if err != nil {
		return fmt.Errorf("watch battery clock: %w", err)
	}
	defer f.Close()
	ticker := time.NewTicker(batteryEvery)
	defer ticker.Stop()
	var s standstill
	for {
		now, err := readClocks(f)
		if err != nil {
			return fmt.Errorf("watch battery clock: %w", err)
		}
		if d := s.look(now); d > 0 {
			stood(d)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look:
		case <-ticker.C:
		}
	}
}

// clocks are readings of one moment.
type clocks struct {
	battery time.Duration // whole seconds since 1970
	running time.Duration // CLOCK_BOOTTIME, which counts suspends but knows of no standstill
	steered time.Duration // CLOCK_REALTIME
	took    time.Duration // how much the running clock went on meanwhile
}

// readClocks reads the battery clock between two readings of the running one, and then the others.
func readClocks(battery *os.File) (c clocks, err error) {
	var buf [32]byte
	before := clockGettime(unix.CLOCK_BOOTTIME).duration()
	n, err := battery.ReadAt(buf[:], 0)
	if n == 0 && err != nil {
		return c, err
	}
	sec, err := strconv.ParseInt(string(bytes.TrimSpace(buf[:n])), 10, 64)
	if err != nil || sec < 0 || sec > int64(1<<33) {
		return c, fmt.Errorf("%q is no time", buf[:n])
	}
	c.battery = time.Duration(sec) * time.Second
	c.running, c.steered = clockGettime(unix.CLOCK_BOOTTIME).duration(), clockGettime(unix.CLOCK_REALTIME).duration()
	c.took = c.running - before
	return c, nil
}

// standstill compares two clocks from look to look.
type standstill struct {
	last  clocks
	known bool
}

// look returns how much more the battery clock has gone on since the last look, 0 unless that is a standstill. A battery
// clock that was set back, or years ahead, says nothing; nor do readings between which the machine was busy with something else; nor does one that shows what the steered clock shows: the kernel
// sets it from there every eleven minutes.
func (s *standstill) look(now clocks) time.Duration {
	if now.took > maxReading {
		return 0 // the next look tells
	}
	d := (now.battery - s.last.battery) - (now.running - s.last.running)
	known := s.known
	s.known, s.last = true, now
	if !known || d < minStandstill || d > maxStandstill || (now.battery-now.steered).Abs() < minStandstill {
		return 0
	}
	return d
}
