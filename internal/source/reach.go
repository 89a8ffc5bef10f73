package source

const (
	// goneAfter is how many polls in a row a server that once answered may leave unanswered: the depth of the
	// reach register (RFC 5905 §9.2; C32).
	goneAfter = 8
	// stillbornAfter is the same for one that never answered (ntpd-rs STARTUP_TRIES_THRESHOLD).
	stillbornAfter = 3
)

// reach remembers which of the latest polls had a good reply.
type reach struct {
	register   uint8 // latest poll in the lowest bit (RFC 5905 §9.2)
	unanswered int   // polls since the last good reply
	unsent     int   // of them, those that never left this host
	lost       int   // the same as unanswered, but counted anew when new keys give the server another chance
	good       bool  // there was a good reply, ever
	stillborn  int   // polls allowed before the first good reply
}

// newReach allows a server the whole start burst before it is given up.
func newReach(burst int) reach { return reach{stillborn: max(stillbornAfter, burstTries(burst))} }

func (r *reach) polled() { r.register <<= 1 }

func (r *reach) answered() {
	r.register |= 1
	r.unanswered, r.unsent, r.lost = 0, 0, 0
	r.good = true
}

func (r *reach) missed() {
	r.unanswered++
	r.lost++
}

// silent is how many polls in a row the server may be blamed for, at least one while any is unanswered: the measure
// of how far apart it is asked.
func (r *reach) silent() int { return max(r.unanswered-r.unsent, min(r.unanswered, 1)) }

// gone reports whether the server should be looked for elsewhere.
func (r *reach) gone() bool {
	if r.good {
		return r.lost >= goneAfter
	}
	return r.lost >= r.stillborn
}
