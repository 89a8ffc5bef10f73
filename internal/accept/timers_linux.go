package accept

import (
	"container/heap"
	"time"
)

// timers has the parked connections that a time was set for, the earliest first.
type timers []*threadConn

// remove takes c out, if it is in.
func (h *timers) remove(c *threadConn) {
	if c.index >= 0 {
		heap.Remove(h, c.index)
	}
}

// due is a connection whose time has come, nil if there is none.
func (h timers) due(now time.Time) *threadConn {
	if len(h) == 0 || now.Before(h[0].until) {
		return nil
	}
	return h[0]
}

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].until.Before(h[j].until) }

func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *timers) Push(x any) {
	c := x.(*threadConn)
	c.index = len(*h)
	*h = append(*h, c)
}

// Pop is for container/heap.
func (h *timers) Pop() any {
	c := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	c.index = -1
	return c
}
