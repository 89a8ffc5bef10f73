package pool

// Candidates are the backends to try for one user, by index in the Directory, best first.
type Candidates struct {
	Order       []int
	DenyIgnored bool // the user denied every backend, so nobody's wish could be honoured
}

// Pick orders the backends for one user. turn rotates the list by one per user, as the seed does:
// the first user starts at the first entry. Denied backends are left out; if that leaves none, all
// come back in plain rotation, which the draft allows and which keeps a small pool useful
// (docs/rules/pool.md#deny, row P10).
func (d *Directory) Pick(turn uint64, denied Denied, aliases *Aliases) Candidates {
	n := len(d.backends)
	if n == 0 {
		return Candidates{}
	}
	start := int(turn % uint64(n))
	all := make([]int, 0, n)
	for i := range n {
		all = append(all, (start+i)%n)
	}
	if denied.Len() == 0 {
		return Candidates{Order: all}
	}
	wanted := make([]int, 0, n)
	for _, i := range all {
		if !denied.denies(&d.backends[i], aliases) {
			wanted = append(wanted, i)
		}
	}
	if len(wanted) == 0 {
		return Candidates{Order: all, DenyIgnored: true}
	}
	return Candidates{Order: wanted}
}
