package ke

import "time"

// budgetSpan is how much of unused time is kept for later. Users who come together, as after a power failure in their
// town, are served at once; NTP on the same processor is beside a full load for no longer than that.
const budgetSpan = time.Second

// budget is a bucket of processor time for handshakes: it fills at a constant rate up to what a budgetSpan brings, and is
// emptied by what was used. Below zero nothing more is begun. What is under way is finished, which may take it further
// below; that is made up for before the next. Work that is not held back, such as connections on which nobody says
// anything, takes no more than half of what comes in, or it could keep all handshakes out for as long as it goes on; of
// an ordinary exchange that is all. So a debt is a turn and half a bucket at most. It has no clock: times are passed in.
type budget struct {
	share float64       // of one processor, above 0
	have  time.Duration // processor time, at most share × budgetSpan
	rest  time.Duration // of what came in, how much other work may still take; 0 to half a bucket
	at    time.Time     // of the last look
}

// newBudget is a full one; percent is of one processor.
func newBudget(percent float64, now time.Time) budget {
	b := budget{share: percent / 100, at: now}
	b.have, b.rest = b.most(), b.most()/2
	return b
}

func (b *budget) most() time.Duration { return time.Duration(b.share * float64(budgetSpan)) }

// spend takes processor time that was used until now, by a turn and by the rest; a clock that has gone back fills nothing.
func (b *budget) spend(now time.Time, turn, rest time.Duration) {
	if passed := now.Sub(b.at); passed > 0 {
		filling := budgetSpan + time.Duration(float64(max(-b.have, 0))/b.share) // more only runs over
		in := time.Duration(b.share * float64(min(passed, filling)))
		b.have, b.rest = min(b.most(), b.have+in), min(b.most()/2, b.rest+in/2)
	}
	b.at = now
	rest = min(rest, b.rest)
	b.rest -= rest
	b.have -= turn + rest
}

// wait is how long nothing may be begun, 0 if something may.
func (b *budget) wait() time.Duration {
	if b.have > 0 {
		return 0
	}
	return time.Duration(float64(-b.have)/b.share) + time.Microsecond
}
