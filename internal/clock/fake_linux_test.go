package clock

import (
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// fakeKernel behaves as the kernel's clock does, on a true time that only advance moves. The oscillator runs
// exactly true.
type fakeKernel struct {
	wall    time.Duration // CLOCK_REALTIME since 1970
	true    time.Duration // CLOCK_MONOTONIC_RAW
	mono    time.Duration
	boot    time.Duration
	freq    int64 // ppm << 16
	tick    int64
	status  int32
	offset  int64 // left to slew by the loop, µs or ns
	adjtime int64 // µs
	maxerr  int64
	esterr  int64
	tai     int32
	refuse  error
	writes  []uint32 // modes of the writing calls
	onWrite func()   // called before each write
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{wall: 1_700_000_000 * time.Second, true: 1000 * time.Second, mono: 1000 * time.Second, boot: 1000 * time.Second, tick: nominalTick, status: unix.STA_UNSYNC, tai: 37}
}

// advance lets true time pass.
func (f *fakeKernel) advance(d time.Duration) {
	f.true += d
	rate := float64(f.tick-nominalTick)/nominalTick + fromKernel(f.freq)
	d += time.Duration(float64(d) * rate)
	f.wall += d
	f.mono += d
	f.boot += d
}

// suspend stops everything but the boot clock and, by the RTC, the wall clock.
func (f *fakeKernel) suspend(d time.Duration) {
	f.boot += d
	f.wall += d
}

func (f *fakeKernel) sample() sample {
	return sample{real: ntp.FromUnix(int64(f.wall/time.Second), int64(f.wall%time.Second)), boot: f.boot, mono: f.mono, raw: f.true, width: time.Microsecond}
}

func (f *fakeKernel) call(t *timex) (int, error) {
	f.advance(200 * time.Nanosecond)
	switch t.modes {
	case 0:
	case unix.ADJ_OFFSET_SS_READ:
		f.fill(t)
		t.offset = f.adjtime
		return 0, nil
	default:
		if err := f.write(t); err != nil {
			return 0, err
		}
		if t.modes == unix.ADJ_OFFSET_SINGLESHOT {
			old := f.adjtime
			f.adjtime = t.offset
			f.fill(t)
			t.offset = old
			return 0, nil
		}
	}
	f.fill(t)
	return 0, nil
}

func (f *fakeKernel) write(t *timex) error {
	if f.onWrite != nil {
		f.onWrite()
	}
	if f.refuse != nil {
		return f.refuse
	}
	f.writes = append(f.writes, t.modes)
	if t.modes == unix.ADJ_OFFSET_SINGLESHOT {
		return nil
	}
	if t.modes&unix.ADJ_SETOFFSET != 0 {
		if t.subsec < 0 || t.subsec >= 1e9 || t.modes&unix.ADJ_NANO == 0 {
			return unix.EINVAL
		}
		to := f.wall + time.Duration(t.sec)*time.Second + time.Duration(t.subsec)
		if to < 0 {
			return unix.EINVAL
		}
		f.wall, f.status, f.maxerr, f.offset, f.adjtime = to, f.status|unix.STA_UNSYNC, 16e6, 0, 0
	}
	const readOnly = unix.STA_NANO
	if t.modes&unix.ADJ_STATUS != 0 {
		f.status = f.status&readOnly | t.status&^readOnly
	}
	if t.modes&unix.ADJ_NANO != 0 {
		f.status |= unix.STA_NANO
	}
	if t.modes&unix.ADJ_FREQUENCY != 0 {
		f.freq = max(-maxKernelUnits, min(maxKernelUnits, t.freq))
	}
	if t.modes&unix.ADJ_MAXERROR != 0 {
		f.maxerr = t.maxerror
	}
	if t.modes&unix.ADJ_ESTERROR != 0 {
		f.esterr = t.esterror
	}
	if t.modes&unix.ADJ_TAI != 0 {
		f.tai = int32(t.constant)
	}
	if t.modes&unix.ADJ_OFFSET != 0 && f.status&unix.STA_PLL != 0 {
		f.offset = t.offset
	}
	if t.modes&unix.ADJ_TICK != 0 {
		if t.tick < 9000 || t.tick > 11000 {
			return unix.EINVAL
		}
		f.tick = t.tick
	}
	return nil
}

func (f *fakeKernel) fill(t *timex) {
	t.offset, t.freq, t.tick, t.status, t.tai = f.offset, f.freq, f.tick, f.status, f.tai
	t.maxerror, t.esterror = f.maxerr, f.esterr
	t.sec, t.subsec = int64(f.wall/time.Second), int64(f.wall%time.Second)
	if f.status&unix.STA_NANO == 0 {
		t.subsec /= 1000
	}
}
