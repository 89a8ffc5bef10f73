package assoc

import (
	"crypto/x509"
	"errors"
	"sync"
	"time"
)

// Bootstrap is what a machine without a clock knows of the time before it has asked anybody (row KC19):
// that it cannot be before the floor. Where the operator allows it, certificates are judged as of the floor while the
// clock shows less, and the key exchanges are repeated, judged by the clock, when that has been set. It is shared by
// all supervisors and safe for concurrent use; nil is a clock that is always believed.
type Bootstrap struct {
	built   time.Time
	floor   time.Time
	allowed bool
	settle  sync.Once
	settled chan struct{}
}

// NewBootstrap makes one whose floor is the later one of when the program was built and when the clock was last known
// to be right; saved is zero if that is not known. If it is not allowed, key exchanges are judged by the clock,
// whatever it shows, and a failure says what would help.
func NewBootstrap(built, saved time.Time, allowed bool) *Bootstrap {
	b := &Bootstrap{built: built, floor: built, allowed: allowed, settled: make(chan struct{})}
	if saved.After(built) {
		b.floor = saved
	}
	return b
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

// contradicted reports whether err, from a key exchange that was judged by the floor, says that the floor and the clock,
// which shows now, contradict each other: a certificate has expired by the floor and is valid by the clock, which is
// possible for all that the program knows. One of them is wrong. Sources may have lied when the time was saved, and a
// clock that was set by hand must not be of no use for it. The clock then judges, as it does where this is not
// allowed, and what comes of it is provisional, too.
func (b *Bootstrap) contradicted(now time.Time, err error) bool {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok && invalid.Reason == x509.Expired && invalid.Cert != nil && b.floor.After(invalid.Cert.NotAfter) &&
		!now.Before(b.built) && !now.Before(invalid.Cert.NotBefore) && !now.After(invalid.Cert.NotAfter)
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
