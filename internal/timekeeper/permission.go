package timekeeper

import (
	"errors"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
)

// permissionRetry is how often the clock is tried while it takes no correction.
const permissionRetry = 16 * time.Second

// permission is whether the clock takes corrections. Without it a daemon does not start. One that loses it later goes
// on: whoever asks it is better served by "not synchronised" than by silence, and what is taken away may be given back.
// Meanwhile nothing is measured or vouched for.
type permission struct {
	lost  bool
	tried time.Time // when that was last found out
}

// losePermission is what happens when a correction was refused: nobody is served the clock's time from now on. The
// kernel's own bound of the error grows by itself.
func (k *Keeper) losePermission(now time.Time, err error, fx *Effects) {
	k.permission = permission{lost: true, tried: now}
	fx.note(system.Notice{
		Level: system.Error, Subject: "permission",
		Fields: []any{"error", err, "remedy", "let the daemon have CAP_SYS_TIME again, or restart it with it"},
		Text:   "the clock could not be corrected; serving as not synchronised until it can be",
	})
	none := k.view
	none.Leap, none.Stratum, none.Synchronized = ntp.LeapUnknown, ntp.MaxStratum, false
	k.show(&none, fx)
	rep := k.sys.Report()
	rep.State = system.Unsynchronized
	fx.Report = &rep
}

// regain tries, not too often, whether the clock can be corrected again, by a correction that changes nothing. If so
// the system process begins anew, as after a step by others: what it had decided last was not done. False: still not.
func (k *Keeper) regain(now time.Time, fx *Effects) bool {
	if now.Sub(k.permission.tried) < permissionRetry {
		return false
	}
	k.permission.tried = now
	entry, err := k.clock.SetFrequency(k.ledger.Last().Frequency)
	if err != nil {
		if !errors.Is(err, ntp.ErrForeignChange) { // that one is adopted at the next event
			fx.note(system.Notice{
				Level: system.Error, Subject: "permission", Fields: []any{"error", err}, Text: "the clock still cannot be corrected",
			})
		}
		return false
	}
	k.permission.lost = false
	k.enter(entry, 0)
	fx.note(system.Notice{Level: system.Warn, Text: "the clock can be corrected again"})
	k.handle(now, system.ForeignStep{}, fx)
	return !k.permission.lost
}

// watch keeps the table of sources while nothing can be done with what they say.
func (k *Keeper) watch(now time.Time, ev system.Event) {
	switch ev.(type) {
	case system.Added, system.Removed, system.Status:
		k.sys.Handle(k.now(now), ev)
	}
}
