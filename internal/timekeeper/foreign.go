package timekeeper

import (
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
)

// adoptForeign enters what others did to the clock in the ledger, and reports whether the offset is unknown now, so
// that the system process has to hear of it.
func (k *Keeper) adoptForeign(fx *Effects) bool {
	f, changed := k.clock.CheckForeign()
	if !changed {
		return false
	}
	k.enter(f.Entry, f.Elapsed)
	if f.Entry.Foreign {
		k.disclaim(f.Sleep > 0, fx)
	}
	n := system.Notice{Level: system.Warn}
	switch {
	case f.Tampered && f.Jump == 0 && f.Sleep == 0:
		n.Subject, n.Fields = "foreign frequency", []any{"was_ppm", f.Was * 1e6, "is_ppm", f.Is * 1e6}
		n.Text = "another program changed the clock's frequency or status; is a second time daemon running?"
	case f.Leap:
		n.Fields, n.Text = []any{"jump", f.Jump}, "leap second done"
	case f.Sleep > 0:
		n.Fields = []any{"slept", f.Sleep, "jump", f.Jump}
		n.Text = "the machine was suspended, offset unknown until the next measurement"
	default:
		n.Fields, n.Text = []any{"jump", f.Jump}, "another program stepped the clock, offset unknown until the next measurement"
	}
	fx.note(n)
	return f.Entry.Foreign
}

// displace enters that the clock is wrong by an unknown amount although nobody has touched it, because the machine did not
// run for a while: an exchange across that moment is void. The words are for the operator, by is about how much.
func (k *Keeper) displace(fx *Effects, text, field string, by time.Duration, at ntp.Timestamp) {
	last := k.ledger.Last()
	if at.Before(last.Time) {
		at = last.Time
	}
	k.enter(ntp.LedgerEntry{Time: at, Frequency: last.Frequency, Foreign: true}, k.ledger.Local(at).Sub(last.Local))
	k.disclaim(true, fx)
	fx.note(system.Notice{Level: system.Warn, Fields: []any{field, by}, Text: text})
}

// disclaim sees to it that the kernel does not go on calling a clock good of which nothing is known. Setting the clock made it forget
// what it was told; where nobody did, it has to be told.
func (k *Keeper) disclaim(untouched bool, fx *Effects) {
	knows := !k.told.IsZero()
	k.told = time.Time{}
	if untouched && knows && k.steers && !k.permission.lost {
		k.setStatus(ntp.ClockStatus{MaxError: unknownError, EstError: unknownError}, fx)
	}
}
