package assoc

import (
	"slices"
	"time"

	"ntp-daemon/internal/pool"
)

// A name that failed is denied to the pool for 30 to 60 minutes, so that it does not come straight back. How long is drawn
// for each failure, so that the users of a server that failed for all of them do not come back to it in the same minute
// (docs/rules/client.md#failed-names).
const (
	failedLeast = 30 * time.Minute
	failedMost  = time.Hour
)

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

// add denies a name to the pool for a while, or for longer; u, uniform in [0, 1], says for how long.
func (f *failedNames) add(now time.Time, name string, u float64) {
	f.remove(name)
	hold := failedLeast + time.Duration(u*float64(failedMost-failedLeast))
	f.list = append(f.list, failure{name: name, until: now.Add(hold)})
	if len(f.list) > maxFailed {
		f.list = f.list[len(f.list)-maxFailed:]
	}
}

// remove forgets that a name failed: a pool that insists is believed.
func (f *failedNames) remove(name string) {
	is := sameName(name)
	f.list = slices.DeleteFunc(f.list, func(e failure) bool { return is(e.name) })
}

// denied lists the failures that still count, the oldest first.
func (f *failedNames) denied(now time.Time) []failure {
	f.list = slices.DeleteFunc(f.list, func(e failure) bool { return !now.Before(e.until) })
	return f.list
}

// names lists the names that are still denied, the one that failed first comes first.
func (f *failedNames) names(now time.Time) (names []string) {
	for _, e := range f.denied(now) {
		names = append(names, e.name)
	}
	return names
}

// sameName is the test whether a name stands for the same host as this one.
func sameName(name string) func(string) bool {
	canonical := pool.CanonicalName(name)
	return func(other string) bool { return pool.CanonicalName(other) == canonical }
}
