package accept

import (
	"container/heap"
	"container/list"
	"net/netip"
)

// crowd holds the connections that are waited for, each of which may be closed to make room, and says which one is the
// next to go: of the prefix that has the most of them, the one that took its last step the longest ago, those that are past
// their handshake (Advance) after all others; among prefixes with equally many, the one whose first would go first. So a
// flood makes room for itself, from however many prefixes it comes, as long as the honest have fewer connections each
// than the flood has.
type crowd struct {
	groups map[netip.Prefix]*group
	order  groupHeap
	size   int
	turn   uint64 // steps taken so far
}

// group is the part of the crowd that has one prefix.
type group struct {
	prefix netip.Prefix
	conns  [2]list.List // of *Conn, the oldest step first: those before their handshake, and those past it
	index  int          // in crowd.order
}

// The two lists of a group.
const (
	early = iota
	late
)

func (g *group) len() int { return g.conns[early].Len() + g.conns[late].Len() }

// first is the one to go.
func (g *group) first() *Conn {
	if e := g.conns[early].Front(); e != nil {
		return e.Value.(*Conn)
	}
	return g.conns[late].Front().Value.(*Conn)
}

// join adds a connection under its prefix, as the one with the latest step.
func (w *crowd) join(c *Conn, prefix netip.Prefix, stage int) {
	g := w.groups[prefix]
	if g == nil {
		if w.groups == nil {
			w.groups = map[netip.Prefix]*group{}
		}
		g = &group{prefix: prefix}
		w.groups[prefix] = g
	}
	w.turn++
	c.turn, c.group, c.stage, c.place = w.turn, g, stage, g.conns[stage].PushBack(c)
	w.size++
	if g.len() == 1 {
		heap.Push(&w.order, g)
	} else {
		heap.Fix(&w.order, g.index)
	}
}

// quit takes a connection out, if it is in.
func (w *crowd) quit(c *Conn) {
	g := c.group
	if g == nil {
		return
	}
	last := g.len() == 1
	if last {
		heap.Remove(&w.order, g.index) // while it still has a first to be compared by
		delete(w.groups, g.prefix)
	}
	g.conns[c.stage].Remove(c.place)
	c.group, c.place = nil, nil
	w.size--
	if !last {
		heap.Fix(&w.order, g.index)
	}
}

// next is the one to go, nil if nobody is waited for.
func (w *crowd) next() *Conn {
	if len(w.order) == 0 {
		return nil
	}
	return w.order[0].first()
}

// nextOf is the one to go of a prefix that is at its own limit: nobody past its handshake.
func (w *crowd) nextOf(prefix netip.Prefix) *Conn {
	if g := w.groups[prefix]; g != nil && g.conns[early].Len() > 0 {
		return g.first()
	}
	return nil
}

// eldest is the one to go whatever its prefix.
func (w *crowd) eldest() *Conn {
	var found *Conn
	for _, g := range w.order {
		if c := g.first(); found == nil || c.before(found) {
			found = c
		}
	}
	return found
}

// groupHeap has the group of the next to go first.
type groupHeap []*group

func (h groupHeap) Len() int { return len(h) }

func (h groupHeap) Less(i, j int) bool {
	if a, b := h[i].len(), h[j].len(); a != b {
		return a > b
	}
	return h[i].first().before(h[j].first())
}

// before reports whether c goes before o, were they of one prefix.
func (c *Conn) before(o *Conn) bool {
	return c.stage < o.stage || c.stage == o.stage && c.turn < o.turn
}

func (h groupHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *groupHeap) Push(x any) {
	g := x.(*group)
	g.index = len(*h)
	*h = append(*h, g)
}

// Pop is for container/heap.
func (h *groupHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
