package system

import (
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/ntp"
)

// protected makes the samples of a poll those of an authenticated source.
func protected(m *ntp.Measurement) { m.Authenticated = true }

// synchronized is a bench whose clock follows n sources.
func synchronized(t *testing.T, n int, change func(*ntp.Measurement), params func(*Params)) (*bench, []ntp.SourceID) {
	t.Helper()
	b := newBench(t, noon, params)
	ids := make([]ntp.SourceID, n)
	for i := range ids {
		ids[i] = ntp.SourceID(i + 1)
	}
	b.add(ids...)
	b.poll(20, change, ids...)
	if b.sys.State() != Synchronized {
		t.Fatalf("state %v", b.sys.State())
	}
	return b, ids
}

// stepped is when the clock was stepped after d of samples, 0 if it was not.
func (b *bench) stepped(d time.Duration, change func(*ntp.Measurement), ids ...ntp.SourceID) time.Duration {
	begin, n := b.local, len(b.steers)
	for b.local-begin < d {
		b.poll(1, change, ids...)
		for _, s := range b.steers[n:] {
			if s.Kind == algorithm.SteerStep {
				return b.local - begin
			}
		}
	}
	return 0
}

// TestHold_WhatIsAccepted: a claim beyond the limit is accepted if it looks like a machine that was paused, and after the
// time that those who claim it are worth.
func TestHold_WhatIsAccepted(t *testing.T) {
	half := func(m *ntp.Measurement) { m.Authenticated = m.Source <= 2 }
	for _, row := range []struct {
		name     string
		sources  int
		by       func(*ntp.Measurement)
		jump     time.Duration
		params   func(*Params)
		accepted time.Duration // 0: never
	}{
		{"authenticated, forward", 2, protected, 1500 * sec, nil, 5 * time.Minute},
		{"plain, forward", 3, nil, 1500 * sec, nil, 30 * time.Minute},
		{"half of four authenticated", 4, half, 1500 * sec, nil, 30 * time.Minute},
		{"two of three authenticated", 3, half, 1500 * sec, nil, 5 * time.Minute},
		{"two plain ones", 2, nil, 1500 * sec, nil, 0},
		{"backward", 4, protected, -1500 * sec, nil, 0},
		{"nearly a day", 4, protected, 86399 * sec, nil, 5 * time.Minute},
		{"a day", 4, protected, 86401 * sec, nil, 0},
		{"beyond the sum that was set", 3, protected, 100 * sec, func(p *Params) { p.AccumulatedSteps = 50 * sec }, 0},
		{"a narrow limit", 3, protected, 12 * sec, func(p *Params) { p.SingleStep = StepLimit{10 * sec, 10 * sec} }, 5 * time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, ids := synchronized(t, row.sources, row.by, row.params)
			b.truth += row.jump
			at := b.stepped(40*time.Minute, row.by, ids...)
			r := b.sys.Report()
			if row.accepted == 0 {
				if at != 0 || r.State != Refused || b.view.Synchronized || b.view.Stratum != ntp.MaxStratum || b.refusal != "" {
					t.Errorf("stepped after %v, state %v, view %+v, ends with %q", at, r.State, *b.view, b.refusal)
				}
				if strings.Contains(r.Refusal.Text, "Accepted by itself") || !strings.Contains(r.Refusal.Text, "ntp-ctl force-sync") {
					t.Errorf("said: %s", r.Refusal.Text)
				}
				return
			}
			if at < row.accepted || at > row.accepted+30*sec {
				t.Errorf("stepped after %v, want %v", at, row.accepted)
			}
			b.poll(10, row.by, ids...)
			if r := b.sys.Report(); r.State != Synchronized || !b.view.Synchronized || r.Refusal != (Refusal{}) {
				t.Errorf("then state %v, refusal %+v", r.State, r.Refusal)
			}
			if b.told("a step of") != 1 || b.told("a step beyond") != 1 || b.told("the clock is steered again") != 1 {
				t.Errorf("notices %+v", b.notices)
			}
		})
	}
}

// TestHold_NotTwiceADay: sources that nothing authenticates get one exception a day, and what they got outlives a restart.
func TestHold_NotTwiceADay(t *testing.T) {
	b, ids := synchronized(t, 3, nil, nil)
	b.truth += 1500 * sec
	if b.stepped(31*time.Minute, nil, ids...) == 0 {
		t.Fatal("not accepted")
	}
	if s := b.sys.Report().Spent; s.Sum.Round(sec) != 1500*sec || !s.Excepted {
		t.Errorf("spent %+v", s)
	}
	b.truth += 1500 * sec
	if at := b.stepped(2*time.Hour, nil, ids...); at != 0 {
		t.Errorf("accepted again after %v", at)
	}
	if at := b.stepped(6*time.Minute, protected, ids...); at == 0 {
		t.Error("authenticated sources were held to the others' limit")
	}
	t.Run("another day", func(t *testing.T) {
		b.truth += 1500 * sec
		b.poll(60, nil, ids...)
		b.pass(25 * time.Hour)
		if b.stepped(31*time.Minute, nil, ids...) == 0 {
			t.Error("not accepted")
		}
	})
	t.Run("a restart", func(t *testing.T) {
		b, ids := synchronized(t, 3, nil, func(p *Params) { p.StartupSpent, p.Spent = true, Spent{Excepted: true} })
		b.truth += 1500 * sec
		if at := b.stepped(40*time.Minute, nil, ids...); at != 0 {
			t.Errorf("accepted after %v", at)
		}
	})
}

// TestHold_MustLast: a claim that changes, pauses, or loses those who made it better begins anew.
func TestHold_MustLast(t *testing.T) {
	for name, disturb := range map[string]func(b *bench, ids []ntp.SourceID){
		"another size": func(b *bench, ids []ntp.SourceID) { b.truth += 20 * sec },
		"by others":    func(b *bench, ids []ntp.SourceID) { b.poll(60, nil, ids...) },
		"a pause":      func(b *bench, ids []ntp.SourceID) { b.pass(10 * time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			b, ids := synchronized(t, 3, protected, nil)
			b.truth += 1500 * sec
			b.poll(100, protected, ids...)
			disturb(b, ids)
			if at := b.stepped(20*time.Minute, protected, ids...); at < 4*time.Minute+50*sec {
				t.Errorf("accepted after %v", at)
			}
		})
	}
}

// TestHold_ClaimGoesAway: the clock was right all the time, and is steered again as soon as the sources say so.
func TestHold_ClaimGoesAway(t *testing.T) {
	b, ids := synchronized(t, 3, nil, nil)
	b.truth -= 5000 * sec
	b.poll(100, nil, ids...)
	if b.sys.State() != Refused || b.view.Synchronized {
		t.Fatalf("state %v", b.sys.State())
	}
	n := len(b.steers)
	b.truth += 5000 * sec
	b.poll(30, nil, ids...)
	for _, s := range b.steers[n:] {
		if s.Kind == algorithm.SteerStep && s.Step.Abs() > sec {
			t.Errorf("step %v", s.Step)
		}
	}
	if r := b.sys.Report(); r.State != Synchronized || r.Refusal != (Refusal{}) || r.Refusals[LimitSingle] != 1 || !b.view.Synchronized {
		t.Errorf("state %v, refusal %+v, refused %v", r.State, r.Refusal, r.Refusals)
	}
}

// TestHold_SetByAnOperator: 'ntp-ctl force-sync' sets the clock from outside. Whatever was refused before is forgiven.
func TestHold_SetByAnOperator(t *testing.T) {
	for name, params := range map[string]func(*Params){
		"single":      nil,
		"accumulated": func(p *Params) { p.AccumulatedSteps = 60 * ms },
		"a day's":     func(p *Params) { p.UnauthenticatedSteps = 60 * ms },
	} {
		t.Run(name, func(t *testing.T) {
			b, ids := synchronized(t, 3, nil, params)
			b.truth += 50 * ms
			b.poll(20, nil, ids...)
			b.truth -= 5000 * sec
			b.poll(100, nil, ids...)
			if b.sys.State() != Refused {
				t.Fatalf("state %v", b.sys.State())
			}
			b.apply(ntp.LedgerEntry{Step: -5000*sec + 50*ms, Foreign: true})
			b.epoch++
			b.handle(ForeignStep{})
			b.poll(20, nil, ids...)
			if r := b.sys.Report(); r.State != Synchronized || r.Refusal != (Refusal{}) || r.Steps != 2 {
				t.Errorf("state %v, refusal %+v, %d steps", r.State, r.Refusal, r.Steps)
			}
		})
	}
}

// TestHold_SlewEnds: a slew that was under way when the sources became unbelievable ends where it was to end, and the
// frequency of those sources teaches nothing.
func TestHold_SlewEnds(t *testing.T) {
	b, ids := synchronized(t, 3, nil, nil)
	b.truth += 8 * ms // slewed
	b.poll(12, nil, ids...)
	slew := b.ledger.Last().Frequency
	if slew < 50e-6 {
		t.Fatalf("no slew: %g", slew)
	}
	b.truth += 5000 * sec
	b.poll(300, nil, ids...)
	if f := b.ledger.Last().Frequency; b.sys.State() != Refused || f > 20e-6 || f < -20e-6 {
		t.Errorf("state %v, still at %g", b.sys.State(), f)
	}
	if b.wait < 100*ms {
		t.Errorf("busy: wait %v", b.wait)
	}
}

// TestHold_LocalStratum: an island's clock goes on while the sources ask for what nobody believes.
func TestHold_LocalStratum(t *testing.T) {
	b, ids := synchronized(t, 3, nil, func(p *Params) { p.LocalStratum = 10 })
	b.truth -= 5000 * sec
	b.poll(100, nil, ids...)
	if r := b.sys.Report(); r.State != LocalClock || b.view.Stratum != 10 || !b.view.Synchronized || r.Refusal.Limit != LimitSingle {
		t.Errorf("state %v, view %+v, refusal %+v", r.State, *b.view, r.Refusal)
	}
}
