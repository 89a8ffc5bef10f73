package program

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// The gaps between tries of a part that is down: the first is short enough for an address that is just being
// configured, the last for an operator who has mended a file and looks whether it helped.
const (
	firstPartGap = time.Second
	lastPartGap  = time.Minute
	// partReminder is how often one that stays down for the same reason is said again.
	partReminder = 24 * time.Hour
)

// Part is something that a program can do without for a while, such as one listener: what keeps it down costs the part
// and not the program (docs/rules/lifecycle.md#parts). It is either up, when Open has succeeded and Serve runs, or down
// for a reason that is logged and shown, and then opened again at growing gaps, or at once after Again. Make it with
// NewPart.
type Part struct {
	Name string // for the log and for status
	// Open gets what the part needs, or says in one line what is in the way and what would help. It is called by Try
	// and by Run, never at the same time.
	Open func() error
	// Serve uses it until ctx ends and gives it up then, also if ctx has ended before. An error before that is the part's loss, and it is opened anew.
	Serve func(ctx context.Context) error
	// Ends says of an error of Open whether it ends the start of the program, which then says it itself; nil: none does.
	Ends func(error) bool

	log   zerolog.Logger
	down  atomic.Pointer[PartDown]
	again chan struct{}

	open bool      // by Try, or by Run
	told time.Time // when the present reason was last logged
}

// PartDown says since when a part is down, and why.
type PartDown struct {
	Since  time.Time
	Reason string // for the operator; may name paths and addresses
}

// NewPart makes a part that is down.
func NewPart(name string, log zerolog.Logger, open func() error, serve func(context.Context) error) *Part {
	p := &Part{Name: name, Open: open, Serve: serve, log: log, again: make(chan struct{}, 1)}
	p.down.Store(&PartDown{time.Now(), "not tried yet"})
	return p
}

// Try opens the part once, with the powers that the program has before it gives them up. The error is the reason why
// it is down; whether the program can start without is for the caller.
func (p *Part) Try() error { return p.try(time.Now(), p.Ends) }

func (p *Part) try(now time.Time, ends func(error) bool) error {
	if p.open {
		return nil
	}
	err := p.Open()
	if err == nil {
		p.open = true
		if p.down.Swap(nil); !p.told.IsZero() {
			p.told = time.Time{}
			p.log.Info().Msgf("%s is up again", p.Name)
		}
		return nil
	}
	if ends == nil || !ends(err) {
		p.fail(now, err)
	}
	return err
}

// fail notes the reason, and logs it when it is new or has long not been said.
func (p *Part) fail(now time.Time, err error) {
	was := p.down.Load()
	since := now
	if was != nil && !p.told.IsZero() {
		since = was.Since
	}
	p.down.Store(&PartDown{since, err.Error()})
	if was == nil || p.told.IsZero() || was.Reason != err.Error() || now.Sub(p.told) >= partReminder {
		p.told = now
		p.log.Warn().Str("error", err.Error()).Msgf("%s is down, everything else runs; it is tried again", p.Name)
	}
}

// Run owns the part until ctx ends: it serves while the part is up, and opens it again at growing gaps while it is down.
func (p *Part) Run(ctx context.Context) error {
	gap := firstPartGap
	for ctx.Err() == nil {
		if p.open {
			gap = firstPartGap
			err := p.Serve(ctx)
			p.open = false
			if ctx.Err() != nil {
				break
			}
			if err != nil {
				p.fail(time.Now(), err)
			}
		}
		timer := time.NewTimer(gap)
		select {
		case <-ctx.Done():
		case <-timer.C:
			gap = min(2*gap, lastPartGap)
		case <-p.again:
			gap = firstPartGap
		}
		timer.Stop()
		if ctx.Err() == nil {
			_ = p.try(time.Now(), nil)
		}
	}
	return nil
}

// Close releases what Try opened and Run has not served; it may be called after Run.
func (p *Part) Close() {
	if !p.open {
		return
	}
	p.open = false
	ended, end := context.WithCancel(context.Background())
	end()
	_ = p.Serve(ended)
}

// Again asks for a try now, because something has changed; one that is up does not notice.
func (p *Part) Again() {
	select {
	case p.again <- struct{}{}:
	default:
	}
}

// Down is why the part is down; nil: it is up.
func (p *Part) Down() *PartDown { return p.down.Load() }
