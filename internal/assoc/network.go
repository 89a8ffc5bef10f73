package assoc

import "sync"

// Network tells all supervisors that this host may have a way to the network again: a link, an address or a route has come
// up. Those that wait out a failure try again at once, as far as a server's own wishes allow, and sources whose latest poll
// went unanswered are polled; whatever works goes on as before. Safe for concurrent use; nil never tells.
type Network struct {
	mu      sync.Mutex
	changed chan struct{} // closed by Changed; guarded by mu
}

// NewNetwork returns one on which nothing has changed yet.
func NewNetwork() *Network { return &Network{changed: make(chan struct{})} }

// Changed tells everybody who listens now.
func (n *Network) Changed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.changed)
	n.changed = make(chan struct{})
}

// next is closed by the next change.
func (n *Network) next() <-chan struct{} {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}
