package assoc

import (
	"slices"
	"time"

	"ntp-daemon/internal/pool"
)

// failedMemory is how long a name that failed is denied to the pool, so that it does not come straight back
// (docs/rules/client.md#failed-names).
const failedMemory = 45 * time.Minute

// maxFailed bounds the memory of failed names; the oldest is forgotten first.
const maxFailed = 32

// failedNames is what one nts-pool source remembers of the names that failed of late. Names are kept as the very text
// that the pool sent, because Deny records must repeat it exactly (draft-venhoek-nts-pool), and compared in their
// canonical form.
type failedNames struct {
	list []failure // oldest first
}

// failure is a name that stopped working, denied until the given time.
type failure struct {
	name  string
	until time.Time
}

// add denies a name to the pool for a while, or for longer.
func (f *failedNames) add(now time.Time, name string) {
	f.remove(name)
	f.list = append(f.list, failure{name: name, until: now.Add(failedMemory)})
	if len(f.list) > maxFailed {
		f.list = f.list[len(f.list)-maxFailed:]
	}
}

// remove forgets that a name failed: a pool that insists is believed.
func (f *failedNames) remove(name string) {
	is := sameName(name)
	f.list = slices.DeleteFunc(f.list, func(e failure) bool { return is(e.name) })
}

// latest lists the names that are still denied, latest first.
func (f *failedNames) latest(now time.Time) (names []string) {
	f.list = slices.DeleteFunc(f.list, func(e failure) bool { return !now.Before(e.until) })
	for _, e := range slices.Backward(f.list) {
		names = append(names, e.name)
	}
	return names
}

// sameName is the test whether a name stands for the same host as this one.
func sameName(name string) func(string) bool {
	canonical := pool.CanonicalName(name)
	return func(other string) bool { return pool.CanonicalName(other) == canonical }
}
