package config

// Upstream is how nts-pool-ke connects to its time sources.
type Upstream struct {
	// ConnectAtStart opens connections to time sources before the first user comes. Without it they are opened when the
	// first user has come, as the first program opened them, whose log tells so.
	ConnectAtStart bool
}

// upstream reads it.
func (t *table) upstream(u *Upstream) {
	t.boolean("connect-at-start", &u.ConnectAtStart)
}
