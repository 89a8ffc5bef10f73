package daemon

import (
	"crypto/rand"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/nts"
)

// A clock that was years ahead when the keys were made, and is right since, must not keep them for years.
func TestKeyring_ClockWentBack(t *testing.T) {
	k := &keyring{
		stale: 7, interval: 24 * time.Hour, rand: rand.Reader, log: zerolog.Nop(),
		set: &atomic.Pointer[nts.KeySet]{}, rotated: &atomic.Int64{},
	}
	now := time.Now()
	if err := k.load(now); err != nil {
		t.Fatal(err)
	}
	first := k.set.Load()
	k.rotated.Store(now.Add(10 * 365 * 24 * time.Hour).Unix()) // as that clock said
	if left := k.left(now); left > k.interval {
		t.Errorf("next rotation in %v", left)
	}
	if err := k.turn(now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if k.set.Load() != first {
		t.Error("rotated at once")
	}
	if err := k.turn(now.Add(k.interval)); err != nil {
		t.Fatal(err)
	}
	if k.set.Load() == first {
		t.Error("not rotated after a whole interval")
	}
	if left := k.left(now.Add(k.interval)); left < k.interval-time.Second || left > k.interval {
		t.Errorf("then in %v", left)
	}
}
