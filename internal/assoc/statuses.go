package assoc

import (
	"sync"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/source"
)

// Statuses shows the state of every running association to whoever wants to look, by SourceID. Each task is the
// sole writer of its entry and removes it when it ends; readers get copies. The system process is not
// involved: it hears of an association only what its decisions depend on. Safe for concurrent use.
type Statuses struct {
	mu sync.Mutex
	of map[ntp.SourceID]source.Status // guarded by mu
}

// NewStatuses returns an empty table.
func NewStatuses() *Statuses { return &Statuses{of: make(map[ntp.SourceID]source.Status)} }

// Get returns the state of an association; false when it does not run.
func (s *Statuses) Get(id ntp.SourceID) (source.Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, running := s.of[id]
	return st, running
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
