package timekeeper

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
)

// outcome is one answer of a clock.
type outcome struct {
	reading ntp.Timestamp
	epoch   uint64
	entry   ntp.LedgerEntry
	foreign ntp.ForeignChange
	changed bool
	err     error
}

// tape is a Clock that records the answers of another, or, without one, gives the recorded ones again.
type tape struct {
	of      Clock
	answers []outcome
}

func (t *tape) next(ask func(Clock, *outcome)) outcome {
	if t.of == nil {
		o := t.answers[0]
		t.answers = t.answers[1:]
		return o
	}
	var o outcome
	ask(t.of, &o)
	t.answers = append(t.answers, o)
	return o
}

func (t *tape) Now() ntp.Timestamp {
	return t.next(func(c Clock, o *outcome) { o.reading = c.Now() }).reading
}

func (t *tape) Epoch() uint64 {
	return t.next(func(c Clock, o *outcome) { o.epoch = c.Epoch() }).epoch
}

func (t *tape) SetBase(f float64) error {
	return t.next(func(c Clock, o *outcome) { o.err = c.SetBase(f) }).err
}

func (t *tape) SetFrequency(f float64) (ntp.LedgerEntry, error) {
	o := t.next(func(c Clock, o *outcome) { o.entry, o.err = c.SetFrequency(f) })
	return o.entry, o.err
}

func (t *tape) Step(d time.Duration) (ntp.LedgerEntry, error) {
	o := t.next(func(c Clock, o *outcome) { o.entry, o.err = c.Step(d) })
	return o.entry, o.err
}

func (t *tape) SetStatus(s ntp.ClockStatus) error {
	return t.next(func(c Clock, o *outcome) { o.err = c.SetStatus(s) }).err
}

func (t *tape) CheckForeign() (ntp.ForeignChange, bool) {
	o := t.next(func(c Clock, o *outcome) { o.foreign, o.changed = c.CheckForeign() })
	return o.foreign, o.changed
}

func (t *tape) Rest() error {
	return t.next(func(c Clock, o *outcome) { o.err = c.Rest() }).err
}

// TestTurn_Replay: the arguments of Turn and the answers of the clock are all that a decision depends on. A run with
// samples, a foreign step, and a permission that is lost and regained gives the same effects when it is replayed.
func TestTurn_Replay(t *testing.T) {
	type input struct {
		now time.Time
		ev  system.Event
	}
	params := system.Defaults()
	params.Algorithm.MinimumAgreeing = 1
	b := newBench(t, params, 5e-6)
	recorded := &tape{of: b.c}
	b.Keeper = New(recorded, 5e-6, params)
	var inputs []input
	var effects []string
	turn := func(ev system.Event) {
		inputs = append(inputs, input{b.now(), ev})
		effects = append(effects, show(b.Turn(b.now(), ev)))
		b.c.local += 2 * time.Millisecond
	}
	turn(system.Added{ID: 1, Name: "test"})
	for i := range 60 {
		switch i {
		case 20:
			b.c.meddle(-time.Second)
		case 40:
			b.c.refusal = ntp.ErrClockPermission
		case 45:
			b.c.refusal = nil
			b.c.local += permissionRetry
		}
		offset := 20*time.Millisecond + time.Duration(i%3)*10*time.Microsecond
		if i >= 40 {
			offset -= 5 * time.Second // something to correct while it is refused
		}
		turn(b.reply(offset))
	}
	all := strings.Join(effects, "\n")
	for _, met := range []string{"Jumped offset", "stepped the clock", "could not be corrected", "can be corrected again"} {
		if !strings.Contains(all, met) {
			t.Errorf("the run did not meet %q", met)
		}
	}

	played := &tape{answers: recorded.answers}
	k := New(played, 5e-6, params)
	for i, in := range inputs {
		if again := show(k.Turn(in.now, in.ev)); again != effects[i] {
			t.Fatalf("turn %d: %s\nreplayed: %s", i, effects[i], again)
		}
	}
	if len(played.answers) != 0 {
		t.Errorf("%d answers were not asked for again", len(played.answers))
	}
}

// show prints everything that effects hold.
func show(fx Effects) string {
	text := fmt.Sprintf("%+v %v %+v %v", fx.Advice, fx.Wait, fx.Notices, fx.Err)
	if fx.View != nil {
		text += fmt.Sprintf(" view %+v", *fx.View)
	}
	if fx.Report != nil {
		text += fmt.Sprintf(" report %+v", *fx.Report)
	}
	if fx.Frequency != nil {
		text += fmt.Sprintf(" frequency %+v", *fx.Frequency)
	}
	return text
}
