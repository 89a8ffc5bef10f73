package system

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
)

// TestView: what clients are told once a source is followed.
func TestView(t *testing.T) {
	b := newBench(t, noon, nil)
	b.handle(Tick{})
	if v := b.view; v.Synchronized || v.Leap != ntp.LeapUnknown || v.Stratum != ntp.MaxStratum || v.RefID.Text() != "XNON" {
		t.Errorf("S11 at the start: %+v", *v)
	}
	b.truth = 250 * ms
	b.add(1, 2)
	b.poll(10, func(m *ntp.Measurement) {
		if m.Source == 2 {
			m.RootDispersion = 9 * ms
		}
	}, 1, 2)
	v := b.view
	if !v.Synchronized || v.Stratum != 3 || v.RefID != ntp.RefIDFromAddr(address(1).Addr()) || v.Leap != 0 {
		t.Errorf("%+v", *v)
	}
	if v.RootDelay != 3*ms+200*us {
		t.Errorf("root delay %v", v.RootDelay)
	}
	if v.Dispersion < ms || v.Dispersion > 5*ms || v.Wander <= 0 {
		t.Errorf("dispersion %v, wander %v", v.Dispersion, v.Wander)
	}
	if age := b.now().Clock.Sub(v.Reference); age < 0 || age > 10*ms {
		t.Errorf("reference is %v old", age)
	}
	r := b.sys.Report()
	if r.State != Synchronized || r.Sources[0].Role != RolePeer || r.Sources[1].Role != RoleSelected || r.Steps != 1 {
		t.Errorf("%+v", r)
	}
}

// TestView_AfterStep: the view that goes with a step is about the clock after it.
func TestView_AfterStep(t *testing.T) {
	b := newBench(t, noon, nil)
	b.truth = time.Hour
	b.add(1)
	b.poll(3, nil, 1)
	if len(b.steers) == 0 || b.steers[0].Kind != algorithm.SteerStep {
		t.Fatalf("%+v", b.steers)
	}
	if v := b.view; v.Dispersion > 5*ms || b.now().Clock.Sub(v.Reference).Abs() > 20*ms {
		t.Errorf("dispersion %v, reference %v old", v.Dispersion, b.now().Clock.Sub(v.Reference))
	}
	if o := b.sys.Report().Offset; o.Abs() > ms {
		t.Errorf("report still says %v", o)
	}
}

// TestFirstUpdate comes within 8 s, whether all sources answer or not.
func TestFirstUpdate(t *testing.T) {
	for _, row := range []struct {
		name   string
		silent int
	}{{"all answer", 0}, {"most are silent", 4}} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t, noon, nil)
			b.truth = 300 * ms
			b.add(1)
			for i := range row.silent {
				b.add(ntp.SourceID(i + 2))
			}
			b.poll(4, nil, 1)
			b.pass(4 * sec)
			if len(b.steers) == 0 || b.steers[0].Kind != algorithm.SteerStep {
				t.Errorf("nothing after 8 s: %+v", b.steers)
			}
		})
	}
}

// TestC25_EarlyLiar: the first to answer lies; nothing moves before the others had their chance.
func TestC25_EarlyLiar(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1, 2, 3)
	for range 5 {
		b.pass(500 * ms)
		b.handle(Measured{b.sample(1, 10*sec)})
	}
	b.poll(10, nil, 2, 3)
	for _, s := range b.steers {
		if s.Kind == algorithm.SteerStep {
			t.Errorf("stepped by %v", s.Step)
		}
	}
	if r := b.sys.Report(); r.Sources[0].Role != RoleFalseticker || r.State != Synchronized {
		t.Errorf("liar is %v, state %v", r.Sources[0].Role, r.State)
	}
}

func TestWrongEpoch(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1)
	b.poll(10, func(m *ntp.Measurement) { m.Epoch++ }, 1)
	if r := b.sys.Report(); r.WrongEpoch != 10 || r.State != Unsynchronized {
		t.Errorf("%d dropped, %v", r.WrongEpoch, r.State)
	}
}

// TestUnknownSource: samples of a source that was removed meanwhile have no effect.
func TestUnknownSource(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1)
	b.poll(10, nil, 1)
	b.handle(Removed{ID: 1})
	b.poll(10, nil, 1)
	if r := b.sys.Report(); r.State != HoldOver || len(r.Sources) != 0 {
		t.Errorf("%v, %d sources", r.State, len(r.Sources))
	}
}

// TestObserve measures, serves and reports, and never touches the clock.
func TestObserve(t *testing.T) {
	b := newBench(t, noon, func(p *Params) { p.Observe = true })
	b.truth = 5000 * sec
	b.add(1)
	b.poll(10, nil, 1)
	b.truth = -90000 * sec
	b.poll(10, nil, 1)
	if r := b.sys.Report(); len(b.steers) != 0 || r.State != Unsynchronized || r.Selected != 1 || r.Offset.Round(sec) != -90000*sec {
		t.Errorf("steers %+v, report %+v", b.steers, r)
	}
	if b.view.Synchronized {
		t.Errorf("serves a clock that is known to be wrong: %+v", *b.view)
	}
	b.truth = 100 * ms
	b.poll(10, nil, 1)
	if v := b.view; !v.Synchronized || v.Dispersion < 100*ms || b.sys.State() != Synchronized {
		t.Errorf("the served bound hides the error: %+v", *v)
	}
	b.handle(Removed{ID: 1})
	b.pass(time.Minute)
	if len(b.steers) != 0 {
		t.Errorf("steers %+v", b.steers)
	}
}

func TestLocalStratum(t *testing.T) {
	for _, row := range []struct {
		name    string
		change  func(*Params)
		stratum ntp.Stratum
		refid   ntp.RefID
		after   time.Duration
	}{
		{"ten", func(p *Params) { p.LocalStratum = 10 }, 10, 0x7f7f0101, localAfter},
		{"one, by name", func(p *Params) {
			p.LocalStratum, p.LocalReference = 1, ntp.RefIDFromString("ABC")
		}, 1, ntp.RefIDFromString("ABC"), localAfter},
		{"no sources configured", func(p *Params) { p.LocalStratum, p.NoSources = 5, true }, 5, 0x7f7f0101, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t, noon, row.change)
			b.handle(Tick{})
			if row.after > 0 {
				b.pass(row.after - 10*ms)
				if b.view.Synchronized {
					t.Error("too early")
				}
				b.pass(20 * ms)
			}
			if v := b.view; !v.Synchronized || v.Stratum != row.stratum || v.RefID != row.refid || v.Leap != 0 {
				t.Errorf("%+v", *v)
			}
			b.pass(10 * time.Minute)
			if age := b.now().Clock.Sub(b.view.Reference); age > 90*sec {
				t.Errorf("reference is %v old", age)
			}
			if b.sys.Report().State != LocalClock {
				t.Errorf("%v", b.sys.Report().State)
			}
		})
	}
	t.Run("comes back after the sources go", func(t *testing.T) {
		b := newBench(t, noon, func(p *Params) { p.LocalStratum = 10 })
		b.add(1)
		b.poll(30, nil, 1)
		if b.view.Stratum != 3 {
			t.Fatalf("%+v", *b.view)
		}
		b.handle(Removed{ID: 1})
		b.pass(9 * sec)
		if b.view.Stratum != 3 {
			t.Error("too early")
		}
		b.pass(2 * sec)
		if b.view.Stratum != 10 {
			t.Errorf("%+v", *b.view)
		}
	})
}

func TestForeignStep(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1)
	b.poll(20, nil, 1)
	b.advice = nil
	b.epoch++
	b.apply(ntp.LedgerEntry{Step: time.Minute, Foreign: true})
	b.handle(ForeignStep{})
	if b.view.Synchronized || b.sys.Report().State != Unsynchronized {
		t.Errorf("serves an unknown clock: %+v", *b.view)
	}
	if len(b.advice) != 1 || !b.advice[0].PollNow || b.advice[0].Source != 1 {
		t.Errorf("advice %+v", b.advice)
	}
	b.poll(1, nil, 1)
	if last := b.steers[len(b.steers)-1]; last.Kind != algorithm.SteerStep || last.Step.Round(ms) != -time.Minute {
		t.Errorf("%+v", last)
	}
	if b.told("No consensus") != 0 {
		t.Error("cried wolf")
	}
}

// TestWake: the first source that answers after a long silence makes those ask that are silent too, and no others.
func TestWake(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1, 2, 3, 4)
	b.poll(20, nil, 1, 2, 3)
	asked := func() (ids []ntp.SourceID) {
		b.advice = nil
		b.handle(Measured{Measurement: b.sample(1, 0)})
		for _, a := range b.advice {
			if a.PollNow {
				ids = append(ids, a.Source)
			}
		}
		return ids
	}
	b.pass(200 * time.Second)
	if got := asked(); len(got) > 0 {
		t.Errorf("asked %v although nobody was silent for long", got)
	}
	b.pass(300 * time.Second)
	b.handle(Measured{Measurement: b.sample(3, 0)})
	if got := asked(); !slices.Equal(got, []ntp.SourceID{2}) {
		t.Errorf("asked %v, want the one that is silent", got)
	}
}

// TestK11_Late: nothing was heard for two minutes although a Tick was due.
func TestK11_Late(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1)
	b.poll(20, nil, 1)
	b.advice = nil
	b.local += 2 * time.Minute
	b.handle(Tick{})
	if len(b.advice) != 1 || !b.advice[0].PollNow {
		t.Errorf("advice %+v", b.advice)
	}
}

// TestNoConsensus_CountsSourcesWithoutAddress: a source that is configured and has no address is one of those that are needed.
func TestNoConsensus_CountsSourcesWithoutAddress(t *testing.T) {
	b := newBench(t, noon, func(p *Params) { p.Algorithm.MinimumAgreeing, p.Expected = 3, 3 })
	b.add(1, 2)
	b.poll(60, nil, 1, 2)
	if n := b.told("No consensus on current time: 2 of 3 sources usable, minimum-agreeing-sources is 3"); n != 1 {
		t.Errorf("told %d times: %+v", n, b.notices)
	}
}

// TestNotices have the reference suite's wording, once each.
func TestNotices(t *testing.T) {
	b := newBench(t, noon, func(p *Params) { p.Algorithm.MinimumAgreeing = 3 })
	b.add(1)
	b.poll(60, nil, 1)
	if n := b.told("No consensus on current time: 1 of 1 sources usable, minimum-agreeing-sources is 3"); n != 1 {
		t.Errorf("told %d times: %+v", n, b.notices)
	}
	b.truth = 50 * ms
	b.add(2, 3)
	b.poll(120, nil, 1, 2, 3)
	if b.told("synchronised: 3 of 3 sources agree") != 1 || b.told("Jumped offset by ") != 1 {
		t.Errorf("%+v", b.notices)
	}
	loud := 0
	for _, l := range b.notices {
		if l.Target == logtarget.Kalman && l.Level == Info {
			loud++
		}
	}
	if loud < loudLines || loud > loudLines+4 {
		t.Errorf("%d lines at Info", loud)
	}
}

// TestNotices_Flapping: a source on the edge of the consensus is told of once in five minutes.
func TestNotices_Flapping(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1, 2, 3)
	for i := range 20 {
		lie := time.Duration(i%2) * 50 * ms
		for range 10 {
			b.pass(sec)
			b.handle(Measured{b.sample(1, lie)})
			b.handle(Measured{b.sample(2, 0)})
			b.handle(Measured{b.sample(3, 0)})
		}
	}
	loud, all := 0, 0
	for _, l := range b.notices {
		if strings.HasPrefix(l.Text, "source SourceId(1)") {
			all++
			if l.Level > Debug {
				loud++
			}
		}
	}
	if loud != 1 || all < 5 {
		t.Errorf("%d of %d lines above debug", loud, all)
	}
}

func TestOffsetLine(t *testing.T) {
	var o offsetLines
	var fx Effects
	o.add(time.Time{}, &algorithm.Estimate{
		Offset: -43484615, VarOffset: 0.0625, Frequency: 2e-6, VarFreq: 100,
	}, 0, &fx)
	want := "Offset: -43.484615+-250ms, frequency: 2+-10000000ppm"
	if l := fx.Notices[0]; l.Text != want || l.Target != "ntp_proto::algorithm::kalman" || l.Level != Info {
		t.Errorf("%+v", l)
	}
}

// TestAdvice: a wish is passed on once.
func TestAdvice(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1)
	b.poll(400, func(m *ntp.Measurement) { m.Poll = 0 }, 1)
	for i, a := range b.advice {
		if a.Poll == 0 && !a.PollNow || i > 0 && a == b.advice[i-1] {
			t.Errorf("advice %+v", b.advice)
			break
		}
	}
	if len(b.advice) == 0 {
		t.Error("perfect samples want no longer interval")
	}
}

func BenchmarkHandle(b *testing.B) {
	t := &bench{sys: New(Defaults()), start: ntp.FromTime(noon)}
	t.ledger = ntp.NewLedger(t.start, 0)
	t.add(1, 2, 3, 4)
	for b.Loop() {
		t.local += sec
		for id := ntp.SourceID(1); id <= 4; id++ {
			t.handle(Measured{t.sample(id, 0)})
		}
		t.notices, t.steers, t.advice = t.notices[:0], t.steers[:0], t.advice[:0]
	}
}

// TestC25_EarlyLiarMovesNothing: what a lone early source wanted is not done later either, when it turns out that there
// is no consensus.
func TestC25_EarlyLiarMovesNothing(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1, 2, 3)
	for range 3 {
		b.pass(sec)
		m := b.sample(1, 5*ms+time.Duration(b.local/2000)) // 500 ppm, to be slewed
		b.handle(Measured{m})
	}
	for range 100 {
		b.pass(sec)
		b.handle(Measured{b.sample(1, 5*ms)})
		b.handle(Measured{b.sample(2, -sec)})
	}
	if len(b.steers) != 0 {
		t.Errorf("steered without a consensus: %+v", b.steers)
	}
}

// TestC25_LiarFirstAfterForeignStep: after a step by somebody else the first to answer does not decide alone.
func TestC25_LiarFirstAfterForeignStep(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1, 2, 3)
	b.poll(20, nil, 1, 2, 3)
	b.epoch++
	b.apply(ntp.LedgerEntry{Step: time.Minute, Foreign: true})
	b.handle(ForeignStep{})
	b.pass(500 * ms)
	b.handle(Measured{b.sample(1, 10*sec)})
	b.poll(5, nil, 2, 3)
	for _, s := range b.steers {
		if s.Kind == algorithm.SteerStep && s.Step.Round(ms) != -time.Minute {
			t.Errorf("stepped by %v", s.Step)
		}
	}
	if st := b.sys.Report().State; st != Synchronized {
		t.Errorf("state %v", st)
	}
}

// TestC25_SlowNames: sources that are configured and whose addresses are not known yet count as not heard.
func TestC25_SlowNames(t *testing.T) {
	b := newBench(t, noon, func(p *Params) { p.Expected = 3 })
	b.add(1)
	for range 5 {
		b.pass(sec)
		b.handle(Measured{b.sample(1, 10*sec)})
	}
	b.add(2, 3)
	b.poll(20, nil, 1, 2, 3)
	if n := b.sys.Report().Steps; n != 0 {
		t.Errorf("%d steps: %+v", n, b.steers)
	}
}

// TestForeignStep_DuringSteer: the change is met while the clock is steered, and a Tick comes before the ForeignStep.
func TestForeignStep_DuringSteer(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1)
	b.poll(20, nil, 1)
	b.epoch++
	b.apply(ntp.LedgerEntry{Step: time.Minute, Foreign: true})
	b.handle(Tick{})
	if b.view.Synchronized {
		t.Errorf("serves an unknown clock: %+v", *b.view)
	}
}

// TestForeignStep_LocalStratum: the local stratum waits its ten seconds after a foreign step, too.
func TestForeignStep_LocalStratum(t *testing.T) {
	b := newBench(t, noon, func(p *Params) { p.LocalStratum = 10 })
	b.add(1)
	b.poll(30, nil, 1)
	b.epoch++
	b.apply(ntp.LedgerEntry{Step: time.Minute, Foreign: true})
	b.handle(ForeignStep{})
	b.pass(9 * sec)
	if b.view.Synchronized {
		t.Errorf("too early: %+v", *b.view)
	}
	b.pass(2 * sec)
	if b.view.Stratum != 10 {
		t.Errorf("not served: %+v", *b.view)
	}
}

// TestView_StratumEnds: a source of stratum 15 leaves none for us.
func TestView_StratumEnds(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1)
	b.poll(10, func(m *ntp.Measurement) { m.Stratum = 15 }, 1)
	if v := b.view; v.Synchronized || v.Leap != ntp.LeapUnknown {
		t.Errorf("%+v", *v)
	}
}

// TestAdvice_NoPollStorm: a consensus that is lost again and again does not make every source poll as fast as it may.
func TestAdvice_NoPollStorm(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1, 2)
	b.poll(20, nil, 1, 2)
	demands := 0
	for i := range 80 {
		b.advice = nil
		lie := time.Duration(i%2) * 2 * sec
		b.poll(1, nil, 1)
		b.poll(1, func(m *ntp.Measurement) { m.TrueGap += lie; m.Leap = ntp.LeapIndicator(3 * (i % 2)) }, 2)
		b.poll(1, func(m *ntp.Measurement) { m.Leap = ntp.LeapIndicator(3 * (i % 2)) }, 1)
		for _, a := range b.advice {
			if a.PollNow {
				demands++
			}
		}
	}
	lost := b.sys.Report().ConsensusLost
	if lost < 20 {
		t.Fatalf("lost only %d times", lost)
	}
	if demands > 8+8 { // of lost consensuses, and of samples that surprise
		t.Errorf("%d demands to poll at once for %d losses in four minutes", demands, lost)
	}
}

// TestC25_LiarFirstAfterOutage: the first to come back does not decide alone either.
func TestC25_LiarFirstAfterOutage(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1, 2, 3)
	b.poll(20, nil, 1, 2, 3)
	b.pass(10 * time.Minute)
	if st := b.sys.Report().State; st == Synchronized {
		t.Fatal("no outage")
	}
	n := len(b.steers)
	for range 4 {
		b.pass(sec)
		b.handle(Measured{b.sample(1, 10*sec)})
	}
	b.poll(20, nil, 2, 3)
	for _, s := range b.steers[n:] {
		if s.Kind == algorithm.SteerStep {
			t.Errorf("stepped by %v", s.Step)
		}
	}
	if st := b.sys.Report().State; st != Synchronized {
		t.Errorf("state %v", st)
	}
}

// TestLocalStratum_ClockWentBack: the reference time of the local clock is never ahead of that clock.
func TestLocalStratum_ClockWentBack(t *testing.T) {
	b := newBench(t, noon, func(p *Params) { p.LocalStratum, p.NoSources = 5, true })
	b.handle(Tick{})
	b.pass(time.Minute)
	b.epoch++
	b.apply(ntp.LedgerEntry{Step: -time.Hour, Foreign: true})
	b.handle(ForeignStep{})
	b.pass(time.Second)
	if age := b.now().Clock.Sub(b.view.Reference); age < 0 || age > 90*sec {
		t.Errorf("reference is %v old", age)
	}
}

// TestC25_EarlyLiarTeachesNothing: the frequency of a lone early source is not where later sources start, least of all
// when a stored frequency makes them sure of it.
func TestC25_EarlyLiarTeachesNothing(t *testing.T) {
	b := newBench(t, noon, func(p *Params) { p.Expected, p.Algorithm.KnownFrequencyUncertainty = 3, 1e-6 })
	b.add(1)
	for range 4 {
		b.pass(sec)
		b.handle(Measured{b.sample(1, time.Duration(b.local/200))}) // 5000 ppm
	}
	b.add(2, 3)
	b.poll(1, nil, 2, 3)
	for _, row := range b.sys.Report().Sources[1:] {
		if row.Estimate.Frequency < -1e-6 || row.Estimate.Frequency > 1e-6 {
			t.Errorf("source %v starts at %v s/s", row.ID, row.Estimate.Frequency)
		}
	}
}
