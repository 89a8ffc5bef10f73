package algorithm

import (
	"math"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

func TestSteer(t *testing.T) {
	for _, row := range []struct {
		name   string
		e      Estimate
		now    float64 // frequency in force
		params func(*Params)
		want   Steer
		wait   time.Duration
	}{
		{"on target", Estimate{Frequency: 1e-6}, 1e-6, nil, Steer{}, 0},
		{"frequency only", Estimate{Frequency: 1e-6}, 0, nil, Steer{Kind: SteerSlew, Frequency: 1e-6}, 0},
		{"small offset", Estimate{Offset: 80 * us}, 0, nil, Steer{Kind: SteerSlew, Frequency: 10e-6}, 8 * sec},
		{"negative", Estimate{Offset: -80 * us, Frequency: 1e-6}, 0, nil, Steer{Kind: SteerSlew, Frequency: -9e-6}, 8 * sec},
		{"at the slew limit", Estimate{Offset: 8 * ms}, 0, nil, Steer{Kind: SteerSlew, Frequency: 200e-6}, 40 * sec},
		{"step", Estimate{Offset: 50 * ms}, 0, nil, Steer{Kind: SteerStep, Step: 50 * ms}, stepSettle},
		{"step back", Estimate{Offset: -sec}, 0, nil, Steer{Kind: SteerStep, Step: -sec}, stepSettle},
		{"too uncertain to step", Estimate{Offset: 50 * ms, VarOffset: 9e-4}, 0, nil, Steer{Kind: SteerSlew, Frequency: 200e-6}, 250 * sec},
		{"threshold of a second", Estimate{Offset: 50 * ms, Frequency: 20e-6}, 0,
			func(p *Params) { p.StepThreshold = 1 }, Steer{Kind: SteerSlew, Frequency: 220e-6}, 250 * sec},
		{"never step", Estimate{Offset: time.Hour}, 0,
			func(p *Params) { p.StepThreshold = math.Inf(1) }, Steer{Kind: SteerSlew, Frequency: 200e-6}, maxSlewWait},
		{"kernel limit", Estimate{Offset: 8 * ms, Frequency: 400e-6}, 0, nil,
			Steer{Kind: SteerSlew, Frequency: 495e-6}, 84210526316},
		{"beyond the kernel", Estimate{Offset: 8 * ms, Frequency: 0.01}, 0, nil, Steer{Kind: SteerSlew, Frequency: 495e-6}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := loose()
			if row.params != nil {
				row.params(&p)
			}
			d := New(p)
			d.Applied(ntp.LedgerEntry{Frequency: row.now})
			dec := Decision{Estimate: row.e}
			d.steer(&dec, 0)
			s, wait := dec.Steer, dec.Wait
			if s.Kind != row.want.Kind || s.Step != row.want.Step || math.Abs(s.Frequency-row.want.Frequency) > 1e-15 {
				t.Errorf("got %+v, want %+v", s, row.want)
			}
			if (wait - row.wait).Abs() > 10 {
				t.Errorf("wait %v, want %v", wait, row.wait)
			}
		})
	}
}

// TestSteer_Pace: an offset that may be noise is removed over half of the shortest interval between samples, one that cannot be
// without delay.
func TestSteer_Pace(t *testing.T) {
	for _, row := range []struct {
		name   string
		offset time.Duration
		poll   [2]ntp.PollExp
		wait   time.Duration
	}{
		{"significant", 9 * ms, [2]ntp.PollExp{10, 10}, 9 * ms * 1e6 / 200},
		{"may be noise", 100 * us, [2]ntp.PollExp{10, 10}, 512 * sec},
		{"the shortest interval counts", 100 * us, [2]ntp.PollExp{10, 7}, 64 * sec},
		{"not below the minimum", 100 * us, [2]ntp.PollExp{3, 3}, 8 * sec},
	} {
		t.Run(row.name, func(t *testing.T) {
			cs := []candidate{{t: &tracker{}, verdict: Selected}, {t: &tracker{}, verdict: Selected}, {t: &tracker{}, verdict: Falseticker}}
			for i, p := range row.poll {
				cs[i].t.last.Poll = p
			}
			dec := Decision{Estimate: Estimate{Offset: row.offset, VarOffset: 60e-6 * 60e-6}}
			New(loose()).steer(&dec, pace(cs))
			if (dec.Wait - row.wait).Abs() > 10*us {
				t.Errorf("takes %v, want %v", dec.Wait, row.wait)
			}
		})
	}
}

// TestSteer_SlewEnds also when the sources are lost in its midst.
func TestSteer_SlewEnds(t *testing.T) {
	d := New(loose())
	l := ntp.NewLedger(1<<60, 0)
	d.Applied(l.Last())
	p := newPath(1, 100*us, us)
	p.lie, p.freq = 4*ms, 10e-6
	at := feed(d, 0, 5, p)
	dec := d.Decide(at)
	if dec.Steer.Kind != SteerSlew || dec.Wait < sec {
		t.Fatalf("no slew: %+v", dec.Steer)
	}
	l = l.Append(ntp.LedgerEntry{Time: reading(l, at), Frequency: dec.Steer.Frequency, Steer: dec.Steer.Number}, 0)
	d.Follow(&dec)
	d.Applied(l.Last())
	d.Forget(1)
	if dec := d.Decide(at.Add(sec)); dec.Steer.Kind != SteerNone || dec.Wait <= 0 {
		t.Errorf("in the midst: %+v, wait %v", dec.Steer, dec.Wait)
	}
	dec = d.Decide(at.Add(dec.Wait))
	if dec.Steer.Kind != SteerSlew || math.Abs(dec.Steer.Frequency-p.freq) > 5e-6 || dec.Wait != 0 {
		t.Errorf("at the end: %+v, wait %v", dec.Steer, dec.Wait)
	}
	if again := d.Decide(at.Add(time.Minute)); again.Steer.Kind != SteerSlew || again.Steer.Frequency != dec.Steer.Frequency {
		t.Errorf("an end that was not confirmed is not tried again: %+v", again.Steer)
	}
	d.Follow(&dec)
	l = l.Append(ntp.LedgerEntry{Time: reading(l, at.Add(time.Minute)), Frequency: dec.Steer.Frequency, Steer: dec.Steer.Number}, 0)
	d.Applied(l.Last())
	if dec := d.Decide(at.Add(time.Hour)); dec.Steer.Kind != SteerNone {
		t.Errorf("writes to the clock without a source: %+v", dec.Steer)
	}
}

// TestSteer_ConfirmedByNumber: a slew begins with the entry that carries the number of the decision that was followed;
// neither a decision that nobody followed nor a change that merely looks like it begins one.
func TestSteer_ConfirmedByNumber(t *testing.T) {
	for _, row := range []struct {
		name             string
		followed, number bool
		slews            bool
	}{
		{"followed and confirmed", true, true, true},
		{"not followed", false, true, false},
		{"another change to the same frequency", true, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := New(loose())
			l := ntp.NewLedger(1<<60, 0)
			d.Applied(l.Last())
			p := newPath(1, 100*us, us)
			p.lie = 4 * ms
			at := feed(d, 0, 5, p)
			dec := d.Decide(at)
			if row.followed {
				d.Follow(&dec)
			}
			e := ntp.LedgerEntry{Time: reading(l, at), Frequency: dec.Steer.Frequency}
			if row.number {
				e.Steer = dec.Steer.Number
			}
			d.Applied(l.Append(e, 0).Last())
			if d.slew.on != row.slews || dec.Steer.Number == 0 {
				t.Errorf("slew %+v of %+v", d.slew, dec.Steer)
			}
		})
	}
}
