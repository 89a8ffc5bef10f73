package assoc

import (
	"errors"
	"slices"
	"time"

	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
)

// failedMemory is how long a name that failed is denied to the pool, so that it does not come straight back
// (nts-pool.md E8: 30 to 60 minutes).
const failedMemory = 45 * time.Minute

// maxFailed bounds the memory of failed names; the oldest is forgotten first.
const maxFailed = 32

// errNameHeld says that what a pool returned adds nothing to what is held (nts-pool.md A8, D3-32).
var errNameHeld = errors.New("pool returned a name that is already held")

// roster is the memory of one nts-pool source: which names of the pool it holds, and which failed of late. From both
// it makes the Deny records of the next key exchange. Names are kept as the very text that the pool sent, because Deny
// records must repeat it exactly (draft-venhoek-nts-pool), and compared in their canonical form. That two names stand
// for one address is found by Claims.
type roster struct {
	held   []string
	failed []failure // oldest first
}

// failure is a name that stopped working, denied until the given time.
type failure struct {
	name  string
	until time.Time
}

// check says before any further work whether a name is already held.
func (r *roster) check(name string) error {
	if slices.ContainsFunc(r.held, sameName(name)) {
		return errNameHeld
	}
	return nil
}

// add takes a time source into use under the name that the pool gave (or, without Server record, the pool's own).
// It refuses one that is held already.
func (r *roster) add(name string) error {
	if err := r.check(name); err != nil {
		return err
	}
	r.forget(name)
	r.held = append(r.held, name)
	return nil
}

// remove drops a time source that is given up for no fault of its own.
func (r *roster) remove(name string) { r.held = slices.DeleteFunc(r.held, sameName(name)) }

// fail drops a name, held or just offered, and denies it to the pool for a while.
func (r *roster) fail(now time.Time, name string) {
	r.remove(name)
	r.forget(name)
	r.failed = append(r.failed, failure{name: name, until: now.Add(failedMemory)})
	if len(r.failed) > maxFailed {
		r.failed = r.failed[len(r.failed)-maxFailed:]
	}
}

// deny lists the names for the Deny records of the next exchange, exactly as the pool wrote them: those held first,
// then those that failed, latest first; at most 64, as many as a pool reads.
func (r *roster) deny(now time.Time) []string {
	names := slices.Clone(r.held)
	r.failed = slices.DeleteFunc(r.failed, func(f failure) bool { return !now.Before(f.until) })
	for _, f := range slices.Backward(r.failed) {
		names = append(names, f.name)
	}
	return names[:min(len(names), record.MaxDeny)]
}

// forget takes a name off the list of failures.
func (r *roster) forget(name string) {
	is := sameName(name)
	r.failed = slices.DeleteFunc(r.failed, func(f failure) bool { return is(f.name) })
}

// sameName is the test whether a name stands for the same host as this one.
func sameName(name string) func(string) bool {
	canonical := pool.CanonicalName(name)
	return func(other string) bool { return pool.CanonicalName(other) == canonical }
}
