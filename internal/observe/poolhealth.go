package observe

// Usable reports whether users are handed out to the time source, at least those of one address family: its weight is not 0, some
// family is wanted, its breaker is not open, and the monitor, where there is one, has not taken it out everywhere.
func (s *PoolServer) Usable() bool {
	if s.Breaker == BreakerOpen || s.Weight == 0 || len(s.Families) == 0 {
		return false
	}
	if s.Monitored == nil || len(s.Monitored.Views) == 0 {
		return true
	}
	for i := range s.Monitored.Views {
		if s.Monitored.Views[i].Usable {
			return true
		}
	}
	return false
}
