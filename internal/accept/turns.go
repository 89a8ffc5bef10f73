package accept

import "time"

// Turns decides when the connections of one thread of ours (Config.Threads) go on with what costs much. All of its
// methods, and all handlers of the thread's connections, run on that thread, one at a time: it needs no lock.
type Turns interface {
	// Next is asked whenever the thread has dealt with everything that has arrived. It may resume one connection
	// (Conn.Resume) that waits (Conn.Park), and says so. turn is the processor time of what the last call resumed, until
	// that waited again, rest is what the thread has used besides since then, both at least 0; wait above 0 is when to
	// ask again although nothing happens.
	Next(now time.Time, turn, rest time.Duration) (worked bool, wait time.Duration)
}

// Turns is what Config.Turns has made for the thread that serves this connection; nil if a goroutine does.
func (c *Conn) Turns() Turns { return c.turns }
