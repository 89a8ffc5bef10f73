package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/assoc"
	"ntp-daemon/internal/clock"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/version"
)

const (
	// inboxDepth lets every source of a large configuration report at once without waiting.
	inboxDepth = 256
	// statusInterval is how often the kernel is told the error bounds at most; it adds 500 ppm to them itself.
	statusInterval = 10 * time.Second
	// meddlingInterval keeps a second time daemon from filling the log (row K06: one warning an hour).
	meddlingInterval = time.Hour
	// maxSteerTries bounds the retries of one steer while somebody else keeps changing the clock.
	maxSteerTries = 3
)

// RefusedError says that the system process gave up because a step limit was exceeded; exit code 70.
type RefusedError struct{ Reason string }

// Error gives the reason as the operator shall read it.
func (e *RefusedError) Error() string { return e.Reason }

// timekeeper is the one goroutine that steers. Others see it through three atomic pointers and the inbox.
type timekeeper struct {
	clock  clock.Clock
	steers bool    // clock control is on
	base   float64 // frequency that the clock is left at, s/s: as found, then as learnt
	ledger ntp.Ledger
	sys    *system.System
	log    zerolog.Logger

	inbox  chan assoc.Message
	jumped <-chan struct{} // a foreign step or a resume was noticed by the kernel
	saved  chan<- drift    // latest wins; the keeper of the state directory reads it

	advice map[ntp.SourceID]chan<- ntp.Advice

	view   *atomic.Pointer[ntp.View]
	report *atomic.Pointer[system.Report]

	boot *assoc.Bootstrap // hears of the first accepted update

	notify *notifier // the service manager hears of the state, and that the loop turns
	status string    // as it last heard

	quiet *logging.Limiter // for what others do to the clock again and again
	told  time.Time        // when the kernel was last told the status

	toldLeap ntp.LeapIndicator // the leap warning that it was told then

	// powerless: a correction was refused for want of permission. Nothing is then measured or vouched for, until the
	// clock takes a correction again (power.go).
	powerless bool
	tried     time.Time // when that was last found out
}

// run owns the clock, its ledger and the System; nothing else reads or writes them. It stops when ctx ends or the
// clock refuses us; on stop it ends a running slew by restoring the base frequency and hands over the drift.
func (tk *timekeeper) run(ctx context.Context) error {
	ended := false
	defer func() {
		if !ended { // a panic: the clock is not left with a slew in force
			_ = tk.rest()
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var ev system.Event
		select {
		case <-ctx.Done():
			ended = true
			return tk.rest()
		case msg := <-tk.inbox:
			ev = tk.register(msg)
		case tk.notify.beats <- struct{}{}:
			continue // the watchdog sees that we are alive; nothing happened, and the timer runs on
		case <-tk.jumped:
			ev = system.Tick{}
		case <-timer.C:
			ev = system.Tick{}
		}
		wait, err := tk.turn(ev)
		if err != nil {
			ended = true
			return errors.Join(err, tk.rest())
		}
		timer.Reset(wait)
	}
}

// turn handles one event: foreign changes first, so that no measurement meets a ledger that is wrong.
func (tk *timekeeper) turn(ev system.Event) (time.Duration, error) {
	wait := time.Duration(0)
	if tk.adoptForeign() {
		fx := tk.sys.Handle(tk.now(), system.ForeignStep{})
		if err := tk.apply(fx); err != nil {
			return 0, err
		}
		wait = fx.Wait
	}
	if tk.powerless {
		if ok, err := tk.regain(); !ok || err != nil {
			return tk.endure(ev), err
		}
	}
	if m, ok := ev.(system.Measured); ok {
		if !tk.ledger.Place(&m.Measurement) {
			return max(wait, time.Millisecond), nil // a step lies inside the exchange
		}
		ev = m
	}
	fx := tk.sys.Handle(tk.now(), ev)
	err := tk.apply(fx)
	if tk.powerless {
		return powerRetry, nil
	}
	rep := tk.sys.Report()
	tk.publish(&rep)
	if rep.State == system.Synchronized {
		tk.boot.Settle() // what the first update asked for is done: the clock can judge certificates
	}
	if _, ok := ev.(system.Measured); ok {
		tk.offerDrift(&rep)
	}
	return fx.Wait, err
}

// publish shows a report to whoever asks, and its state to the service manager.
func (tk *timekeeper) publish(rep *system.Report) {
	tk.report.Store(rep)
	if text := statusText(rep.State, tk.view.Load()); text != tk.status {
		tk.status = text
		tk.notify.offerStatus(text)
	}
}

// now reads the clock once and places the reading on every scale.
func (tk *timekeeper) now() system.Now {
	c := tk.clock.Now()
	return system.Now{Mono: time.Now(), Local: tk.ledger.Local(c), Clock: c, Epoch: tk.clock.Epoch()}
}

// register keeps the channel on which a new source hears advice and forgets it with the source.
func (tk *timekeeper) register(msg assoc.Message) system.Event {
	switch ev := msg.Event.(type) {
	case system.Added:
		if msg.Advice != nil {
			tk.advice[ev.ID] = msg.Advice
		}
	case system.Removed:
		delete(tk.advice, ev.ID)
	}
	return msg.Event
}

// adoptForeign enters what somebody else did to the clock in the ledger. It reports whether the offset is
// unknown from now on.
func (tk *timekeeper) adoptForeign() bool {
	f, changed := tk.clock.CheckForeign()
	if !changed {
		return false
	}
	tk.ledger = tk.ledger.Append(f.Entry, f.Elapsed)
	tk.sys.Applied(tk.ledger.Last())
	if f.Entry.Foreign {
		tk.told = time.Time{} // setting the clock made the kernel forget what it was told
	}
	if f.Tampered && f.Jump == 0 && f.Sleep == 0 {
		tk.quiet.Event(target(tk.log, "ntpd::daemon::system"), zerolog.WarnLevel, time.Now(), "meddling").
			Float64("was_ppm", f.Was.Frequency*1e6).Float64("is_ppm", f.Is.Frequency*1e6).
			Msg("another program changed the clock's frequency or status; is a second time daemon running?")
		return f.Entry.Foreign
	}
	ev := target(tk.log, "ntpd::daemon::system").Warn()
	switch {
	case f.Leap:
		ev.Dur("jump", f.Jump).Msg("leap second done")
	case f.Sleep > 0:
		ev.Dur("slept", f.Sleep).Dur("jump", f.Jump).Msg("the machine was suspended, offset unknown until the next measurement")
	default:
		ev.Dur("jump", f.Jump).Msg("another program stepped the clock, offset unknown until the next measurement")
	}
	return f.Entry.Foreign
}

// apply does what the system process asked for, in the order that Handle demands. What it says about that is logged
// once it is true.
func (tk *timekeeper) apply(fx system.Effects) error {
	err := tk.steer(fx.Steer)
	if errors.Is(err, clock.ErrPermission) {
		tk.lose(err)
		return nil
	}
	tk.notices(fx.Notices)
	if err != nil {
		if fx.Steer.Kind == system.Refuse && fx.View != nil {
			tk.view.Store(fx.View) // nobody is served a refused clock while the daemon stops
		}
		return err
	}
	if fx.View != nil {
		tk.view.Store(fx.View)
		tk.tellKernel(fx.View)
	}
	for _, a := range fx.Advice {
		if ch, ok := tk.advice[a.Source]; ok {
			offer(ch, a)
		}
	}
	return nil
}

// offer gives a source advice without ever waiting for it. A full channel means that older advice is still unread;
// the next update brings newer.
func offer(ch chan<- ntp.Advice, a ntp.Advice) {
	select {
	case ch <- a:
	default:
	}
}

// steer changes the clock and enters in the ledger what the kernel confirmed. Filters never hear of a steer that
// was refused.
func (tk *timekeeper) steer(s system.Steer) error {
	if s.Kind == system.None {
		return nil
	}
	if s.Kind == system.Refuse {
		return &RefusedError{Reason: s.Reason}
	}
	if !tk.steers {
		return nil
	}
	for range maxSteerTries {
		entry, err := tk.change(s)
		switch {
		case err == nil:
			tk.ledger = tk.ledger.Append(entry, 0)
			tk.sys.Applied(tk.ledger.Last())
			return nil
		case errors.Is(err, clock.ErrForeign):
			if tk.adoptForeign() {
				return nil // the offset that the steer was made for no longer exists
			}
		default:
			return fmt.Errorf("steer clock: %w", err)
		}
	}
	return nil // somebody changes the clock faster than we do; the next event tries again
}

func (tk *timekeeper) change(s system.Steer) (ntp.LedgerEntry, error) {
	if s.Kind == system.Step {
		tk.told = time.Time{} // the kernel now says "not synchronised" until it is told otherwise
		return tk.clock.Step(s.By)
	}
	rep := tk.sys.Report()
	if rep.EstimateKnown && rep.FreqSigma <= maxDriftSigma {
		if err := tk.clock.SetBase(rep.Frequency); err != nil {
			return ntp.LedgerEntry{}, err
		}
		tk.base = rep.Frequency
	}
	return tk.clock.SetFrequency(s.Target)
}

// tellKernel passes the error bounds on, at a gentle rate, a changed leap warning at once, and only while synchronised: a daemon without a selected
// source never writes to the clock, and the kernel's own growth of the bound then tells the truth.
func (tk *timekeeper) tellKernel(v *ntp.View) {
	now := time.Now()
	if !tk.steers || !v.Synchronized || tk.sys.State() != system.Synchronized || now.Sub(tk.told) < statusInterval && v.Leap == tk.toldLeap {
		return
	}
	dispersion := v.RootDispersion(v.Reference)
	err := tk.clock.SetStatus(clock.Status{
		Leap: v.Leap, Synchronized: true,
		MaxError: v.RootDelay/2 + dispersion, EstError: dispersion,
	})
	if err != nil {
		tk.quiet.Event(target(tk.log, "ntpd::daemon::system"), zerolog.WarnLevel, now, "status").Err(err).
			Msg("could not tell the kernel how good the clock is")
	}
	tk.told, tk.toldLeap = now, v.Leap
}

// offerDrift hands the base frequency to the keeper of the state directory if it is free; it takes the next one
// otherwise. The time that goes with it is the sources': it may be written later, when others have set the clock wrong,
// and a time in the future would make good certificates look expired at the next start (row KC19).
func (tk *timekeeper) offerDrift(rep *system.Report) {
	if tk.saved == nil || !rep.EstimateKnown || rep.State != system.Synchronized {
		return
	}
	d := drift{
		Frequency: tk.base, Sigma: rep.FreqSigma, StartupSpent: !rep.StartupAllowance,
		Saved: tk.clock.Now().Time(version.Built()).Add(rep.Offset),
	}
	select {
	case tk.saved <- d:
	default:
	}
}

// rest is the orderly end.
func (tk *timekeeper) rest() error {
	if !tk.steers {
		return nil
	}
	if err := tk.clock.Rest(); err != nil && !errors.Is(err, clock.ErrReadOnly) {
		// At an end that was asked for nobody else tells of it.
		target(tk.log, "ntpd::daemon::system").Error().Err(err).Msg("the clock was not left at its base frequency")
		return fmt.Errorf("leave the clock at its base frequency: %w", err)
	}
	return nil
}

// notices writes the lines that the system process composed.
func (tk *timekeeper) notices(list []system.Notice) {
	for _, n := range list {
		log := logging.Target(tk.log, n.Target)
		log.WithLevel(levelOf(n.Level)).Msg(n.Text)
	}
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
