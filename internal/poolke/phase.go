package poolke

import "time"

// phase is a part of one user's exchange whose time is measured. They follow each other in this order; an exchange that ends
// early lacks the later ones.
type phase uint8

// The phases. Their names are metric labels.
const (
	phaseProxy   phase = iota // the balancer's header
	phaseTLS                  // the handshake, the wait for a turn to compute included
	phaseRead                 // the user's request
	phaseSelect               // the choice of candidates
	phaseSupport              // asking one time source what it can do, where that is not known
	phaseCookies              // the one time source that gets the keys: the request and the user's answer made of it
	phaseWrite                // our message
	phases
)

// phaseNames are the labels.
var phaseNames = [phases]string{"proxy", "tls", "read", "select", "support", "cookies", "write"}

// lap counts a phase that began at since, and returns when it ended.
func (p *Pool) lap(ph phase, since time.Time) (now time.Time) {
	now = time.Now()
	p.phases[ph].observe(now.Sub(since))
	return now
}
