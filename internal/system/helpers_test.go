package system

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/ntp"
)

const (
	us  = time.Microsecond
	ms  = time.Millisecond
	sec = time.Second
)

// bench drives a System without a world: perfect stamps, a clock that does what it is told.
type bench struct {
	t      *testing.T
	sys    *System
	start  ntp.Timestamp
	ledger ntp.Ledger
	local  time.Duration // since the start
	epoch  uint64

	truth   time.Duration // true time minus clock at the start
	view    *ntp.View
	steers  []algorithm.Steer
	advice  []ntp.Advice
	notices []Notice
	refusal string
	wait    time.Duration
	due     time.Duration // of the Tick
}

func newBench(t *testing.T, start time.Time, change func(*Params)) *bench {
	p := Defaults()
	p.Algorithm.MinimumAgreeing = 1
	p.Serves = true
	if change != nil {
		change(&p)
	}
	b := &bench{t: t, sys: New(p), start: ntp.FromTime(start)}
	b.ledger = ntp.NewLedger(b.start, 0)
	b.sys.Applied(b.ledger.Last())
	return b
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (b *bench) now() Now {
	return Now{
		Mono: time.Unix(1000, 0).Add(b.local), Local: ntp.Local(b.local),
		Clock: reading(b.ledger, ntp.Local(b.local)), Epoch: b.epoch,
	}
}

func (b *bench) handle(ev Event) Effects {
	fx := b.sys.Handle(b.now(), ev)
	b.wait, b.due = fx.Wait, b.local+fx.Wait
	b.advice = append(b.advice, fx.Advice...)
	b.notices = append(b.notices, fx.Notices...)
	if fx.View != nil {
		b.view = fx.View
	}
	if fx.Refusal != "" {
		b.refusal = fx.Refusal
	}
	if fx.Steer.Kind != algorithm.SteerNone {
		b.steers = append(b.steers, fx.Steer)
	}
	switch fx.Steer.Kind {
	case algorithm.SteerStep:
		b.epoch++
		b.apply(ntp.LedgerEntry{Step: fx.Steer.Step, Frequency: b.ledger.Last().Frequency, Steer: fx.Steer.Number})
	case algorithm.SteerSlew:
		b.apply(ntp.LedgerEntry{Frequency: fx.Steer.Frequency, Steer: fx.Steer.Number})
	}
	return fx
}

func (b *bench) apply(e ntp.LedgerEntry) {
	e.Time = b.now().Clock.Add(e.Step)
	b.ledger = b.ledger.Append(e, time.Duration(ntp.Local(b.local)-b.ledger.Last().Local))
	b.sys.Applied(b.ledger.Last())
}

// pass lets time go by, with a Tick whenever one was asked for.
func (b *bench) pass(d time.Duration) {
	end := b.local + d
	for b.due > 0 && b.due <= end {
		b.local = max(b.due, b.local)
		b.handle(Tick{})
	}
	b.local = end
}

func (b *bench) add(ids ...ntp.SourceID) {
	for _, id := range ids {
		b.handle(Added{ID: id, Name: "test:123", Address: address(id)})
	}
}

func address(id ntp.SourceID) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(id)}), 123)
}

// sample is a perfect one of a source that is wrong by lie.
func (b *bench) sample(id ntp.SourceID, lie time.Duration) ntp.Measurement {
	return ntp.Measurement{
		Source: id, At: ntp.Local(b.local), TrueGap: b.truth + lie, RTT: 200 * us, Poll: 4, Stratum: 2, Version: 4,
		RefID: ntp.RefIDFromString("GPS"), Precision: 100, Epoch: b.epoch,
		RootDelay: 3 * ms, RootDispersion: ms,
	}
}

// poll gives every source one sample per second for n seconds.
func (b *bench) poll(n int, change func(*ntp.Measurement), ids ...ntp.SourceID) {
	for range n {
		b.pass(sec)
		for _, id := range ids {
			m := b.sample(id, 0)
			if change != nil {
				change(&m)
			}
			b.handle(Measured{m})
		}
	}
}

func (b *bench) told(start string) int {
	n := 0
	for _, l := range b.notices {
		if strings.HasPrefix(l.Text, start) {
			n++
		}
	}
	return n
}

// reading is what the clock shows at an oscillator time at or after the newest entry of its ledger.
func reading(l ntp.Ledger, at ntp.Local) ntp.Timestamp {
	last := l.Last()
	return last.Time.Add(at.Sub(last.Local) + last.ClockGapAt(at) - last.ClockGap)
}
