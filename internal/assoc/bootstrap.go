package assoc

import (
	"crypto/x509"
	"errors"
	"sync"
	"time"
)

// Bootstrap is what a machine without a clock knows of the time before it has asked anybody (reliability row KC19):
// that it cannot be before the floor. Where the operator allows it, certificates are judged as of the floor while the
// clock shows less, and the key exchanges are repeated, judged by the clock, when that has been set. It is shared by
// all supervisors and safe for concurrent use; nil is a clock that is always believed.
type Bootstrap struct {
	floor   time.Time
	allowed bool
	settle  sync.Once
	settled chan struct{}
}

// NewBootstrap makes one for a floor. If it is not allowed, key exchanges are judged by the clock, whatever it shows,
// and a failure says what would help.
func NewBootstrap(floor time.Time, allowed bool) *Bootstrap {
	return &Bootstrap{floor: floor, allowed: allowed, settled: make(chan struct{})}
}

// Settle says that the clock was set by an accepted update. From now on it is believed.
func (b *Bootstrap) Settle() {
	if b != nil {
		b.settle.Do(func() { close(b.settled) })
	}
}

// done is closed by Settle; nil if there is nothing to wait for.
func (b *Bootstrap) done() <-chan struct{} {
	if b == nil {
		return nil
	}
	return b.settled
}

// Settled reports whether the clock has been set.
func (b *Bootstrap) Settled() bool {
	select {
	case <-b.done():
		return true
	default:
		return false
	}
}

// Judge returns the time by which certificates are judged when the clock shows now. If that is the floor, what
// comes of it is provisional.
func (b *Bootstrap) Judge(now time.Time) (at time.Time, provisional bool) {
	if b == nil || !b.allowed || b.Settled() || !now.Before(b.floor) {
		return now, false
	}
	return b.floor, true
}

// remedy returns what an operator can do about err, which a search met when the clock showed now; empty if the clock
// is not to blame.
func (b *Bootstrap) remedy(now time.Time, err error) string {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if b == nil || b.allowed || !ok || invalid.Reason != x509.Expired || !now.Before(b.floor) {
		return ""
	}
	return "the clock is before " + b.floor.UTC().Format(time.DateOnly) + ", when it must be later: set it, add a source without NTS, " +
		"or write nts-bootstrap = true in [synchronization]"
}
