package poolke

import (
	"time"

	"ntp-daemon/internal/observe"
)

// notReady is why balancers should send users elsewhere; empty: they are welcome. The pool itself takes whoever comes:
// most of these users get their keys all the same, or an answer that says why not.
func (p *Pool) notReady(servers []observe.PoolServer) (why []string) {
	why = []string{}
	switch p.currentStage() {
	case starting:
		why = append(why, "the pool has not begun to serve")
	case draining:
		why = append(why, "the pool was told to stop")
	}
	leaf, now := p.snap.Load().cfg.Certificate.Leaf, p.deps.Now()
	switch {
	case now.After(leaf.NotAfter):
		why = append(why, "the certificate expired on "+leaf.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		why = append(why, "the certificate is not valid before "+leaf.NotBefore.UTC().Format(time.DateOnly))
	}
	for i := range servers {
		if servers[i].Usable() {
			return why
		}
	}
	if len(servers) == 0 {
		return append(why, "there are no time sources")
	}
	return append(why, "no time source can be handed out")
}
