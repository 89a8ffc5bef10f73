package clock

import (
	"sync/atomic"
	"time"

	"ntp-daemon/internal/ntp"
)

// longestWait is how long a stamp may wait until it is used: as long as a worker of the server may be late.
const longestWait = 16 * time.Second

// epochs counts the steps of a clock and tells which of its stamps may be of before the latest. The timekeeper advances it, after the
// step; anybody may read.
//
// Whoever has a stamp and asks for the epoch then may have it of before a step and the epoch of after. A stamp of before a
// step forward is below the first reading of after. That of before a step back may be as high as the last reading of before: so that is the
// limit, which the clock passes when it has made up for the step. Behind a long step nobody waits for that: no stamp of before is used
// after longestWait any more, and until then all are still in the future.
type epochs struct{ count, since atomic.Uint64 }

// Epoch implements Clock.
func (e *epochs) Epoch() uint64 { return e.count.Load() }

// EpochSince implements Clock.
func (e *epochs) EpochSince() ntp.Timestamp { return ntp.Timestamp(e.since.Load()) }

// advance enters a step of d, zero for a suspend, with a reading of the clock after it. Who reads Epoch first and EpochSince then has
// a limit that is of this epoch or of a later one, so the limit comes first here.
func (e *epochs) advance(after ntp.Timestamp, d time.Duration) {
	hold := max(0, -d)
	if before := e.EpochSince(); !before.IsZero() { // two steps within longestWait
		hold = max(hold, before.Sub(after)+max(0, d))
	}
	e.since.Store(uint64(after.Add(min(hold, longestWait))))
	e.count.Add(1)
}
