package sim

import "container/heap"

// event is something that happens at a true time, in ns since the start of the world.
type event struct {
	at  int64
	seq uint64 // order of scheduling: settles what happens first at the same instant
	do  func()
}

// queue is the event heap.
type queue struct {
	events []event
	seq    uint64
}

func (q *queue) Len() int { return len(q.events) }
func (q *queue) Less(i, j int) bool {
	a, b := &q.events[i], &q.events[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}
func (q *queue) Swap(i, j int) { q.events[i], q.events[j] = q.events[j], q.events[i] }
func (q *queue) Push(x any)    { q.events = append(q.events, x.(event)) }
func (q *queue) Pop() any {
	last := len(q.events) - 1
	e := q.events[last]
	q.events[last] = event{}
	q.events = q.events[:last]
	return e
}

func (q *queue) schedule(at int64, do func()) {
	q.seq++
	heap.Push(q, event{at: at, seq: q.seq, do: do})
}

// next takes the earliest event if it is not later than limit.
func (q *queue) next(limit int64) (event, bool) {
	if len(q.events) == 0 || q.events[0].at > limit {
		return event{}, false
	}
	return heap.Pop(q).(event), true
}
