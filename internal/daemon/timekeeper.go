package daemon

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/alarm"
	"ntp-daemon/internal/assoc"
	"ntp-daemon/internal/clock"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/timekeeper"
	"ntp-daemon/internal/version"
)

const (
	// inboxDepth lets every source of a large configuration report at once without waiting.
	inboxDepth = 256
	// repeatedInterval keeps a second time daemon from filling the log (row K06: one warning an hour).
	repeatedInterval = time.Hour
)

// keeper is the goroutine around timekeeper.Keeper, which decides: it turns whatever happens into turns and publishes
// what follows from them. Others see it through three atomic pointers and the inbox.
type keeper struct {
	*timekeeper.Keeper
	clock clock.Clock // for reading; the Keeper alone steers it
	log   zerolog.Logger
	quiet *logging.Limiter // for lines that come again and again

	inbox  chan assoc.Message
	jumped <-chan struct{}      // a foreign step or a resume was noticed by the kernel
	stood  <-chan time.Duration // the machine stood still for so long
	advice map[ntp.SourceID]chan<- ntp.Advice
	saved  chan<- drift // latest wins; the keeper of the state directory reads it

	view   *atomic.Pointer[ntp.View]
	report *atomic.Pointer[system.Report]
	viewed chan<- struct{}  // hears of each new view; nil: nobody waits for it
	boot   *assoc.Bootstrap // hears of the first accepted update
	notify *notifier        // the service manager hears of the state, and that the loop turns
	status string           // as it last heard
}

// run owns the Keeper, and with it clock, ledger and System; nothing else reads or writes them. It stops when ctx ends
// or the clock refuses us; on stop a running slew ends at the base frequency.
func (k *keeper) run(ctx context.Context) error {
	ended := false
	defer func() {
		if !ended { // a panic: the clock is not left with a slew in force
			_ = k.rest()
		}
	}()
	bell, ticks := alarm.New(), make(chan struct{}, 1)
	defer bell.Close()
	tick := func() { offer(ticks, struct{}{}) }
	tick()
	for {
		var ev system.Event
		select {
		case <-ctx.Done():
			ended = true
			return k.rest()
		case msg := <-k.inbox:
			ev = k.register(msg)
		case k.notify.beats <- struct{}{}:
			continue // the watchdog sees that we are alive; nothing happened, and the timer runs on
		case <-k.jumped:
			ev = system.Tick{}
		case d := <-k.stood:
			ev = system.StoodStill{For: d}
		case <-ticks:
			ev = system.Tick{}
		}
		wait, err := k.turn(time.Now(), ev)
		if err != nil {
			ended = true
			return errors.Join(err, k.rest())
		}
		bell.Set(wait, tick)
	}
}

// turn lets the Keeper decide about one event and publishes what follows. It returns when the next Tick is due.
func (k *keeper) turn(now time.Time, ev system.Event) (time.Duration, error) {
	fx := k.Turn(now, ev)
	for i := range fx.Notices {
		k.write(now, &fx.Notices[i])
	}
	if fx.View != nil {
		k.view.Store(fx.View)
		offer(k.viewed, struct{}{})
	}
	for _, a := range fx.Advice {
		if ch, ok := k.advice[a.Source]; ok {
			offer(ch, a)
		}
	}
	if fx.Report != nil {
		k.publish(fx.Report)
	}
	if fx.Frequency != nil && k.saved != nil {
		offer(k.saved, drift{
			Frequency: fx.Frequency.Correction, Sigma: fx.Frequency.Sigma, StartupSpent: fx.Frequency.StartupSpent, Spent: fx.Frequency.Spent,
			Saved: fx.Frequency.True.Time(version.Built()),
		})
	}
	return fx.Wait, fx.Err
}

// publish shows a report to whoever asks, and its state to the service manager.
func (k *keeper) publish(rep *system.Report) {
	k.report.Store(rep)
	if rep.State == system.Synchronized {
		k.boot.Settle() // what the first update asked for is done: the clock can judge certificates
	}
	if text := statusText(rep.State, k.view.Load()); text != k.status {
		k.status = text
		k.notify.offerStatus(text)
	}
}

// register keeps the channel on which a new source hears advice and forgets it with the source.
func (k *keeper) register(msg assoc.Message) system.Event {
	switch ev := msg.Event.(type) {
	case system.Added:
		if msg.Advice != nil {
			k.advice[ev.ID] = msg.Advice
		}
	case system.Removed:
		delete(k.advice, ev.ID)
	}
	return msg.Event
}

// offer hands a value over without ever waiting. A full channel means that an older one is still unread; the next
// update brings a newer.
func offer[T any](ch chan<- T, v T) {
	select {
	case ch <- v:
	default:
	}
}

// rest is the orderly end.
func (k *keeper) rest() error {
	err := k.Rest()
	if err != nil {
		// At an end that was asked for nobody else tells of it.
		target(k.log, logtarget.System).Error().Err(err).Msg("the clock was not left at its base frequency")
	}
	return err
}

// write puts one line into the log.
func (k *keeper) write(now time.Time, n *system.Notice) {
	log := target(k.log, n.Target)
	ev := log.WithLevel(levelOf(n.Level))
	if n.Subject != "" {
		ev = k.quiet.Event(log, levelOf(n.Level), now, n.Subject)
	}
	ev.Fields(n.Fields).Msg(n.Text)
}

func levelOf(l system.Level) zerolog.Level {
	switch l {
	case system.Debug:
		return zerolog.DebugLevel
	case system.Warn:
		return zerolog.WarnLevel
	case system.Error:
		return zerolog.ErrorLevel
	default:
		return zerolog.InfoLevel
	}
}
