package ntp

import "time"

// Local is our own clock with all our corrections taken out: the bare oscillator's time, in nanoseconds
// since the base of the Ledger. It never steps and its rate is the oscillator's own. The estimator runs on it.
type Local int64

// Sub returns l-m.
func (l Local) Sub(m Local) time.Duration { return time.Duration(l - m) }

// Add returns l+d.
func (l Local) Add(d time.Duration) Local { return l + Local(d) }
