package accept

import "iter"

// spareStrands is how many strands are kept for the next connection: making one, and letting its stack grow to what a
// handshake needs, costs as much as a part of the handshake.
const spareStrands = 8

// strand is a coroutine that runs one job after the other. Unlike a goroutine it runs on the thread of whoever calls
// next, only then, and until it yields: nobody is woken, and no queue of the runtime is touched.
type strand struct {
	next  func() (struct{}, bool)
	end   func()
	yield func(struct{}) bool
	job   func()
}

// strands makes and keeps strands. It belongs to one thread, which is locked to its goroutine.
type strands struct{ spare []*strand }

// start runs the job until it yields for the first time or is done.
func (k *strands) start(job func(s *strand)) {
	var s *strand
	if n := len(k.spare); n > 0 {
		s, k.spare = k.spare[n-1], k.spare[:n-1]
	} else {
		s = k.make()
	}
	s.job = func() { job(s) }
	s.next()
}

// make makes a strand that waits for its first job.
func (k *strands) make() *strand {
	s := &strand{}
	s.next, s.end = iter.Pull(func(yield func(struct{}) bool) {
		s.yield = yield
		// Owns its job; ends when there are spare ones enough, or with close.
		for {
			s.job()
			s.job = nil
			if len(k.spare) == spareStrands {
				return
			}
			k.spare = append(k.spare, s)
			if !yield(struct{}{}) {
				return
			}
		}
	})
	return s
}

// close ends the strands that have no job.
func (k *strands) close() {
	for _, s := range k.spare {
		s.end()
	}
	k.spare = nil
}
