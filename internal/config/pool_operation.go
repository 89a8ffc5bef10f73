package config

import "time"

// DefaultPoolDrain is how long users under way may take when the pool stops: as long as one user may take by default.
const DefaultPoolDrain = 5 * time.Second

// PoolOperation is how the pool stops, and how another process takes its place (docs/rules/pool.md#hand-over).
type PoolOperation struct {
	DrainTimeout time.Duration // drain-timeout-ms: for users under way when the pool stops; default DefaultPoolDrain
	DrainDelay   time.Duration // drain-delay-ms: new users are still taken for so long after readiness ended; default 0
	HandoverPath string        // handover-path: Unix socket at which a successor gets the listeners; empty: none
}

// operation reads the keys of PoolOperation. observation is the other Unix socket.
func (l *loader) operation(t *table, o *PoolOperation, observation string) {
	o.DrainTimeout = DefaultPoolDrain
	t.interval("drain-timeout-ms", timeoutRange, time.Millisecond, &o.DrainTimeout)
	t.interval("drain-delay-ms", span{min: 0, max: timeoutRange.max, unit: timeoutRange.unit}, time.Millisecond, &o.DrainDelay)
	t.socket("handover-path", "/run/nts-pool-ke/handover", &o.HandoverPath)
	if o.HandoverPath != "" && o.HandoverPath == observation {
		t.fail("handover-path", t.node.children["handover-path"], "is that of observation-path", "choose another one")
	}
}
