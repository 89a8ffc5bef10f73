package source

const (
	// unreachableAfter is how many polls in a row a server that once answered may leave unanswered: the depth of the
	// reach register (RFC 5905 §9.2; C32).
	unreachableAfter = 8
	// startTries is the same for one that never answered (ntpd-rs STARTUP_TRIES_THRESHOLD).
	startTries = 3
)

// reach remembers which of the latest polls had a good reply.
type reach struct {
	register   uint8 // latest poll in the lowest bit (RFC 5905 §9.2)
	unanswered int   // polls since the last good reply
	unsent     int   // of them, those that never left this host
	misses     int   // the same as unanswered, but counted anew after a key exchange (SwapSession)
	good       bool  // there was a good reply, ever
	startLimit int   // polls allowed before the first good reply
}

// newReach allows a server the whole start burst before it counts as unreachable.
func newReach(burst int) reach { return reach{startLimit: max(startTries, burstTries(burst))} }

func (r *reach) polled() { r.register <<= 1 }

func (r *reach) answered() {
	r.register |= 1
	r.unanswered, r.unsent, r.misses = 0, 0, 0
	r.good = true
}

func (r *reach) missed() {
	r.unanswered++
	r.misses++
}

// unansweredSent is how many requests in a row left this host and were not answered, at least one while any poll is
// unanswered; the poll interval is computed from it.
func (r *reach) unansweredSent() int { return max(r.unanswered-r.unsent, min(r.unanswered, 1)) }

// unreachable reports whether the source needs another address.
func (r *reach) unreachable() bool {
	if r.good {
		return r.misses >= unreachableAfter
	}
	return r.misses >= r.startLimit
}
