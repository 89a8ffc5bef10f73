package assoc

import (
	"maps"
	"slices"
	"sync"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/source"
)

// Statuses shows the state of every running association, by SourceID, and the sources that are still missing, by their
// [[source]] block, to whoever wants to look. Each task and each supervisor is the sole writer of its entry and removes it
// when it ends; readers get copies. The system process is not
// involved: it hears of an association only what its decisions depend on. Safe for concurrent use.
type Statuses struct {
	mu      sync.Mutex
	of      map[ntp.SourceID]source.Status // guarded by mu
	missing map[int]Missing                // by the number of the block; guarded by mu
	pools   map[int]PoolState              // likewise
}

// Missing is what one [[source]] block wants and has no address for.
type Missing struct {
	Name   string    // host:port as configured
	NTS    bool      // keys are wanted, too
	Count  int       // sources that are missing, at least 1
	Reason string    // why, in words
	Since  time.Time // when the first of them was looked for
}

// NewStatuses returns an empty table.
func NewStatuses() *Statuses {
	return &Statuses{of: make(map[ntp.SourceID]source.Status), missing: make(map[int]Missing), pools: make(map[int]PoolState)}
}

// Get returns the state of an association; false when it does not run.
func (s *Statuses) Get(id ntp.SourceID) (source.Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, running := s.of[id]
	return st, running
}

// Missing lists the sources without an address, in the order of the configuration.
func (s *Statuses) Missing() (list []Missing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, block := range slices.Sorted(maps.Keys(s.missing)) {
		list = append(list, s.missing[block])
	}
	return list
}

// miss enters what a block lacks; a Count of 0 takes the entry out.
func (s *Statuses) miss(block int, m Missing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Count == 0 {
		delete(s.missing, block)
		return
	}
	if old, known := s.missing[block]; known {
		m.Since = old.Since
	}
	s.missing[block] = m
}

// set enters the state of an association.
func (s *Statuses) set(id ntp.SourceID, st source.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[id] = st
}

// remove forgets an association.
func (s *Statuses) remove(id ntp.SourceID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, id)
}

// answering reports whether any association has had a good reply to one of its last eight polls.
func (s *Statuses) answering() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.of {
		if st.Reachable() {
			return true
		}
	}
	return false
}
