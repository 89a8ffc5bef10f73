package poolke

import (
	"time"

	"ntp-daemon/internal/ntp"
)

// scale is the time scale on which the monitor reads the clocks of others: this host's clock as it was at the start, carried on by the
// monotonic one, which nobody sets. Readings of one round are comparable whatever happens to the host's clock meanwhile
// (docs/rules/pool.md#monitor-offset). It serves the associations of the daemon as a clock that is never stepped.
type scale struct{ start time.Time }

// Now reads the scale.
func (s scale) Now() ntp.Timestamp { return ntp.FromTime(s.start.Add(time.Since(s.start))) }

// Epoch is the same for ever: there are no steps.
func (scale) Epoch() uint64 { return 0 }

// Map turns a stamp of the kernel, which reads the host's clock, into a reading of the scale.
func (s scale) Map(kernel ntp.Timestamp) ntp.Timestamp { return kernel.Add(-s.ahead()) }

// ahead is by how much the host's clock is ahead of the scale: what it was stepped by since the start.
func (s scale) ahead() time.Duration {
	now := time.Now()
	return now.Round(0).Sub(s.start.Round(0)) - now.Sub(s.start)
}
