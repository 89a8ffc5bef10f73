package system

import (
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// TestPhase walks through the state order: what each event makes of the phase, and what is served meanwhile.
func TestPhase(t *testing.T) {
	b := newBench(t, noon, func(p *Params) { p.HoldOver = 100 * ms })
	expect := func(what string, kind phaseKind, deadline bool, state State) {
		t.Helper()
		if p := b.sys.phase; p.kind != kind || p.deadline.IsZero() == deadline || b.sys.State() != state {
			t.Errorf("%s: phase %+v, state %v", what, p, b.sys.State())
		}
	}
	b.handle(Tick{})
	b.add(1, 2, 3)
	expect("start", searching, false, Unsynchronized)
	b.pass(sec)
	b.handle(Measured{b.sample(1, 0)})
	expect("first of three sources", waiting, true, Unsynchronized)
	if left := b.sys.phase.deadline.Sub(b.now().Mono); left != startupLimit {
		t.Errorf("waits %v", left)
	}
	b.poll(4, nil, 1)
	expect("still alone", waiting, true, Unsynchronized)
	b.poll(2, nil, 1)
	expect("deadline", following, false, Synchronized)
	b.apply(ntp.LedgerEntry{Step: time.Minute, Foreign: true})
	b.epoch++
	expect("foreign step", searching, false, Unsynchronized)
	b.handle(ForeignStep{})
	b.poll(4, nil, 1, 2) // two seconds before the deadline
	expect("majority", following, false, Synchronized)
	b.poll(3, nil, 1, 2)
	b.handle(Removed{ID: 1})
	b.handle(Removed{ID: 2})
	expect("sources gone", searching, false, HoldOver)
	b.pass(100 * time.Hour)
	expect("bound too wide", searching, false, Unsynchronized)
	b.truth = 5000 * sec
	b.poll(10, nil, 3)
	expect("step beyond the limit", refused, false, Refused)
	b.apply(ntp.LedgerEntry{Step: time.Minute, Foreign: true})
	b.epoch++
	expect("set by an operator", searching, false, Unsynchronized)
	b.handle(ForeignStep{})
	b.sys.params.PanicAction = PanicExit
	b.poll(10, nil, 3)
	expect("again", refused, false, Refused)
	b.apply(ntp.LedgerEntry{Step: time.Minute, Foreign: true})
	b.handle(ForeignStep{})
	expect("for good", refused, false, Refused)
}
