package daemon

import (
	"errors"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/clock"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
)

// Without the permission to set the clock a daemon does not start (exit 77). One that loses it later goes on: whoever
// asks it is better served by "not synchronised" than by silence, and what is taken away may be given back
// (reliability.md 1.5).

// powerRetry is how often the clock is tried then.
const powerRetry = 16 * time.Second

// lose is what happens when a correction was refused: nobody is served the clock's time from now on. The kernel's own
// bound of the error grows by itself.
func (tk *timekeeper) lose(err error) {
	tk.powerless, tk.tried = true, time.Now()
	tk.quiet.Event(target(tk.log, "ntpd::daemon::system"), zerolog.ErrorLevel, tk.tried, "powerless").Err(err).
		Str("remedy", "let the daemon have CAP_SYS_TIME again, or restart it with it").
		Msg("the clock could not be corrected; serving as not synchronised until it can be")
	if v := tk.view.Load(); v != nil {
		none := *v
		none.Leap, none.Stratum, none.Synchronized = ntp.LeapUnknown, ntp.MaxStratum, false
		tk.view.Store(&none)
	}
	rep := tk.sys.Report()
	rep.State = system.Unsynchronized
	tk.publish(&rep)
}

// regain tries, not too often, whether the clock can be corrected again, by a correction that changes nothing. If so
// the system process begins anew, as after a step by others: what it had decided last was not done. The error is that
// of apply.
func (tk *timekeeper) regain() (ok bool, err error) {
	now := time.Now()
	if now.Sub(tk.tried) < powerRetry {
		return false, nil
	}
	tk.tried = now
	entry, err := tk.clock.SetFrequency(tk.clock.Frequency())
	if err != nil {
		if !errors.Is(err, clock.ErrForeign) { // that one is adopted at the next event
			tk.quiet.Event(target(tk.log, "ntpd::daemon::system"), zerolog.ErrorLevel, now, "powerless").Err(err).
				Msg("the clock still cannot be corrected")
		}
		return false, nil
	}
	tk.powerless = false
	tk.ledger = tk.ledger.Append(entry, 0)
	tk.sys.Applied(tk.ledger.Last())
	target(tk.log, "ntpd::daemon::system").Warn().Msg("the clock can be corrected again")
	err = tk.apply(tk.sys.Handle(tk.now(), system.ForeignStep{}))
	return !tk.powerless, err
}

// endure keeps the table of sources while nothing can be done with what they say, and returns when to try again.
func (tk *timekeeper) endure(ev system.Event) time.Duration {
	switch ev.(type) {
	case system.Added, system.Removed, system.Status:
		tk.sys.Handle(tk.now(), ev)
	}
	return powerRetry
}
