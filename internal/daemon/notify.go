package daemon

import (
	"context"
	"fmt"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"

	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
)

// leastBeat keeps an absurd WATCHDOG_USEC from using up a processor.
const leastBeat = 10 * time.Millisecond

// notifier keeps the service manager informed, as sd_notify(3) has it.
type notifier struct {
	tell     func(state string)
	watchdog time.Duration // silence after which the manager restarts us; 0: nobody watches

	beats  chan struct{} // the timekeeper gives one whenever it waits; nil: nobody watches
	status chan string   // from the timekeeper, the latest wins
}

func newNotifier(d *Deps) *notifier {
	n := &notifier{tell: d.Notify, watchdog: d.Watchdog, status: make(chan string, 1)}
	if n.tell == nil {
		n.tell = func(string) {}
	}
	if n.watchdog > 0 {
		n.beats = make(chan struct{})
	}
	return n
}

// run owns nothing but its schedule: twice in the interval of the watchdog a message is due, and it goes out when the
// timekeeper next shows that its loop turns. A timekeeper that is stuck thus means silence, and silence a restart
// (row L10). It stops when ctx ends.
func (n *notifier) run(ctx context.Context) error {
	var ticks <-chan time.Time
	if n.watchdog > 0 {
		t := time.NewTicker(max(n.watchdog/2, leastBeat))
		defer t.Stop()
		ticks = t.C
	}
	var beats <-chan struct{} // nil: none due
	for {
		select {
		case <-ctx.Done():
			n.tell(sd.SdNotifyStopping)
			return nil
		case <-ticks:
			beats = n.beats
		case <-beats:
			n.tell(sd.SdNotifyWatchdog)
			beats = nil
		case text := <-n.status:
			n.tell("STATUS=" + text)
		}
	}
}

// ready says that everything is open and running.
func (n *notifier) ready() { n.tell(sd.SdNotifyReady) }

// reloading says that a reload begins; ready ends it. Time and announcement must be one message.
func (n *notifier) reloading() {
	n.tell(sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec())
}

// offerStatus passes a status line on without waiting; there is one sender only.
func (n *notifier) offerStatus(text string) {
	select {
	case <-n.status:
	default:
	}
	n.status <- text
}

// statusText is the line that the service manager shows.
func statusText(state system.State, v *ntp.View) string {
	switch state {
	case system.Synchronized, system.HoldOver, system.LocalClock:
		return fmt.Sprintf("%v, stratum %d", state, v.Stratum)
	}
	return state.String()
}

// watchdogInterval reads what the service manager expects; 0: nothing.
func watchdogInterval(log zerolog.Logger) time.Duration {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		target(log, logtarget.System).Warn().Err(err).Msg("no watchdog messages will be sent")
	}
	return interval
}
