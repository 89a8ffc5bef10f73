package ke

import (
	"net/netip"
	"sync/atomic"
	"time"

	"ntp-daemon/internal/accept"
)

// sureFor is how long after it was heard nobody is asked whether a peer is still there.
const sureFor = time.Millisecond

// desk gives the handshakes of one thread their turns, in the order of line and within the budget. It has one place:
// what computes is what has been resumed. Everything happens on the thread, so nothing is locked.
type desk struct {
	line   line
	budget budget
	start  time.Time
	// longest is how long a handshake may wait. A client that is told so by the end of the connection can ask another
	// server, and one that would not be there any more at the end of its handshake costs nothing.
	longest time.Duration
	spent   *atomic.Int64 // nanoseconds of processor time, of all desks, turns or not
	held    *atomic.Uint64
	empty   bool // the budget was used up at the last look, with somebody in line
}

// deskPeer is what a desk wants of a connection; an *accept.Conn of a thread does it.
type deskPeer interface {
	Park(until time.Time) error
	Resume()
}

func newDesk(percent float64, longest time.Duration, spent *atomic.Int64, held *atomic.Uint64) *desk {
	now := time.Now()
	return &desk{line: newLine(1), budget: newBudget(percent, now), start: now, longest: longest, spent: spent, held: held}
}

// Next begins the handshake whose turn it is, and ends one that has waited for too long.
func (d *desk) Next(now time.Time, turn, rest time.Duration) (worked bool, wait time.Duration) {
	d.spent.Add(int64(turn + rest))
	d.budget.spend(now, turn, rest)
	if d.line.size == 0 {
		d.empty = false
		return false, 0
	}
	t, patience := d.line.hopeless(now.Sub(d.start), d.longest)
	if t != nil {
		t.late = true
		t.resume()
		return true, 0
	}
	if wait := d.budget.wait(); wait > 0 {
		if !d.empty {
			d.held.Add(1)
		}
		d.empty = true
		return false, min(wait, patience)
	}
	d.empty = false
	if t, wait = d.line.serve(now.Sub(d.start)); t == nil {
		if wait > 0 {
			patience = min(wait, patience)
		}
		return false, patience
	}
	t.resume()
	return true, 0
}

// enter waits in line.
func (d *desk) enter(t *ticket, c *GatedConn) error {
	peer := c.Conn.(deskPeer)
	t.resume = peer.Resume
	d.line.join(t, time.Since(d.start))
	if err := peer.Park(c.readBy); err != nil {
		if !d.line.quit(t) && !t.late {
			// It has got its turn, and the connection was taken away on another thread at the same moment.
			if !t.begun {
				d.note(t.prefix, (*standing).cancel)
			}
			d.leave(t)
		}
		return err
	}
	t.queued = t.since-t.came >= sureFor
	if t.late {
		return ErrOverBudget
	}
	return nil
}

func (d *desk) leave(t *ticket) { d.line.leave(t, time.Since(d.start)) }

func (d *desk) note(prefix netip.Prefix, change func(*standing)) {
	change(d.line.known.of(prefix, time.Since(d.start)))
}

var _ accept.Turns = (*desk)(nil)
