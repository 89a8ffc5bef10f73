package daemon

import (
	"testing"
	"time"

	"ntp-daemon/internal/clock"
)

// hastyClock is stepped right before it says which epoch it is in.
type hastyClock struct{ *clock.Virtual }

func (c hastyClock) Epoch() uint64 {
	if _, err := c.Step(time.Hour); err != nil {
		panic(err)
	}
	return c.Virtual.Epoch()
}

// TestEpoch_NumberFirst: with the number of an epoch comes its limit or that of a later one, never that of one before.
func TestEpoch_NumberFirst(t *testing.T) {
	c := hastyClock{clock.NewVirtual(0, 0)}
	start := c.Now()
	d := &Daemon{tk: &keeper{clock: c}}
	for range 3 {
		if e := d.epoch(); e.Number == 0 || e.Since.Sub(start) < time.Duration(e.Number)*time.Hour {
			t.Errorf("epoch %d with a limit of %v", e.Number, e.Since.Sub(start))
		}
	}
}
