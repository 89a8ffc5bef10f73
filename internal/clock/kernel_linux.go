package clock

import (
	"sync/atomic"
	"time"

	"ntp-daemon/internal/ntp"
)

// Kernel steers CLOCK_REALTIME.
type Kernel struct {
	adjtime func(*timex) (int, error)
	read    func() sample
	epoch   atomic.Uint64

	// The timekeeper's.
	written State           // what is in force by our last word
	base    float64         // left behind by Rest
	last    ntp.LedgerEntry // newest ledger entry
	seen    sample          // at the last look
	entered time.Duration   // CLOCK_MONOTONIC_RAW at the newest ledger entry
}

// OpenKernel takes the system clock over.
func OpenKernel() (*Kernel, Leftovers, error) { return openKernel(clockAdjtime, readSample) }

func openKernel(adjtime func(*timex) (int, error), read func() sample) (*Kernel, Leftovers, error) {
	return &Kernel{adjtime: adjtime, read: read}, Leftovers{}, ErrUnsupported
}

// Now implements Clock.
func (k *Kernel) Now() ntp.Timestamp { return realtime() }

// Epoch implements Clock.
func (k *Kernel) Epoch() uint64 { return k.epoch.Load() }

// Map implements Clock: the kernel's stamps are this clock's readings.
func (k *Kernel) Map(kernel ntp.Timestamp) ntp.Timestamp { return kernel }

// Frequency implements Clock.
func (k *Kernel) Frequency() float64 { return k.last.Frequency }

func (k *Kernel) SetFrequency(f float64) (ntp.LedgerEntry, error) {
	return ntp.LedgerEntry{}, ErrUnsupported
}
func (k *Kernel) SetBase(f float64) error { return ErrUnsupported }
func (k *Kernel) Step(d time.Duration) (ntp.LedgerEntry, error) {
	return ntp.LedgerEntry{}, ErrUnsupported
}
func (k *Kernel) SetStatus(s Status) error           { return ErrUnsupported }
func (k *Kernel) CheckForeign() (f Foreign, ok bool) { return Foreign{}, false }
func (k *Kernel) Rest() error                        { return ErrUnsupported }
