package sim

import (
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/source"
)

// quietLAN is a client in a local network without load, whose server needs 40 ± 20 µs from the time that it tells to the wire.
func quietLAN(seed uint64, want source.Interleaving) Scenario {
	return Scenario{
		Seed: seed, ClientOffset: 5 * ms, ClientFreq: 20e-6, Wander: 1e-10, Delay: 50 * us, Jitter: us, Polls: true, PollMin: 4, PollMax: 6,
		Sending: 40 * us, SendingSpread: 20 * us, Interleaved: want,
	}
}

// settledRMS is the error of the clock from half an hour on, and how many replies were interleaved.
func settledRMS(t *testing.T, s Scenario) (rms time.Duration, replies uint64) {
	t.Helper()
	w := s.Build()
	w.RunFor(4 * time.Hour)
	return w.Stats(30*time.Minute, ms).RMS, w.Clients[0].assocs[0].src.Status().InterleavedReplies
}

// TestIL01_InterleavedIsTenTimesBetter: what the server's sending takes is gone from the client's clock.
func TestIL01_InterleavedIsTenTimesBetter(t *testing.T) {
	for seed := range uint64(3) {
		basic, none := settledRMS(t, quietLAN(seed, source.InterleaveNever))
		for _, want := range []source.Interleaving{source.InterleaveAuto, source.InterleaveAlways} {
			rms, replies := settledRMS(t, quietLAN(seed, want))
			t.Logf("seed %d: RMS error basic %v, interleaved (%v) %v, %.3f of it", seed, basic, want, rms, float64(rms)/float64(basic))
			if rms > basic/10 {
				t.Errorf("seed %d: %v instead of %v", seed, rms, basic)
			}
			if none != 0 || replies < 200 {
				t.Errorf("seed %d: %d interleaved replies, %d without", seed, replies, none)
			}
		}
	}
}

// TestInterleaved_AutoCostsNothingFarAway: on a longer way the samples are those of basic mode, to the bit.
func TestInterleaved_AutoCostsNothingFarAway(t *testing.T) {
	var rms [2]time.Duration
	for i, want := range []source.Interleaving{source.InterleaveNever, source.InterleaveAuto} {
		s := quietLAN(1, want)
		s.Delay, s.Jitter = 10*ms, 200*us
		var replies uint64
		if rms[i], replies = settledRMS(t, s); replies != 0 {
			t.Errorf("%v: %d interleaved replies", want, replies)
		}
	}
	if rms[0] != rms[1] {
		t.Errorf("RMS error %v with auto, %v without", rms[1], rms[0])
	}
}

// TestInterleaved_StepsAndLoss: what breaks the row of exchanges costs samples, not time: loss, a step of the client's clock.
func TestInterleaved_StepsAndLoss(t *testing.T) {
	s := quietLAN(2, source.InterleaveAlways)
	s.Loss = 0.33
	w := s.Build()
	w.After(time.Hour, func() { w.Clients[0].Jump(500 * ms) })
	w.RunFor(4 * time.Hour)
	if st := w.Stats(2*time.Hour, ms); st.Max > 10*us {
		t.Errorf("error up to %v", st.Max)
	}
	a := w.Clients[0].assocs[0]
	if n := a.src.Status().InterleavedReplies; n < 40 {
		t.Errorf("%d interleaved replies", n)
	}
	if n := w.Clients[0].report.WrongEpoch; n > 2 {
		t.Errorf("%d samples were dropped for one step", n)
	}
}

// TestInterleaved_SlowSourceAmongFastOnes: the exchange that an interleaved reply tells of may lie a thousand seconds back, in which the
// clock was steered hundreds of times.
func TestInterleaved_SlowSourceAmongFastOnes(t *testing.T) {
	s := quietLAN(3, source.InterleaveAlways)
	s.Servers, s.PollMax = 4, 4
	w := s.Build()
	c := w.Clients[0]
	r := w.AddReference(0)
	r.Interleave(func() time.Duration { return 40 * us })
	id := w.Connect(c, &r.node, s.path(), source.Config{PollMin: 10, PollMax: 10, PollInitial: 10, Interleaved: source.InterleaveAlways})
	seen := map[ntp.Timestamp]bool{}
	for range 6 * 60 {
		w.RunFor(time.Minute)
		for i := range c.report.Sources {
			if row := &c.report.Sources[i]; row.ID == id && row.Last.Interleaved {
				seen[row.Last.T1.Time] = true
			}
		}
	}
	if len(seen) < 15 {
		t.Errorf("%d samples in six hours", len(seen))
	}
}
