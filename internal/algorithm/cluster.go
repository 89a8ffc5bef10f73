package algorithm

const (
	// conflictSigmas is how far apart two sources may be, in sigmas of what is known of both and of what the asymmetry of
	// their paths may be, before one of them must be wrong; settledSigmas is how near one that was set aside must come back.
	conflictSigmas, settledSigmas = 4, 3
	// minCluster is how many sources stay at least: NMIN of RFC 5905 §11.2.2. Of two nobody can tell which one is wrong.
	minCluster = 3
)

// setAside marks those of the selected whose offsets are in conflict with more than half although their intervals agree:
// servers that are wrong by less than their root distance. It returns how many they are. Like the cluster algorithm of RFC 5905
// §11.2.2 it takes out the worst first and leaves at least enough, but it counts conflicts and not distances, so that a few on short
// paths that are wrong together do not outvote the rest. One that is set aside stays selected: it vouches for the bound that is told
// (docs/rules/clock.md#outliers).
func (d *Discipline) setAside(cs []candidate, enough int) (aside int) {
	left := 0
	for i := range cs {
		if cs[i].verdict == Selected {
			left++
		}
	}
	for enough = max(enough, minCluster); left > enough; left-- {
		worst, most := -1, 0
		for i := range cs {
			n := 2 * conflicts(cs, i)
			if n > left && cs[i].t.aside {
				n++ // of equals, the one that was out
			}
			if n > most {
				worst, most = i, n
			}
		}
		if most <= left {
			break
		}
		cs[worst].aside = true
		aside++
	}
	return aside
}

// conflicts counts the sources in use that one cannot be right with.
func conflicts(cs []candidate, i int) (n int) {
	a := &cs[i]
	if a.verdict != Selected || a.aside {
		return 0
	}
	for j := range cs {
		b := &cs[j]
		if j == i || b.verdict != Selected || b.aside {
			continue
		}
		sigmas := float64(conflictSigmas)
		if a.t.aside != b.t.aside {
			sigmas = settledSigmas
		}
		apart := b.s.above(a.s.origin) - a.s.x
		if v := a.s.pxx + a.bias + b.s.pxx + b.bias; float64(apart*apart) > float64(sigmas*sigmas)*v {
			n++
		}
	}
	return n
}

// near is how much of its weight a source keeps that knows so many times less than the one which knows most: paths that are long
// beside others are not needed, and their asymmetry is less normal than the weights assume.
func near(times float64) float64 { return min(max(farTimes-times, 0), 1) }

// farTimes is where nothing is left of it; chrony leaves sources of three times the root distance out of its combination, too.
const farTimes = 3
