package pool

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// failedMemory is how long a name that failed is denied to the pool, so that it does not come
// straight back (nts-pool.md E8: 30 to 60 minutes).
const failedMemory = 45 * time.Minute

// maxFailed bounds the memory of failed names; the oldest is forgotten first.
const maxFailed = 32

// Reasons why what a pool returned adds nothing to what is held (nts-pool.md A8, D3-32, D3-50).
var (
	ErrNameHeld    = errors.New("pool returned a name that is already held")
	ErrAddressHeld = errors.New("pool returned a name whose address is already held")
)

// Roster is the memory of one nts-pool source: which names of the pool it holds, and which failed
// of late. It is owned by the supervisor of that source.
type Roster struct {
	held   []holding
	failed []failure // oldest first
}

// holding is one time source in use. name is the very text the pool sent, because deny records
// must repeat it exactly (draft-venhoek-nts-pool).
type holding struct {
	name    string
	address netip.Addr
}

// failure is a name that stopped working, denied until the given time.
type failure struct {
	name  string
	until time.Time
}

// Held is how many time sources are in use.
func (r *Roster) Held() int { return len(r.held) }

// Missing is how many exchanges it takes to reach count, never negative.
func (r *Roster) Missing(count int) int { return max(count-len(r.held), 0) }

// Check says before any further work whether a name is already held.
func (r *Roster) Check(name string) error {
	canonical := CanonicalName(name)
	if slices.ContainsFunc(r.held, func(h holding) bool { return CanonicalName(h.name) == canonical }) {
		return ErrNameHeld
	}
	return nil
}

// Add takes a time source into use under the name the pool gave (or, without Server record, the
// pool's own) and the address it resolved to. It refuses one that is held already by either.
func (r *Roster) Add(name string, address netip.Addr) error {
	if err := r.Check(name); err != nil {
		return err
	}
	address = address.Unmap()
	if address.IsValid() && slices.ContainsFunc(r.held, func(h holding) bool { return h.address == address }) {
		return ErrAddressHeld
	}
	r.forget(name)
	r.held = append(r.held, holding{name: name, address: address})
	return nil
}

// Remove drops a time source that is given up for no fault of its own.
func (r *Roster) Remove(name string) {
	canonical := CanonicalName(name)
	r.held = slices.DeleteFunc(r.held, func(h holding) bool { return CanonicalName(h.name) == canonical })
}

// Fail drops a name, held or just offered, and denies it to the pool for a while.
func (r *Roster) Fail(now time.Time, name string) {
	r.Remove(name)
	r.forget(name)
	r.failed = append(r.failed, failure{name: name, until: now.Add(failedMemory)})
	if len(r.failed) > maxFailed {
		r.failed = r.failed[len(r.failed)-maxFailed:]
	}
}

// Deny lists the names for the Deny records of the next exchange, exactly as the pool wrote them:
// those held first, then those that failed, latest first; at most 64, as many as a pool reads.
func (r *Roster) Deny(now time.Time) []string {
	names := make([]string, 0, len(r.held)+len(r.failed))
	for _, h := range r.held {
		names = append(names, h.name)
	}
	r.failed = slices.DeleteFunc(r.failed, func(f failure) bool { return !now.Before(f.until) })
	for i := len(r.failed) - 1; i >= 0; i-- {
		names = append(names, r.failed[i].name)
	}
	return names[:min(len(names), maxDenied)]
}

// forget takes a name off the list of failures.
func (r *Roster) forget(name string) {
	canonical := CanonicalName(name)
	r.failed = slices.DeleteFunc(r.failed, func(f failure) bool { return CanonicalName(f.name) == canonical })
}
